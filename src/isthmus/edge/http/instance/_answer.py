"""What the support routes share: a JSON answer that nobody keeps, and our own address."""

import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_encode = msgspec.json.Encoder().encode


def answer(value: object, status: int = 200) -> Response:
    """A value as JSON; it may hold a token, so that no cache keeps it."""
    headers = {"cache-control": "no-store"}
    return Response(_encode(value), status, headers, media_type="application/json")


def host_of(request: Request) -> str:
    """The `host:port` by which the request names us, or the one that we listen on."""
    named = request.headers.get("host", "")
    if _HOST.fullmatch(named):
        return named
    host, port = request.scope.get("server") or ("localhost", None)
    return f"{host}:{port}" if port else host


def address(request: Request, *configured: str) -> str:
    """Our URL: the first that is set, else as the request names it; without a slash at its end."""
    set_to = next(filter(None, configured), "")
    return set_to.rstrip("/") or f"{request.scope['scheme']}://{host_of(request)}"
