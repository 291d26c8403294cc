"""How answers' bodies end: whole or not, in time for their connection, or read for nobody."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

from isthmus.adapters.providers._spec import Ending
from isthmus.adapters.providers.dialects.failure import BODY_LIMIT_BYTES
from isthmus.core.errors import Failure, UpstreamFailed
from isthmus.core.ports import OutboundReply

LINGER_S = 0.25
"""How long the end of a body is awaited after the end marker, to keep the connection warm."""
DRAIN_LIMIT_BYTES = 4 * 1024 * 1024
"""How much of an answer is read on for nobody."""
_NO_STREAMS = frozenset({"application/json", "text/html"})
"""Types worth telling: as a rule such an answer was no stream, whatever was asked for."""


class Whole:
    """A forwarded stream; raises UpstreamFailed when it ends without the vendor's own end."""

    __slots__ = ("_chunks", "_ended", "_ending")

    def __init__(self, chunks: AsyncIterator[bytes], ending: Ending) -> None:
        self._chunks = chunks
        self._ending = ending
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            if not self._ended:
                raise stopped() from None
            raise
        self._ended = self._ending(chunk)
        return chunk


def stopped(headers: Sequence[tuple[str, str]] = ()) -> UpstreamFailed:
    """The failure of an answer without the vendor's own end; `headers` say what it was."""
    kind = next((value for name, value in headers if name == "content-type"), "")
    kind = kind.partition(";")[0].strip().lower()
    what = f"answer ({kind})" if kind in _NO_STREAMS else "answer"
    return UpstreamFailed(f"The model provider's {what} stopped before its end.", retryable=True)


async def start_of(reply: OutboundReply) -> bytes:
    """The first bytes of an error's body; what breaks on the way ends it."""
    body = bytearray()
    try:
        async for chunk in reply.chunks():
            body += chunk
            if len(body) >= BODY_LIMIT_BYTES:
                break
    except Failure:
        pass  # The status has been told; a broken body does not change it.
    return bytes(body[:BODY_LIMIT_BYTES])


async def drained(reply: OutboundReply, limit_s: float, ends: Callable[[bytes], bool]) -> None:
    """Read on an answer that its reader has left: the provider asks its price anyway.

    What breaks on the way, and the limits of time and size, end it.
    """
    size = 0
    with suppress(Failure, TimeoutError):
        async with asyncio.timeout(limit_s):
            async for chunk in reply.chunks():
                size += len(chunk)
                if ends(chunk) or size > DRAIN_LIMIT_BYTES:
                    return


async def linger(reply: OutboundReply) -> None:
    """Wait shortly for the body's end, so that the connection can be used again.

    As a rule it has come with the last event, and nobody has to wait.
    """
    try:
        async with asyncio.timeout(LINGER_S):
            async for chunk in reply.chunks():
                if len(chunk) > BODY_LIMIT_BYTES:
                    return
    except (Failure, TimeoutError):
        return
