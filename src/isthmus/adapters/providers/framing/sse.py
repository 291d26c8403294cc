"""Server-sent events from bytes, however they arrive.

Source: WHATWG HTML, section 9.2.6 "Interpreting an event stream". An event whose blank line never
comes is dropped, as there.
"""

from isthmus.adapters.providers._spec import WireEvent
from isthmus.core.errors import UpstreamFailed

LINE_LIMIT_BYTES = 1024 * 1024
EVENT_LIMIT_BYTES = 4 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_LF, _CR = b"\n\r"
"""As numbers: `b"x" in data` first tries its left side as a number, and fails, at some cost."""


class SseParser:
    """One stream. Implements `Framing`."""

    def __init__(self) -> None:
        self._tail = bytearray()
        self._after_cr = False
        self._first = True
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[WireEvent]:
        """Events completed by `data`. Raises UpstreamFailed when a line or event is too large."""
        if self._plain(data):
            return self._whole(data)
        if self._after_cr and data:
            # The first half of a line end that was cut in two has ended its line already.
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
        self._tail += data
        if len(data) == 0 or (_LF not in data and _CR not in data):
            self._check(len(self._tail), LINE_LIMIT_BYTES)
            return []
        block = bytes(self._tail)
        self._tail.clear()
        lines = block.splitlines()
        if block.endswith(b"\r"):
            self._after_cr = True
        elif not block.endswith(b"\n"):
            self._tail += lines.pop()
            self._check(len(self._tail), LINE_LIMIT_BYTES)
        if self._first and lines:
            self._first = False
            lines[0] = lines[0].removeprefix(_BOM)
        return [event for line in lines if (event := self._line(line)) is not None]

    def _plain(self, data: bytes) -> bool:
        """Whether these are whole events, of usual size and line ends, and nothing is pending."""
        return (
            data.endswith(b"\n\n")
            and data.startswith((b"data: ", b"event: "))
            and not (self._tail or self._after_cr or self._data or self._name)
            and _CR not in data
            and len(data) <= LINE_LIMIT_BYTES
        )

    def _whole(self, data: bytes) -> list[WireEvent]:
        """The events of a chunk that is `_plain`: as a rule each stands there as it was sent."""
        self._first = False
        events: list[WireEvent] = []
        for block in data[:-2].split(b"\n\n"):
            if _LF not in block and block.startswith(b"data: "):
                events.append(WireEvent("", block[6:]))
                continue
            name, _, rest = block.partition(b"\ndata: ")
            if name.startswith(b"event: ") and rest and _LF not in name and _LF not in rest:
                events.append(WireEvent(name[7:].decode("utf-8", "replace"), rest))
            else:
                lines = (*block.split(b"\n"), b"")
                events += [event for line in lines if (event := self._line(line)) is not None]
        return events

    def _line(self, line: bytes) -> WireEvent | None:
        self._check(len(line), LINE_LIMIT_BYTES)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._size += len(value) + 1
            self._check(self._size, EVENT_LIMIT_BYTES)
            self._data.append(value)
        elif field == b"event":
            self._name = value
        return None

    def _dispatch(self) -> WireEvent | None:
        name, data = self._name, self._data
        self._name, self._data, self._size = b"", [], 0
        if not data:
            return None
        return WireEvent(name.decode("utf-8", "replace"), b"\n".join(data))

    def _check(self, size: int, limit: int) -> None:
        if size > limit:
            raise UpstreamFailed("The model provider sent an event that is too large.")
