"""`/monitoring/probe`: how requests arrive here, for `isthmus doctor --via`.

A stream whose pieces are apart in time shows a proxy that holds streams back; a WebSocket that says
one thing shows one that does not pass upgrades on. Both are for callers with a token alone.
"""

import asyncio
from collections.abc import AsyncGenerator

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from isthmus.auth.authenticate import Authenticator
from isthmus.core.errors import Failure
from isthmus.edge.http import errors
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.sse import EVENT_STREAM, raw_text_stream
from isthmus.edge.services import Services

PATH = "/monitoring/probe"
PIECES = 4
PAUSE_S = 0.25


class Sight(msgspec.Struct, frozen=True):
    """What is seen of a request. `believing` says whether any proxy is trusted at all."""

    client: str
    scheme: str
    forwarded: bool
    believing: bool
    lasts_s: float


def routes(services: Services) -> list[Endpoint]:
    """The stream."""
    believing = bool(services.http.trusted_proxies)

    async def probe(request: Request) -> Response:
        return raw_text_stream(_pieces(sight_of(request.scope, believing=believing)))

    return [
        Endpoint(
            "GET",
            PATH,
            probe,
            "Stream how this request arrived, in pieces, for `isthmus doctor --via`.",
            stream_type=EVENT_STREAM.partition(";")[0],
            scopes="any",
            stability="ours",
        )
    ]


def sight_of(scope: Scope, *, believing: bool) -> Sight:
    """What is seen of a request."""
    client = scope.get("client") or ("", 0)
    forwarded = any(name == b"x-forwarded-for" for name, _ in scope["headers"])
    lasts_s = (PIECES - 1) * PAUSE_S
    return Sight(str(client[0]), str(scope["scheme"]), forwarded, believing, lasts_s)


async def socket(authenticator: Authenticator, scope: Scope, receive: Receive, send: Send) -> None:
    """Open a WebSocket for a caller with a token, say one thing, and close."""
    await receive()
    try:
        await authenticator.caller(dict(Headers(scope=scope)))
    except Failure as failure:
        await errors.respond(failure, verbose=False)(scope, receive, send)
        return
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "ok"})
    await send({"type": "websocket.close", "code": 1000})


async def _pieces(sight: Sight) -> AsyncGenerator[str, None]:
    yield f"data: {msgspec.json.encode(sight).decode()}\n\n"
    for _ in range(PIECES - 1):
        await asyncio.sleep(PAUSE_S)
        yield ": \n\n"
