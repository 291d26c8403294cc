"""Reads token usage out of a forwarded answer, chunk by chunk, in bounded memory."""

from collections.abc import Callable
from functools import lru_cache

from isthmus.adapters.providers._spec import Meter
from isthmus.core.messages import Usage

LIMIT_BYTES = 64 * 1024
_TRIES = 256
_MARK = b'"usage'
"""What the name of every vendor's counts begins with: `usage`, `usageMetadata`."""

Reader = Callable[[bytes, Usage | None], Usage | None]
"""Reads one JSON document: what is known so far in, what is known now out; never raises."""


def meter_of(content_type: str, read: Reader) -> Meter:
    """The meter for an answer's media type: events or one JSON document."""
    if is_events(content_type):
        return EventMeter(read)
    return DocumentMeter(read)


@lru_cache(maxsize=64)
def is_events(content_type: str) -> bool:
    """Whether a media type is that of server-sent events."""
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"


class DocumentMeter:
    """Keeps a body of up to `LIMIT_BYTES` and reads it when it may be whole."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._body = bytearray()
        self._over = False
        self._tries = 0
        self._usage: Usage | None = None

    def __call__(self, chunk: bytes) -> Usage | None:
        """Take the next chunk; usage once the document is whole."""
        if self._over:
            return self._usage
        self._body += chunk
        if len(self._body) > LIMIT_BYTES or self._tries >= _TRIES:
            self._over = True
            self._body.clear()
        elif chunk.rstrip().endswith((b"}", b"]")):
            # Each try reads from the start, so a body in crumbs is not tried for ever.
            self._tries += 1
            self._usage = self._read(bytes(self._body), None)
        return self._usage


class EventMeter:
    """Looks at `data:` lines that speak of usage; longer lines than `LIMIT_BYTES` are skipped."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._line = bytearray()
        self._skipping = False
        self._usage: Usage | None = None

    def __call__(self, chunk: bytes) -> Usage | None:
        """Take the next chunk; what is known so far."""
        head, newline, rest = chunk.partition(b"\n")
        self._grow(head)
        if not newline:
            return self._usage
        self._end()
        last = rest.rfind(b"\n")
        if last >= 0:
            # Of a thousand lines one or two speak of usage: only these are cut out.
            at = rest.find(_MARK, 0, last)
            while at >= 0:
                end = rest.find(b"\n", at)
                self._look(rest[rest.rfind(b"\n", 0, at) + 1 : end])
                at = rest.find(_MARK, end, last)
            rest = rest[last + 1 :]
        self._grow(rest)
        return self._usage

    def _grow(self, part: bytes) -> None:
        if self._skipping:
            return
        self._line += part
        if len(self._line) > LIMIT_BYTES:
            self._line.clear()
            self._skipping = True

    def _end(self) -> None:
        if not self._skipping:
            self._look(bytes(self._line))
        self._line.clear()
        self._skipping = False

    def _look(self, line: bytes) -> None:
        if line.startswith(b"data:") and line.find(_MARK) >= 0 and len(line) <= LIMIT_BYTES:
            self._usage = self._read(line[5:].strip(), self._usage)
