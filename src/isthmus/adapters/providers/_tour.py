"""The tour: a fixed walk through a workspace, decided by the conversation alone; no model, pure.

Each step looks at the tool results so far and asks for the next tool, or sums up. What it writes is
taken from those results and nothing else.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import structs

from isthmus.core.messages import Chat, Part, Text, ToolResult, ToolUse

LABEL = "[scripted tour]"
NOTE = "isthmus-tour.md"
_SHOWN = 12
_FRAME = re.compile(r"<(tool_output_[0-9a-f]+)(?: [^>\n]*)?>\n(.*)\n</\1>", re.DOTALL)
_WRITE = "create_file_with_contents"
_TOOLS = ("list_dir", "read_file", "grep", "find_files", _WRITE)


@dataclass(frozen=True, slots=True)
class Said:
    """One turn: text, and a tool use when the walk goes on."""

    text: str
    tool_use: ToolUse | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """A tool use of this walk and its result; None while there is none."""

    name: str
    arguments: str
    result: ToolResult | None


@dataclass(frozen=True, slots=True)
class _Stop:
    """A step of the walk: which tool, with which arguments, announced how."""

    tool: str
    arguments: dict[str, object]
    text: str


def next_turn(chat: Chat) -> Said:
    """What the tour says next in this conversation."""
    seen = _walked(chat)
    offered = {tool.name for tool in chat.tools}
    if "list_dir" not in offered and "read_file" not in offered:
        return Said(
            f"{LABEL} No model is configured, so this is a fixed text and not an answer. "
            "Set ANTHROPIC_API_KEY, OPENAI_API_KEY or ISTHMUS_PROVIDERS__OPENAI__BASE_URL."
        )
    for stop in _plan(seen, _goal(chat)):
        if stop.tool in offered and not any(_is(past, stop) for past in seen):
            use = ToolUse(_next_id(chat), stop.tool, _json(stop.arguments))
            return Said(f"{LABEL} {stop.text}", use)
    return Said(_summary(seen))


def _plan(seen: Sequence[_Seen], goal: str) -> list[_Stop]:
    """The stops in order; later ones depend on what the earlier ones showed."""
    plan = [_Stop("list_dir", {"directory": "."}, "First I list the workspace.")]
    readme = _readme(_good(seen, "list_dir") or "")
    if readme:
        plan.append(_Stop("read_file", {"file_path": readme}, f"Now I read {readme}."))
    else:
        plan.append(_Stop("find_files", {"name_pattern": "*.md"}, "I look for other texts."))
    arguments: dict[str, object] = {"keywords": "TODO", "search_directory": "."}
    plan.append(_Stop("grep", arguments, "I look for TODO."))
    plan.append(_Stop("find_files", {"name_pattern": "*test*"}, "I look for tests."))
    text = f"With your approval I write what I saw to {NOTE}."
    arguments = {"file_path": NOTE, "contents": _note(seen, goal)}
    plan.append(_Stop(_WRITE, arguments, text))
    return plan


def _unframed(text: str) -> str:
    """What a tool returned, without the tags that sessions put around it."""
    framed = _FRAME.fullmatch(text)
    return text if framed is None else framed[2]


def _walked(chat: Chat) -> list[_Seen]:
    """This walk's tool uses with their results: those after the last text of a person.

    What a person says with a refusal belongs to the walk: it does not begin a new one.
    """
    results = {
        part.tool_use_id: structs.replace(part, text=_unframed(part.text))
        for message in chat.messages
        for part in message.parts
        if isinstance(part, ToolResult)
    }
    seen: list[_Seen] = []
    refused = False
    for message in chat.messages:
        refused = refused and message.role == "user"
        refused = refused or any(
            isinstance(part, ToolResult) and part.failed for part in message.parts
        )
        if message.role == "user" and not refused and _says(message.parts):
            seen.clear()
        seen.extend(
            _Seen(part.name, part.arguments, results.get(part.id))
            for part in message.parts
            if isinstance(part, ToolUse) and part.name in _TOOLS
        )
    return seen


def _says(parts: Sequence[Part]) -> bool:
    return any(isinstance(part, Text) and part.text.strip() for part in parts)


def _goal(chat: Chat) -> str:
    for message in reversed(chat.messages):
        if message.role == "user":
            for part in message.parts:
                if isinstance(part, Text) and part.text.strip():
                    return _line(part.text)
    return ""


def _next_id(chat: Chat) -> str:
    """An id that no tool use of the conversation has."""
    numbers = [
        int(part.id.removeprefix("tour_"))
        for message in chat.messages
        for part in message.parts
        if isinstance(part, ToolUse) and re.fullmatch(r"tour_[0-9]{1,9}", part.id)
    ]
    return f"tour_{max(numbers, default=0) + 1}"


def _is(past: _Seen, stop: _Stop) -> bool:
    # What is written depends on what was seen, so the file is written once whatever it holds.
    same = past.name == _WRITE or _decoded(past.arguments) == stop.arguments
    return past.name == stop.tool and same


def _good(seen: Sequence[_Seen], tool: str) -> str | None:
    """The text of a tool that worked; None when it was not asked, or failed."""
    for past in seen:
        if past.name == tool and past.result is not None and not past.result.failed:
            return past.result.text
    return None


def _names(text: str) -> list[str]:
    """Entries of a listing: one a line, marks of directories and bullets removed."""
    names: list[str] = []
    for line in text.splitlines():
        name = re.sub(r"^\s*(?:[-*]\s+)?(?:\[?(?:DIR|FILE|dir|file)\]?[:\s]\s*)?", "", line)
        if name.strip():
            names.append(name.strip().rstrip("/"))
    return names


def _readme(listing: str) -> str:
    for name in _names(listing):
        last = name.rsplit("/", 1)[-1]
        if re.fullmatch(r"readme(\.[a-z0-9]{1,10})?", last, re.IGNORECASE):
            return name.removeprefix("./")
    return ""


def _findings(seen: Sequence[_Seen]) -> list[str]:
    """One sentence for each tool that ran, from its result alone."""
    told = {
        "list_dir": _told_listing,
        "read_file": _told_readme,
        "grep": _told_grep,
        "find_files": _told_files,
    }
    found: list[str] = []
    for past in seen:
        if past.name not in told:
            continue
        if past.result is None:
            found.append(f"`{past.name}` gave no result.")
        elif past.result.failed:
            found.append(f"`{past.name}` failed: {_line(past.result.text)}")
        else:
            found.append(told[past.name](past.result.text, past.arguments))
    return found


def _told_listing(text: str, _arguments: str) -> str:
    names = _names(text)
    shown = ", ".join(f"`{_line(name)}`" for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"The workspace lists {_count(len(names), 'entry', 'entries')}: {shown}{more}."


def _told_readme(text: str, arguments: str) -> str:
    lines = text.splitlines()
    first = next((line.strip() for line in lines if line.strip()), "")
    name = _line(str(_decoded(arguments).get("file_path", "")))
    return f"`{name}` has {_count(len(lines), 'line', 'lines')}; it begins: {_line(first)}"


def _told_grep(text: str, _arguments: str) -> str:
    hits = [line for line in text.splitlines() if "todo" in line.lower()]
    if not hits:
        return "No line with TODO was shown."
    return f"{_count(len(hits), 'line', 'lines')} with TODO; the first: {_line(hits[0])}"


def _told_files(text: str, arguments: str) -> str:
    pattern = _line(str(_decoded(arguments).get("name_pattern", "")))
    wanted = pattern.strip("*").lower()
    names = [name for name in _names(text) if wanted in name.lower() and " " not in name]
    if not names:
        return f"No file that matches `{pattern}` was shown."
    shown = ", ".join(f"`{_line(name)}`" for name in names[:3])
    return f"{_count(len(names), 'file', 'files')} matching `{pattern}`, such as {shown}."


def _note(seen: Sequence[_Seen], goal: str) -> str:
    lines = "\n".join(f"- {finding}" for finding in _findings(seen))
    asked = f"\nAsked: {goal}\n" if goal else ""
    return f"# {LABEL}\n\nWritten by a script, not by a model.\n{asked}\n{lines}\n"


def _summary(seen: Sequence[_Seen]) -> str:
    findings = _findings(seen)
    written = next((past for past in seen if past.name == _WRITE), None)
    if written is not None and written.result is not None:
        if written.result.failed:
            findings.append(f"`{NOTE}` was not written: {_line(written.result.text)}")
        else:
            findings.append(f"`{NOTE}` was written.")
    lines = "\n".join(f"- {finding}" for finding in findings)
    calls = _count(len(seen), "tool call", "tool calls")
    return (
        f"{LABEL} This was a script and not a model. In {calls} it saw:\n{lines}\n"
        "Configure a model, for example by ANTHROPIC_API_KEY, to have real work done."
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _line(text: str, limit: int = 160) -> str:
    """A text as one short line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _json(arguments: dict[str, object]) -> str:
    return msgspec.json.encode(arguments).decode()


def _decoded(arguments: str) -> dict[str, object]:
    try:
        return msgspec.json.decode(arguments, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        return {}
