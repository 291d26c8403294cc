"""Reads from a forwarded stream whether it has come to content, an error or its end; pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from isthmus.adapters.providers._spec import Ending, Watcher, WireEvent
from isthmus.adapters.providers.dialects.metering import is_events
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import Seen, at_once

BORDER_BYTES = 64
"""The longest mark, cut in two by the border of two chunks, is found within so many bytes."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A pattern, which sees a newline before the first line.

    Any match is within one event, and holds one of `needles`.
    """

    pattern: re.Pattern[bytes]
    needles: tuple[bytes, ...]


def any_of(*marks: Mark) -> Mark:
    """What matches where any of them does."""
    pattern = re.compile(b"|".join(mark.pattern.pattern for mark in marks))
    return Mark(pattern, tuple(dict.fromkeys(one for mark in marks for one in mark.needles)))


@dataclass(frozen=True, slots=True)
class Signs:
    """How one vendor's streams are read.

    `judge` says what an event is, with "error" for one that cannot be read; `error` finds the
    vendor's error among further events, and `end` what only the end of a stream has.
    """

    judge: Callable[[WireEvent], Seen]
    error: Mark
    end: Mark
    whole: Mark = field(init=False)

    def __post_init__(self) -> None:
        """An answer is whole when its end has come, or the vendor's word that there is none."""
        object.__setattr__(self, "whole", any_of(self.end, self.error))


def watch_of(content_type: str, signs: Signs) -> tuple[Watcher, Ending | None]:
    """What watches an answer of this media type. The Ending is told a chunk before the Watcher."""
    if not is_events(content_type):
        return at_once, None
    passing = Passing(signs)
    return StreamWatch(signs.judge, passing), passing


class Passing:
    """Whether the end or an error has passed, however the bytes arrive."""

    def __init__(self, signs: Signs) -> None:
        self._signs = signs
        self._needles = signs.whole.needles
        self._tail = b""
        self._found = False
        self.failed = False

    def __call__(self, chunk: bytes) -> bool:
        """Take the next chunk. As a rule chunks are whole events, and nothing is kept of them."""
        if self._found:
            return True
        window = self._tail + chunk if self._tail else chunk
        places = [at for needle in self._needles if (at := window.find(needle)) >= 0]
        if places:
            text = self._lined(window)
            # No mark goes beyond an event: those before the first needle need no looking at.
            self._look(text, max(0, text.rfind(b"\n\n", 0, min(places) + 1)))
        self._tail = b"" if window.endswith(b"\n\n") else self._lined(window)[-BORDER_BYTES:]
        return self._found

    def _look(self, text: bytes, at: int) -> None:
        self._found = self._signs.whole.pattern.search(text, at) is not None
        self.failed = self._found and self._signs.error.pattern.search(text, at) is not None

    def _lined(self, window: bytes) -> bytes:
        return window if self._tail else b"\n" + window


class StreamWatch:
    """Reads whole events up to the first content; errors after it are those that `Passing` saw."""

    def __init__(self, judge: Callable[[WireEvent], Seen], passing: Passing) -> None:
        self._judge = judge
        self._passing = passing
        self._parser = SseParser()
        self._seen: Seen = ""

    def __call__(self, chunk: bytes) -> Seen:
        """Take the next chunk; what has been seen so far."""
        if self._passing.failed:
            return "error"
        if self._seen == "":
            self._seen = self._read(chunk)
        return self._seen

    def _read(self, chunk: bytes) -> Seen:
        at = 0
        while at < len(chunk):
            # Event by event: of many in a chunk, those behind the first content are nobody's.
            end = chunk.find(b"\n\n", at) + 2
            piece = chunk[at:] if end < 2 else chunk[at:end]
            at += len(piece)
            try:
                events = self._parser.feed(piece)
            except UpstreamFailed:
                return "content"  # Too large to be judged, so it is passed on.
            for event in events:
                seen = self._judge(event)
                if seen:
                    return seen
        return ""
