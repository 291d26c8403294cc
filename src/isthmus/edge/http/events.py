"""Server-sent events out: named events in their order, and a sign of life while a model thinks.

Source: HTML Living Standard, section 9.2; HTTP gateway contract, section 4.8.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from isthmus.edge.http.reply import Headers
from isthmus.edge.http.sse import EVENT_STREAM

PING_S = 15.0
PING = b": ping\r\n\r\n"
HEADERS: Headers = [
    (b"content-type", EVENT_STREAM.encode()),
    (b"x-streaming-format", b"sse"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"connection", b"keep-alive"),
]

_encode = msgspec.json.Encoder().encode


def event(name: str, data: object) -> bytes:
    """One event; its data is JSON, which has no line breaks."""
    return b"event: %b\r\ndata: %b\r\n\r\n" % (name.encode(), _encode(data))


class EventStream(Response):
    """An answer of events, which are bytes already; owns the generator and closes it.

    A failure ends the connection without the end of its body.
    """

    def __init__(self, events: AsyncGenerator[bytes, None], ping_s: float = PING_S) -> None:
        self._events = events
        self._ping_s = ping_s
        self.status_code = 200
        self.background = None
        self.raw_headers = list(HEADERS)

    async def __call__(
        self,
        scope: Scope,  # noqa: ARG002 - an ASGI application takes three
        receive: Receive,  # noqa: ARG002 - an ASGI application takes three
        send: Send,
    ) -> None:
        async with aclosing(self._events) as events:
            first = await anext(events, b"")
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            pings = asyncio.get_running_loop().create_task(self._ping(send))
            try:
                await send(_piece(first))
                async for each in events:
                    await send(_piece(each))
            finally:
                pings.cancel()
                # `wait` tells our own cancellation apart from the one of the pings.
                await asyncio.wait((pings,))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _ping(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._ping_s)
            await send(_piece(PING))


def _piece(body: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": True}
