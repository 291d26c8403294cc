"""What a person has seen of a conversation: pure; checkpoints in, new lines out.

Source: agent-platform contract, sections 5.4 to 5.6: an entry with a known `message_id` replaces
the one before it, another one follows.
"""

import unicodedata
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

KEPT = 2000
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class ToolInfo(msgspec.Struct, frozen=True):
    """The tool of an entry, and its arguments."""

    name: str = ""
    args: dict[str, object] | None = None


class Entry(msgspec.Struct, frozen=True):
    """One entry of `ui_chat_log`; what a reader needs of it."""

    message_type: str = ""
    content: str | None = None
    status: str | None = None
    message_id: str | None = None
    timestamp: str = ""
    tool_info: ToolInfo | None = None

    @property
    def key(self) -> str:
        """What tells this entry from others; entries without an id differ by time and text."""
        return self.message_id or f"{self.message_type} {self.timestamp} {self.content}"


class _Channels(msgspec.Struct, frozen=True):
    ui_chat_log: tuple[Entry, ...] = ()


class _Checkpoint(msgspec.Struct, frozen=True):
    channel_values: _Channels = _Channels()


_DECODER = msgspec.json.Decoder(_Checkpoint)

Kind: TypeAlias = Literal["text", "tool", "failure"]


@dataclass(frozen=True, slots=True)
class Shown:
    """Text to be shown. `goes_on` says that it continues the last text of the same entry."""

    kind: Kind
    text: str
    goes_on: bool = False


class Unreadable(ValueError):
    """A checkpoint is not what the contract says."""


def entries_of(checkpoint: str) -> tuple[Entry, ...]:
    """The log of a checkpoint's JSON text. Raises Unreadable."""
    try:
        return _DECODER.decode(checkpoint or "{}").channel_values.ui_chat_log
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unreadable("a checkpoint could not be read") from error


class Transcript:
    """Remembers what was shown of the latest entries."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, Entry] = OrderedDict()
        self._open = ""

    def update(self, entries: tuple[Entry, ...]) -> list[Shown]:
        """What is new in these entries. The person's own words and requests are not repeated."""
        return [shown for entry in entries for shown in self._one(entry)]

    def _one(self, entry: Entry) -> list[Shown]:
        before = self._seen.get(entry.key)
        self._seen[entry.key] = entry
        self._seen.move_to_end(entry.key)
        if len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        if entry.message_type in {"user", "request"}:
            return []
        failed = entry.status in {"failure", "timed_out"}
        text = printable(entry.content or "")
        if entry.message_type != "agent":
            return self._line(entry, before, text, failed=failed)
        old = printable(before.content or "") if before is not None else ""
        if text == old:
            return []
        kind: Kind = "failure" if failed else "text"
        if old and self._open == entry.key and text.startswith(old):
            return [Shown(kind, text[len(old) :], goes_on=True)]
        self._open = entry.key
        return [Shown(kind, text)]

    def _line(self, entry: Entry, before: Entry | None, text: str, *, failed: bool) -> list[Shown]:
        if before is not None and (before.content, before.status) == (entry.content, entry.status):
            return []
        if before is not None and before.content == entry.content and not failed:
            return []
        self._open = ""
        return [Shown("failure" if failed else "tool", text)] if text else []


def pending(entries: tuple[Entry, ...]) -> list[ToolInfo]:
    """The tool calls that wait for a decision: the requests at the end of the log."""
    waiting: list[ToolInfo] = []
    for entry in reversed(entries):
        if entry.message_type != "request":
            break
        waiting.append(entry.tool_info or ToolInfo(name=entry.content or ""))
    return waiting[::-1]


def printable(text: str) -> str:
    """Text that cannot steer a terminal or reorder what is read: controls become `·`."""
    return "".join(
        char
        if char in "\n\t"
        else "·"
        if unicodedata.category(char) in {"Cc", "Cs"} or char in _BIDI
        else char
        for char in text
    )


def described(call: ToolInfo, limit_chars: int = 2000) -> str:
    """A tool call as a person decides on it: its name, and each argument on its line."""
    arguments: Mapping[str, object] = call.args or {}
    lines = [printable(call.name) or "a tool"]
    for name, value in arguments.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        shown = printable(text)
        cut = len(shown) - limit_chars
        more = f" [... {cut} more characters]" if cut > 0 else ""
        indented = (shown[:limit_chars] + more).replace("\n", "\n      ")
        lines.append(f"  {printable(name)}: {indented}")
    return "\n".join(lines)
