"""One HTTP/1.1 client connection: writes a request, parses the answer, holds the reader back.

Sources: RFC 9112 (framing, keep-alive), RFC 9110 section 15.2 (interim answers).
"""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from isthmus.core.deadline import Deadline
from isthmus.core.errors import Failure, UpstreamFailed, UpstreamTimeout, UpstreamUnreachable

HEAD_LIMIT_BYTES = 64 * 1024
BUFFER_LIMIT_BYTES = 256 * 1024
TICK_S = 1.0
"""A connection's one timer looks at its limit at least this often; setting a limit is then free."""

_SLACK_S = 0.002
_NO_TIME = Deadline(0.0)


class Connection(asyncio.Protocol):
    """Serves one exchange at a time: `begin`, `head`, `chunk` until it is empty, then `rest`.

    `lost` is told once, when the socket is gone.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, lost: Callable[["Connection"], None]
    ) -> None:
        self._loop = loop
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0
        self._due_s = 0.0
        self._phase = ""
        self._end_s = 0.0
        self._limits = _NO_TIME
        self._paused = False
        self._busy = False
        self._dirty = False
        self._headless = False
        self._reset()

    def _reset(self) -> None:
        self._failure: Failure | None = None
        self._interim = False
        self._headed = False
        self.complete = False
        """Whether the end of the answer has arrived."""
        self._overhead = 0
        self._head_bytes = 0
        self._buffered = 0
        self._body_bytes = 0
        self._chunks: list[bytes] = []
        self.received = False
        self.status = 0
        self.raw_headers: list[tuple[bytes, bytes]] = []

    # What the client does.

    def begin(
        self, head: bytes, body: bytes, limits: Deadline, left_s: float, *, headless: bool
    ) -> None:
        """Send a request, which may take `left_s`. `headless` announces no body (HEAD)."""
        self._reset()
        self._limits = limits
        self._end_s = self._loop.time() + left_s
        self._headless = headless
        self._busy = True
        self._phase = ""
        transport = self._transport
        if transport is None:
            self._fail(_gone())
        elif len(body) < BUFFER_LIMIT_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)

    def head(self) -> asyncio.Future[None] | None:
        """None once status and headers are here, else what to await before asking again.

        They count as the first byte.
        """
        if not self._headed:
            return self._wait(self._limits.first_byte_s, "first_byte")
        if self._failure is not None and not self._chunks:
            raise self._failure
        return None

    async def chunk(self) -> bytes:
        """What has arrived of the body, waiting for at least one byte; empty at its end."""
        while (chunk := self.ready()) is None:
            await self._wait(self._limits.between_bytes_s, "between_bytes")
        return chunk

    def ready(self) -> bytes | None:
        """What `chunk` gives without waiting; None when it has to wait.

        What came before a failure is given before it: the provider has said it, and asks its price.
        """
        if not self._chunks and not self.complete:
            return None
        if self._failure is None and self._loop.time() > self._end_s:
            self._fail(_late("total"))
        if self._failure is not None and not self._chunks:
            raise self._failure
        return self._take()

    def rest(self, idle_s: float) -> bool:
        """End the exchange. Whether the connection may serve another one, within `idle_s`."""
        self._busy = False
        # What was raised holds the frames that it passed, and they this connection.
        self._failure = None
        reusable = self.complete and not self._dirty and self._transport is not None
        if reusable:
            if self._chunks:
                self._take()
            self._limit(self._loop.time() + idle_s, "idle")
        return reusable

    @property
    def alive(self) -> bool:
        """Whether the socket is open, as far as is known."""
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        """Close at once; bytes under way are dropped."""
        if self._transport is not None:
            self._transport.abort()

    # What the loop does.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        if not self._busy or self._parser is None:
            # Nobody asked: whatever it is, it must not become the next answer.
            self.abort()
            return
        self.received = True
        before = self._body_bytes
        self._head_bytes = self._overhead + len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._dirty = True
            if not self.complete:
                self._fail(UpstreamFailed("The model provider's answer is not valid HTTP."))
        if self._body_bytes != before:
            self._overhead = 0
            return
        self._overhead += len(data)
        if self._overhead > HEAD_LIMIT_BYTES and not self.complete:
            self._fail(_oversized())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._parser = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._busy and not self.complete and self._failure is None:
            if not self._headed:
                self._fail(_gone())
            elif exc is None and not self._framed():
                self.complete = True
            else:
                self._fail(
                    UpstreamFailed(
                        "The model provider broke off in the middle of its answer.", retryable=True
                    )
                )
        self._wake()
        self._lost(self)

    # What the parser does.

    def on_message_begin(self) -> None:
        if self.complete:
            self._dirty = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headed or self.complete:
            return
        self.raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete or self._parser is None:
            return
        status = self._parser.get_status_code()
        # No head is larger than what has come so far, so most need no adding up.
        if self._head_bytes > HEAD_LIMIT_BYTES and _size(self.raw_headers) > HEAD_LIMIT_BYTES:
            self._fail(_oversized())
        elif status == 101:
            self._fail(UpstreamFailed("The model provider switched to another protocol."))
        elif status < 200:
            self._interim = True
            self.raw_headers = []
        else:
            self.status = status
            self._headed = True
            self._dirty = self._headless or not self._parser.should_keep_alive()
            self.complete = self._headless
            if self._waiter is not None:
                self._wake()

    def on_body(self, body: bytes) -> None:
        if self.complete:
            return
        self._chunks.append(body)
        size = len(body)
        self._buffered += size
        self._body_bytes += size
        if self._buffered > BUFFER_LIMIT_BYTES and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()
        if self._waiter is not None:
            self._wake()

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        self.complete = self.complete or self._headed
        if self._waiter is not None:
            self._wake()

    # Waiting.

    def _wait(self, limit_s: float, phase: str) -> asyncio.Future[None]:
        """Done when something has happened, or the limit has passed."""
        if self._failure is not None:
            raise self._failure
        due_s = self._loop.time() + limit_s
        if due_s >= self._end_s:
            due_s, phase = self._end_s, "total"
        self._limit(due_s, phase)
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            self._phase = ""
            if not waiter.done():
                waiter.set_result(None)

    def _limit(self, due_s: float, phase: str) -> None:
        self._due_s, self._phase = due_s, phase
        if self._timer is not None:
            if self._timer_s <= due_s:
                return
            self._timer.cancel()
        self._timer_s = min(due_s, self._loop.time() + TICK_S)
        self._timer = self._loop.call_at(self._timer_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._phase:
            return
        if self._loop.time() + _SLACK_S < self._due_s:
            self._limit(self._due_s, self._phase)
        elif self._phase == "idle":
            self.abort()
        else:
            self._fail(_late(self._phase))

    def _fail(self, failure: Failure) -> None:
        if self._failure is None:
            self._failure = failure
        self._headed = True
        self.complete = True
        self._dirty = True
        self.abort()
        self._wake()

    def _take(self) -> bytes:
        chunks = self._chunks
        if not chunks:
            return b""
        self._chunks = []
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _framed(self) -> bool:
        """Whether the answer said where its body ends."""
        return any(
            name.lower() in {b"content-length", b"transfer-encoding"}
            for name, _ in self.raw_headers
        )


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _gone() -> UpstreamUnreachable:
    return UpstreamUnreachable(
        "The model provider closed the connection before it answered.", retryable=True
    )


def _late(phase: str) -> UpstreamTimeout:
    return UpstreamTimeout("The model provider did not answer in time.", phase)


def _oversized() -> UpstreamFailed:
    return UpstreamFailed("The model provider's answer has headers that are too large.")
