"""What is cut from a model's code before it is inserted: named steps in a fixed order, all pure."""

import re
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

_MARKERS = re.compile(
    r"</?cursor/?>|<\|(?:cursor|fim_\w{1,10}|endoftext|end_of_text|file_sep)\|>"
    r"|<(?:fim_\w{1,10}|file_sep|PRE|SUF|MID|EOT)>|\[(?:PREFIX|SUFFIX|MIDDLE)\]"
)
_FENCE = re.compile(r"\s*(`{3,}|~{3,})[^\n`]*(?:\n|$)")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_CLOSERS = {closer: opener for opener, closer in _PAIRS.items()}
_MARK = re.compile(r"\\.|[\"'`()\[\]{}]")
_TAIL = re.compile(r"[\s)\]};,]*")
_OVERLAP_CHARS = 2_000
_OVERLAP_LEAST = 3


class Surroundings(Struct, frozen=True, gc=False):
    """The text above and below the cursor."""

    prefix: str
    suffix: str


Step: TypeAlias = Callable[[str, Surroundings], str]


def trim(text: str, around: Surroundings, steps: tuple[Step, ...]) -> str:
    """The text after all steps; they stop as soon as nothing is left."""
    for step in steps:
        if not text:
            break
        text = step(text, around)
    return text


def strip_markers(text: str, _: Surroundings) -> str:
    """Without artefacts that mark the cursor or the parts of a fill-in-the-middle prompt."""
    return _MARKERS.sub("", text) if "<" in text or "[" in text else text


def strip_fences(text: str, _: Surroundings) -> str:
    """What stands inside one Markdown fence that wraps the whole answer."""
    opening = _FENCE.match(text) if "```" in text or "~~~" in text else None
    if opening is None:
        return text
    body = text[opening.end() :]
    kept = body.rstrip()
    closing = kept.rfind("\n") + 1
    if kept[closing:].strip() == opening[1]:
        return body[:closing].removesuffix("\n")
    return body


def drop_reflection(text: str, around: Surroundings) -> str:
    """Without an echo of the text above the cursor at its start: whole lines, or the current one.

    An echo begins at a line's start and is at least three characters long.
    """
    window = around.prefix[-_OVERLAP_CHARS:]
    whole = len(window) == len(around.prefix)
    head = text[:_OVERLAP_LEAST]
    at = window.find(head)
    while at >= 0:
        line = window.rfind("\n", 0, at) + 1
        starts = (line > 0 or whole) and not window[line:at].strip()
        size = len(window) - at
        if starts and size >= _OVERLAP_LEAST and text.startswith(window[at:]):
            return text[size:] if window[at:].strip() else text
        at = window.find(head, at + 1)
    return text


def open_line(text: str, around: Surroundings) -> str:
    """On a new line, when the text above ends in the middle of a comment's or statement's line."""
    line = around.prefix[around.prefix.rfind("\n") + 1 :]
    ends = line.rstrip().endswith((":", "{", ";", "*/")) or _is_comment(line)
    return "\n" + text if line.strip() and ends and not text.startswith("\n") else text


def cut_at_suffix(text: str, around: Surroundings) -> str:
    """Up to where it would begin to repeat the text below the cursor."""
    head = around.suffix[:_OVERLAP_CHARS]
    for size in range(min(len(head), len(text)), _OVERLAP_LEAST - 1, -1):
        if text.endswith(head[:size]) and _says_something(head[:size]):
            return text[:-size]
    ahead = [line.rstrip() for line in head.split("\n")[1:] if line.strip()]
    if not ahead or not _says_something(ahead[0]):
        return text
    lines = text.split("\n")
    for number in range(1, len(lines)):
        if lines[number].rstrip() == ahead[0] and _repeats(lines[number:], ahead):
            return "\n".join(lines[:number])
    return text


def drop_closers(text: str, around: Surroundings) -> str:
    """Up to the first closing bracket that it did not open and that the text below holds."""
    head = _TAIL.match(around.suffix[:200])
    held = [char for char in (head[0] if head else "") if char in _CLOSERS]
    if not held:
        return text
    depth: list[str] = []
    unopened: list[int] = []
    quote = ""
    for match in _MARK.finditer(text):
        mark = match[0]
        if quote or mark in "\"'`":
            quote = "" if mark == quote else quote or mark
        elif mark in _PAIRS:
            depth.append(mark)
        elif mark in _CLOSERS:
            if depth and depth[-1] == _CLOSERS[mark]:
                depth.pop()
            else:
                unopened.append(match.start())
    closers = [text[at] for at in unopened]
    for count in range(min(len(held), len(closers)), 0, -1):
        if closers[-count:] == held[:count]:
            at = unopened[-count]
            return (
                text[:at].rstrip() if not text[at:].strip("".join(_CLOSERS) + "; \n\t,") else text
            )
    return text


def blank_to_empty(text: str, _: Surroundings) -> str:
    """Nothing, when only white space is left."""
    return text if text.strip() else ""


COMPLETION: tuple[Step, ...] = (
    strip_markers,
    strip_fences,
    drop_reflection,
    cut_at_suffix,
    drop_closers,
    blank_to_empty,
)
GENERATION: tuple[Step, ...] = (
    strip_markers,
    strip_fences,
    drop_reflection,
    open_line,
    blank_to_empty,
)


def _repeats(lines: list[str], ahead: list[str]) -> bool:
    """Whether lines and what is ahead are the same for as long as both go on."""
    said = (line.rstrip() for line in lines if line.strip())
    return all(line == other for line, other in zip(said, ahead, strict=False))


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(("#", "//", "--", "/*", "*", ";", "%"))


def _says_something(text: str) -> bool:
    return sum(char.isalnum() for char in text) >= _OVERLAP_LEAST
