"""AWS's binary event stream from bytes, however they arrive.

Source: AWS SDKs, "Event stream encoding" (`application/vnd.amazon.eventstream`). A message is its
length, its headers' length, a CRC of both, headers, payload, and a CRC of everything before.
"""

import struct
from binascii import crc32

from isthmus.adapters.providers._spec import WireEvent
from isthmus.core.errors import UpstreamFailed

MESSAGE_LIMIT_BYTES = 4 * 1024 * 1024
HEADERS_LIMIT_BYTES = 128 * 1024
EXCEPTION = "exception:"
"""Begins the name of an event that says how the stream failed; the vendor's class follows."""

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _TEXT = 6, 7


class EventStreamParser:
    """One stream. Implements `Framing`. An event's name is its `:event-type`."""

    def __init__(self) -> None:
        self._tail = bytearray()
        self._size = 0

    def feed(self, data: bytes) -> list[WireEvent]:
        """Events completed by `data`. Raises UpstreamFailed for what is damaged or too large."""
        self._tail += data
        events: list[WireEvent] = []
        at = 0
        while len(self._tail) - at >= _PRELUDE.size:
            self._size = self._size or _checked_size(self._tail, at)
            if len(self._tail) - at < self._size:
                break
            events.append(_event(bytes(self._tail[at : at + self._size])))
            at += self._size
            self._size = 0
        del self._tail[:at]
        return events


def _checked_size(buffer: bytearray, at: int) -> int:
    """A message's size, known good before anything waits for so many bytes."""
    size, headers, crc = _PRELUDE.unpack_from(buffer, at)
    if crc32(buffer[at : at + _PRELUDE.size - _CRC.size]) != crc:
        raise _damaged()
    if size > MESSAGE_LIMIT_BYTES or headers > HEADERS_LIMIT_BYTES:
        raise UpstreamFailed("The model provider sent an event that is too large.")
    if size < _PRELUDE.size + headers + _CRC.size:
        raise _damaged()
    return size


def _event(message: bytes) -> WireEvent:
    body, end = _PRELUDE.size, len(message) - _CRC.size
    if (crc32(message[:end]),) != _CRC.unpack_from(message, end):
        raise _damaged()
    _, size, _ = _PRELUDE.unpack_from(message)
    headers = _headers(message[body : body + size])
    payload = message[body + size : end]
    match headers.get(":message-type"):
        case "exception":
            return WireEvent(EXCEPTION + headers.get(":exception-type", ""), payload)
        case "error":
            return WireEvent(EXCEPTION + headers.get(":error-code", ""), payload)
        case _:
            return WireEvent(headers.get(":event-type", ""), payload)


def _headers(block: bytes) -> dict[str, str]:
    """The headers that hold text; those of other types are stepped over."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            name = block[at + 1 : at + 1 + block[at]]
            at += 1 + block[at]
            kind = block[at]
            at += 1
            if kind in {_BYTES, _TEXT}:
                (size,) = struct.unpack_from(">H", block, at)
                at += 2
                if kind == _TEXT:
                    found[name.decode()] = block[at : at + size].decode()
            else:
                size = _SIZES[kind]
            at += size
    except (IndexError, KeyError, UnicodeDecodeError, struct.error) as error:
        raise _damaged() from error
    if at != len(block):
        raise _damaged()
    return found


def _damaged() -> UpstreamFailed:
    return UpstreamFailed("The model provider sent an event that is damaged.")
