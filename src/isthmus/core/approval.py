"""Whether the owner of a session allowed a tool call before, and what may be allowed. Pure.

Source: agent-platform contract, section 6.2; instance contract, section 2.3.
"""

import json
import shlex
from dataclasses import replace
from enum import StrEnum
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Final, cast

from isthmus.core.errors import Invalid
from isthmus.core.workflow import ToolApproval

MAX_PATTERNS: Final = 100
MAX_PATTERN_CHARS: Final = 256
MAX_CALLS: Final = 1000
COMMAND_TOOLS: Final = frozenset({"run_command", "run_git_command"})
PROGRAMS: Final = frozenset(
    (
        *("basename", "cargo", "cat", "cmake", "composer", "cut", "date", "diff", "dirname"),
        *("dotnet", "du", "echo", "file", "find", "gem", "git", "glab", "go", "gradle", "grep"),
        *("head", "jest", "jq", "ls", "make", "mkdir", "mvn", "mypy", "npm", "pip", "pnpm", "pwd"),
        *("pytest", "rake", "rg", "rspec", "rubocop", "ruff", "sort", "stat", "tail", "tree"),
        *("tsc", "uniq", "wc", "which", "yarn"),
    )
)
"""Programs that a pattern may allow. What runs its arguments (`sh`, `env`, `xargs`, `sudo`) is not
here: a wildcard would allow anything at all."""
_META = frozenset(";&|<>$`(){}")


class Match(StrEnum):
    """How a call was allowed; `NO` is false, the others are true."""

    NO = ""
    CALL = "call"
    PATTERN = "pattern"


def canonical(args_json: str) -> str:
    """The arguments with sorted keys and no spaces; a text that is not JSON stays as it is."""
    try:
        value: object = json.loads(args_json)
        return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return args_json


def call_hash(args_json: str) -> str:
    """What stands for the arguments of one call: SHA-256 of their canonical text, in hex."""
    return sha256(canonical(args_json).encode("utf-8", "surrogatepass")).hexdigest()


def matches(approval: ToolApproval, tool_name: str, args_json: str) -> Match:
    """Whether the call is one that was allowed, or fits a pattern that was."""
    if call_hash(args_json) in approval.calls:
        return Match.CALL
    if not approval.patterns:
        return Match.NO
    if tool_name not in COMMAND_TOOLS:
        text = canonical(args_json)
        found = any(fnmatchcase(text, pattern) for pattern in approval.patterns)
        return Match.PATTERN if found else Match.NO
    words = _words(_line(tool_name, args_json))
    found = any(_fits(pattern.split(), words) for pattern in approval.patterns)
    return Match.PATTERN if words and found else Match.NO


def with_call(approval: ToolApproval, args_json: str) -> ToolApproval:
    """This call is allowed too. Raises Invalid when there are too many."""
    calls = approval.calls | {call_hash(args_json)}
    if len(calls) > MAX_CALLS:
        raise Invalid(f"At most {MAX_CALLS} calls of a tool can be approved.")
    return replace(approval, calls=calls)


def with_pattern(approval: ToolApproval, tool_name: str, pattern: str) -> ToolApproval:
    """What fits the pattern is allowed too. Raises Invalid."""
    pattern = pattern.strip()
    if fault := _fault(tool_name, pattern):
        raise Invalid(fault)
    patterns = tuple(dict.fromkeys((*approval.patterns, pattern)))
    if len(patterns) > MAX_PATTERNS:
        raise Invalid(f"At most {MAX_PATTERNS} patterns of a tool can be approved.")
    return replace(approval, patterns=patterns)


def _fault(tool_name: str, pattern: str) -> str:
    if not pattern:
        return "The pattern is blank."
    if len(pattern) > MAX_PATTERN_CHARS:
        return f"The pattern is longer than {MAX_PATTERN_CHARS} characters."
    if tool_name not in COMMAND_TOOLS:
        return ""
    if pattern == "*" or "**" in pattern:
        return "The pattern is too wide: `*` alone and `**` are not allowed."
    if any(char in _META or ord(char) < 32 for char in pattern):
        return "The pattern holds a character that has a meaning in a shell."
    return ""


def _line(tool_name: str, args_json: str) -> str:
    """The command line that the arguments stand for."""
    try:
        value: object = json.loads(args_json)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict):
        return ""
    args = cast("dict[str, object]", value)
    parts = [args.get("program"), args.get("command"), args.get("args")]
    if tool_name == "run_git_command":
        parts[0] = "git"
    return " ".join(part for part in parts if isinstance(part, str) and part)


def _words(line: str) -> list[str]:
    """The line's words; none when a shell might read it in another way than word by word."""
    if any(ord(char) < 32 for char in line):
        return []
    try:
        words = shlex.split(line)
    except ValueError:
        return []
    if any(char in _META for word in words for char in word):
        return []
    return words if words and words[0] in PROGRAMS else []


def _fits(pattern: list[str], words: list[str]) -> bool:
    """Whether the words fit, program first; `*` stands for one word or more that are no flags."""
    if not pattern or not words or pattern[0] != words[0]:
        return False
    flags = [word.startswith("-") for word in words]
    ends = {1}
    for part in pattern[1:]:
        if part == "*":
            ends = _run(ends, flags)
        else:
            ends = {end + 1 for end in ends if end < len(words) and _one(part, words[end])}
    return len(words) in ends


def _run(ends: set[int], flags: list[bool]) -> set[int]:
    reached: set[int] = set()
    going = False
    for place, flag in enumerate(flags):
        going = (going or place in ends) and not flag
        if going:
            reached.add(place + 1)
    return reached


def _one(part: str, word: str) -> bool:
    if part == word:
        return True
    # A wildcard never becomes a flag, which may change what the program does.
    return fnmatchcase(word, part) and not word.startswith("-")
