"""Streams out: nothing is promised before the first byte (or the failure) is known.

A stream that fails later raises: the connection then ends without the end of its body.
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from isthmus.core.messages import RawReply
from isthmus.edge.http.cut import CUTS, Words
from isthmus.edge.http.exchange import EXCHANGE, Exchange
from isthmus.edge.http.reply import Headers, Reply

EVENT_STREAM = "text/event-stream; charset=utf-8"
PLAIN_LIMIT_BYTES = 1024 * 1024
"""A plain reply up to this size is sent as one piece with its length; a longer one is relayed."""

NAMES_KEPT = 256
NAME_KEPT_BYTES = 64


class _TextStream(Response):
    def __init__(self, chunks: AsyncGenerator[str, None], media_type: str) -> None:
        self._chunks = chunks
        self.status_code = 200
        self.background = None
        self.raw_headers = [(b"content-type", media_type.encode("latin-1"))]

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,  # noqa: ARG002 - an ASGI application takes three
        send: Send,
    ) -> None:
        # Closing the generator closes the model's connection; a cancelled request does it too.
        async with aclosing(self._chunks) as chunks:
            first = b""
            async for text in chunks:
                first = text.encode()
                if first:
                    break
            await _begin(scope, send, 200, self.raw_headers)
            if first:
                await send(_piece(first))
                async for text in chunks:
                    if text:
                        await send(_piece(text.encode()))
        await send(_END)


def raw_text_stream(chunks: AsyncGenerator[str, None], media_type: str = EVENT_STREAM) -> Response:
    """An answer that is the chunks' text, as it comes; owns the generator and closes it.

    The status line waits for the first chunk that is not empty, so a failure before it is answered
    with its own status.
    """
    return _TextStream(chunks, media_type)


class ByteStream(Response):
    """A reply that is still on its way; made by `byte_stream`."""

    def __init__(
        self,
        opened: AbstractAsyncContextManager[RawReply],
        reply: RawReply,
        headers: Headers,
        head: bytes,
        cut: Words | None = None,
    ) -> None:
        self._cut = cut
        self._opened = opened
        self._reply = reply
        self._head = head
        self.status_code = reply.status
        self.background = None
        self.raw_headers = headers

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,  # noqa: ARG002 - an ASGI application takes three
        send: Send,
    ) -> None:
        last = self._head
        try:
            await _begin(scope, send, self.status_code, self.raw_headers)
            await send(_piece(last))
            async for chunk in self._reply.chunks:
                last = chunk
                await send(_piece(chunk))
        except BaseException as error:
            if isinstance(error, CUTS) and self._cut is not None:
                begun = b"" if last.endswith((b"\n\n", b"\r\n\r\n")) else b"\n\n"
                await send(_piece(begun + self._cut(error)))
            await self._opened.__aexit__(*sys.exc_info())
            raise
        await self._opened.__aexit__(None, None, None)
        await send(_END)


async def byte_stream(
    opened: AbstractAsyncContextManager[RawReply], cut: Words | None = None
) -> Response:
    """A provider's reply, relayed as it comes; owns what it enters, and leaves it at the end.

    `cut` are the words for an event stream that a limit or a guard of ours cuts.

    Raises what entering or the first bytes raise. A reply that is not an event stream is read to
    its end first, when it is short: its length is then known, and so is whether it is whole.
    """
    reply = await opened.__aenter__()
    # Most replies are here with their head, or come in one piece, which is not copied.
    head, rest = b"", bytearray()
    try:
        headers, streamed = _encoded(reply.headers)
        whole = None if streamed else reply.whole()
        if whole is None:
            async for chunk in reply.chunks:
                if head:
                    rest += chunk
                else:
                    head = chunk
                if (streamed and head) or len(head) + len(rest) > PLAIN_LIMIT_BYTES:
                    said = cut if streamed else None
                    return ByteStream(opened, reply, headers, head + rest, said)
            whole = head + rest if rest else head
    except BaseException:
        await opened.__aexit__(*sys.exc_info())
        raise
    await opened.__aexit__(None, None, None)
    return Reply(whole, headers, reply.status)


class _Names(dict[str, bytes]):
    """Header names as they go out; learns those that providers send, up to a bound."""

    def __missing__(self, name: str) -> bytes:
        raw = name.encode("latin-1")
        if len(self) < NAMES_KEPT and len(raw) <= NAME_KEPT_BYTES:
            self[name] = raw
        return raw


_names = _Names()


def _encoded(headers: tuple[tuple[str, str], ...]) -> tuple[Headers, bool]:
    """The headers as they go out, and whether they announce a stream of events."""
    found: Headers = []
    streamed = False
    for name, value in headers:
        if name == "content-type":
            streamed = streamed or value.startswith("text/event-stream")
        elif name == "content-length":
            continue
        found.append((_names[name], value.encode("latin-1")))
    return found, streamed


async def _begin(scope: Scope, send: Send, status: int, headers: Headers) -> None:
    exchange: Exchange | None = scope.get(EXCHANGE)
    if exchange is None or not exchange.begin(scope, status, headers):
        await send({"type": "http.response.start", "status": status, "headers": headers})


def _piece(body: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": True}


_END: dict[str, object] = {"type": "http.response.body", "body": b"", "more_body": False}
