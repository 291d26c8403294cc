"""Pages of any origin may call the API: preflights are answered, and every answer says so.

Source: HTTP gateway contract, section 2.1; Fetch Standard, section 3.2 (CORS protocol).
"""

from collections.abc import Awaitable

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus.edge.http.exchange import EXCHANGE, Exchange

MAX_AGE_S = 600
METHOD = "POST"

_ALLOWED = ((b"access-control-allow-origin", b"*"),)


class Cors:
    """Any origin, any header, POST, no credentials. A preflight needs no authentication."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        # Most callers are no pages: without an `Origin` this layer is one test.
        if exchange.origin:
            exchange.extra_headers += _ALLOWED
            if scope["method"] == "OPTIONS":
                asked: dict[bytes, bytes] = dict(scope["headers"])
                if b"access-control-request-method" in asked:
                    return _preflight(asked)(scope, receive, send)
        return self._app(scope, receive, send)


def _preflight(asked: dict[bytes, bytes]) -> PlainTextResponse:
    """Yes, or which method is not allowed. The headers asked for are all allowed."""
    headers = {
        "access-control-allow-methods": METHOD,
        "access-control-max-age": str(MAX_AGE_S),
        "vary": "Access-Control-Request-Headers",
    }
    names = asked.get(b"access-control-request-headers")
    if names is not None:
        # `*` would not cover `authorization`, so the names are repeated.
        headers["access-control-allow-headers"] = names.decode("latin-1")
    if asked[b"access-control-request-method"] != METHOD.encode():
        return PlainTextResponse("Disallowed CORS method", 400, headers)
    return PlainTextResponse("OK", 200, headers)
