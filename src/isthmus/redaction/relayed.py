"""Secrets in the text of forwarded server-sent events, however it is cut.

An event is passed on as it came, unless a secret was found in it. One whose text may be the
beginning of a secret waits for the next ones, with all that comes behind it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, cast

import msgspec
from msgspec import Struct

from isthmus.redaction.body import strings_redacted
from isthmus.redaction.rules import Mark, Rules, decoded, encoded
from isthmus.redaction.stream import Window

EVENT_BYTES = 16 << 20
"""A longer event is looked at in pieces."""
WAITING_BYTES = 1 << 20
"""Events that wait; beyond, what is held back is taken for the end of a text."""
MOST_TEXTS = 256
_CR = 13
_END = re.compile(rb"\r?\n\r?\n|\r\r")
_LAST = ("_stop", ".done", ".completed", ".failed", ".incomplete", "message_delta", "error")
_Object: TypeAlias = dict[str, Any]
_Place: TypeAlias = tuple[object, ...]
_SAID = frozenset(
    ("text", "delta", "content", "arguments", "partial_json", "thinking", "refusal", "reasoning")
) | {"reasoning_content"}
_PLACES = ("index", "item_id", "output_index", "content_index", "thought")
"""What tells apart the texts of one answer."""


class _Text(Struct):
    """A piece of text in an event: which text it continues, where it stands, and what passed."""

    place: _Place
    holder: _Object
    name: str
    whole: bytes
    passed: bytes = b""


class _Event(Struct):
    """An event that came: its bytes, and where texts stand in what they say."""

    raw: bytes
    said: _Object
    texts: Sequence[_Text] = ()


class EventFilter:
    """Events of Anthropic's messages, of OpenAI's chat and responses, and of Gemini."""

    def __init__(self, rules: Rules, window_bytes: int, mark: Mark) -> None:
        self._rules = rules
        self._limit = window_bytes
        self._mark = mark
        self._part = b""
        self._windows: dict[_Place, Window] = {}
        self._waiting: list[_Event] = []
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        """What may go on now. Raises Withheld."""
        text = self._part + chunk if self._part else chunk
        passed: list[bytes] = []
        at = 0
        for end in _ends(text, max(len(self._part) - 3, 0)):
            passed.append(self._event(text[at:end]))
            at = end
        self._part = text[at:]
        if len(self._part) > EVENT_BYTES:
            passed.append(strings_redacted(self._rules, self._part, self._mark))
            self._part = b""
        whole = b"".join(passed)
        return chunk if whole == chunk else whole

    def whole(self, text: bytes) -> bytes:
        """What may go on of events that are all there are. Raises Withheld."""
        return self.feed(text) + self.finish()

    def finish(self) -> bytes:
        """What was held back. Raises Withheld."""
        last, self._part = self._part, b""
        return (self._event(last) if last else b"") + self._end()

    def _event(self, raw: bytes) -> bytes:
        """What may go on of this event, and of those that wait."""
        start, end = _data(raw)
        said = _parsed(raw[start:end])
        last = _is_last(said) or raw[start:end].strip() == b"[DONE]"
        texts = [] if last else list(_texts(said))
        if not texts:
            raw = strings_redacted(self._rules, raw, self._mark)
            if last or not self._waiting:
                return self._end() + raw
        for text in texts:
            text.passed = self._window(text.place).feed(text.whole)
        if not self._waiting and all(text.passed is text.whole for text in texts):
            return raw
        self._waiting.append(_Event(raw, said, texts))
        self._size += len(raw)
        if self._size > WAITING_BYTES or len(self._windows) > MOST_TEXTS:
            passed = self._end()
            self._windows.clear()
            return passed
        if any(window.waiting for window in self._windows.values()):
            return b""
        return self._released()

    def _window(self, place: _Place) -> Window:
        window = self._windows.get(place)
        if window is None:
            window = self._windows[place] = Window(self._rules, self._limit, self._mark)
        return window

    def _end(self) -> bytes:
        """Every text ends here: what was held back belongs to its last event."""
        for place, window in self._windows.items():
            if window.waiting:
                texts = (one for event in reversed(self._waiting) for one in reversed(event.texts))
                last = next(one for one in texts if one.place == place)
                last.passed += window.finish()
        return self._released()

    def _released(self) -> bytes:
        waiting, self._waiting, self._size = self._waiting, [], 0
        came, passed = dict[_Place, bytes](), dict[_Place, bytes]()
        for text in (text for event in waiting for text in event.texts):
            came[text.place] = came.get(text.place, b"") + text.whole
            passed[text.place] = passed.get(text.place, b"") + text.passed
        return b"".join(one.raw if came == passed else _told(one) for one in waiting)


def _ends(text: bytes, at: int) -> Iterator[int]:
    """Where events end, searched from `at` on."""
    if _CR in text:
        yield from (end.end() for end in _END.finditer(text, at))
        return
    while (found := text.find(b"\n\n", at)) >= 0:
        at = found + 2
        yield at


def _data(raw: bytes) -> tuple[int, int]:
    """Where an event's data is; nothing, where it has none."""
    at = 0 if raw.startswith(b"data:") else raw.find(b"\ndata:") + 1
    return (at + 5, len(raw.rstrip())) if at or raw.startswith(b"data:") else (0, 0)


def _parsed(data: bytes) -> _Object:
    try:
        said: object = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return cast("_Object", said) if isinstance(said, dict) else {}


def _is_last(said: _Object) -> bool:
    """Whether an event says that a text, or all of them, has ended, and brings no piece of one."""
    return str(said.get("type", "")).endswith(_LAST)


def _told(event: _Event) -> bytes:
    """The event with what passed of its texts; as it came when that is all of them."""
    if all(text.passed == text.whole for text in event.texts):
        return event.raw
    for text in event.texts:
        text.holder[text.name] = decoded(text.passed)
    start, end = _data(event.raw)
    return event.raw[:start] + b" " + msgspec.json.encode(event.said) + event.raw[end:]


def _texts(said: _Object, place: _Place = (), depth: int = 8) -> Iterator[_Text]:
    """The texts that an event brings, whoever's it is: strings of known names, and where."""
    place = (*place, *(said.get(name) for name in _PLACES))
    for name, value in said.items():
        if isinstance(value, str):
            if value and name in _SAID:
                yield _Text((*place, name), said, name, encoded(value))
            continue
        for item in cast("list[object]", value if isinstance(value, list) else [value]):
            if depth and isinstance(item, dict):
                yield from _texts(cast("_Object", item), (*place, name), depth - 1)
