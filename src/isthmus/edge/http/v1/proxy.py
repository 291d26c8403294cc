"""`POST /v1/proxy/{anthropic,openai,vertex-ai}/...`: a provider's own wire, relayed.

Source: HTTP gateway contract, section 7.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from isthmus.core.errors import (
    MisconfiguredProvider,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from isthmus.edge.http import cut
from isthmus.edge.http.auth import caller_of, client_of
from isthmus.edge.http.body import read
from isthmus.edge.http.cut import Words
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.exchange import EXCHANGE, Exchange, note
from isthmus.edge.http.sse import ByteStream, byte_stream
from isthmus.edge.services import Services
from isthmus.gateway.forward import Forward, ForwardRequest

MESSAGE_LIMIT_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class _Shape:
    """What differs on the wire between the providers' routes; `name` is the one in the path."""

    name: str
    provider: str
    title: str
    keyless_status: int
    cut: Words


_SHAPES = (
    _Shape("anthropic", "anthropic", "Anthropic", 400, cut.anthropic),
    _Shape("openai", "openai", "OpenAI", 500, cut.openai),
    _Shape("vertex-ai", "vertex", "Vertex AI", 500, cut.google),
)


def routes(services: Services) -> list[Endpoint]:
    """One route a provider."""
    return proxied(services, "/v1/proxy")


def proxied(services: Services, root: str) -> list[Endpoint]:
    """The routes below `root`."""
    return [
        Endpoint(
            method="POST",
            path=f"{root}/{shape.name}/{{path:path}}",
            handle=_handler(services.forward, shape, f"{root}/{shape.name}"),
            summary=f"Forward a call to the {shape.title} API.",
            stream_type="text/event-stream",
            scopes="the one that `x-gitlab-unit-primitive` names",
            models=f"{shape.title}, models of the list",
            stability="stable" if root == "/v1/proxy" else "ours",
            relays=True,
        )
        for shape in _SHAPES
    ]


def _handler(
    forward: Forward, shape: _Shape, prefix: str
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        asked = ForwardRequest(
            provider=shape.provider,
            path=_path(request, prefix),
            headers=request.scope["headers"],
            body=await read(request),
        )
        client = client_of(request)
        exchange: Exchange = request.scope[EXCHANGE]
        try:
            opened = forward.open(asked, caller_of(request), client)
            exchange.fields.append(
                ("meta.unit_primitive", client.headers["x-gitlab-unit-primitive"])
            )
            response = await byte_stream(opened, shape.cut)
            return response if response.status_code < 400 else _readable(response)
        except MisconfiguredProvider as failure:
            return JSONResponse({"detail": failure.detail}, shape.keyless_status)
        except (UpstreamFailed, UpstreamTimeout) as failure:
            note(request.scope, "exception_class", type(failure).__name__)
            return _refusal(failure)

    return handle


def _path(request: Request, prefix: str) -> str:
    """The provider's path as sent, with its query; what was escaped stays escaped."""
    raw: bytes = request.scope["raw_path"]
    _, _, path = raw.decode("latin-1").partition(prefix)
    query: bytes = request.scope["query_string"]
    return f"{path}?{query.decode('latin-1')}" if query else path


def _readable(response: Response) -> Response:
    """An error of the provider as JSON: its own, or its text inside `message`."""
    if isinstance(response, ByteStream) or _json(response.body):
        return response
    text = bytes(response.body[:MESSAGE_LIMIT_BYTES]).decode("utf-8", "replace")
    kept = {
        name: value
        for name, value in response.headers.items()
        if name not in {"content-type", "content-length"}
    }
    return JSONResponse({"message": text}, response.status_code, headers=kept)


def _json(body: bytes | memoryview) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _refusal(failure: UpstreamFailed | UpstreamTimeout) -> Response:
    """The answer when the provider gave none. Source: HTTP gateway contract, section 7.5."""
    match failure:
        case UpstreamUnreachable():
            return JSONResponse({"message": failure.detail}, 500)
        case UpstreamTimeout(phase="connect"):
            return JSONResponse({"message": failure.detail}, 500)
        case _:
            return JSONResponse({"detail": "Bad Gateway"}, 502)
