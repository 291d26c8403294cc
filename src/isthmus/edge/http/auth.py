"""Closed by default: every HTTP request has a caller, except on the paths of PUBLIC."""

import time
from collections.abc import Awaitable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus.auth.authenticate import Authenticator
from isthmus.core.identity import Caller, ClientInfo
from isthmus.edge.http.exchange import EXCHANGE, Exchange

PUBLIC = frozenset(
    {
        "/monitoring/healthz",
        "/monitoring/ready",
        "/metrics",
        "/v1/models/definitions",
        "/.well-known/jwks.json",
        "/.well-known/openid-configuration",
    }
)
"""Exact paths, as they are after percent-decoding; a trailing slash makes another path."""


class Authentication:
    """ASGI middleware that gives each request's exchange its `caller` and `client`.

    Raises Unauthenticated (or Unavailable) before the route is looked for, so that a path without a
    route tells strangers nothing. WebSocket connections are refused.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._no_request(scope, receive, send)
        exchange: Exchange = scope[EXCHANGE]
        if scope["path"] in PUBLIC:
            _introduce(exchange)
            return self._app(scope, receive, send)
        began_s = time.perf_counter()
        known = exchange.sender.known
        if known is None or not known[0].current(exchange.arrived_at_s):
            known = self._authenticator.known(exchange.headers, exchange.arrived_at_s)
            if known is None:
                return self._ask(scope, receive, send)
            exchange.sender.known = known
        # A caller that is known needs no coroutine here: the next layer's is handed on.
        _admit(exchange, known[1], began_s)
        return self._app(scope, receive, send)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        began_s = time.perf_counter()
        caller = await self._authenticator.caller(exchange.headers)
        _admit(exchange, caller, began_s)
        await self._app(scope, receive, send)

    async def _no_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        await self._app(scope, receive, send)


def caller_of(request: Request) -> Caller:
    """Who calls. Raises KeyError on a public path, where nobody was asked."""
    exchange: Exchange = request.scope[EXCHANGE]
    caller = exchange.caller
    if caller is None:
        raise KeyError("caller")
    return caller


def client_of(request: Request) -> ClientInfo:
    """What the client says of itself. Raises KeyError outside of the authentication layer."""
    exchange: Exchange = request.scope[EXCHANGE]
    client = exchange.client
    if client is None:
        raise KeyError("client")
    return client


def _admit(exchange: Exchange, caller: Caller, began_s: float) -> None:
    exchange.caller = caller
    exchange.fields += (
        ("auth_duration_s", time.perf_counter() - began_s),
        ("token_issuer", caller.issuer),
        ("gitlab_realm", caller.realm),
    )
    _introduce(exchange)


def _introduce(exchange: Exchange) -> None:
    """The headers as ClientInfo; the token goes no further than here."""
    headers = exchange.headers
    if "authorization" in headers:
        del headers["authorization"]
    exchange.client = ClientInfo(headers)
