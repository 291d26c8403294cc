"""Who calls the instance API: a member, by token; every path is closed but those of OPEN.

A browser's cookie counts as a token for pages of our own origin alone. Source: instance contract,
sections 1.0 and 3.1.
"""

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus.core.accounts import BROWSERS, LETTING_IN, Member, TokenKind
from isthmus.core.errors import Unauthenticated
from isthmus.core.identity import ClientInfo
from isthmus.edge.http import refusals
from isthmus.edge.http.exchange import EXCHANGE, Exchange

if TYPE_CHECKING:  # loaded late
    from isthmus.edge.instance import InstanceDoor, InstanceServices

MEMBER: Final = "isthmus.member"
INSTANCE: Final = "isthmus.instance"
INWARD: Final = "isthmus.inward"
"""Where a scope says that the relay of this process made it; nothing on a wire can."""
SESSION: Final = "isthmus_session"
"""The cookie of a browser that somebody signed in at."""
MARKER: Final = "gitlab-workhorse-api-request"
FAMILIES: Final = ("/api/", "/oauth/")
OPEN: Final = frozenset(
    {
        "/oauth/authorize",
        "/oauth/authorize_device",
        "/oauth/device",
        "/oauth/oidc",
        "/oauth/oidc/callback",
        "/oauth/revoke",
        "/oauth/token",
    }
)
"""Paths where nobody has a token yet."""
COMPLETIONS: Final = "/api/v4/code_suggestions/completions"
"""Where clients are told that it was not the gateway that refused."""
_READS: Final = frozenset({"GET", "HEAD"})


class Membership:
    """ASGI middleware for the paths of the instance API; others go to `app` by `outside`.

    Raises Unauthenticated before the route is looked for.
    """

    def __init__(self, app: ASGIApp, outside: ASGIApp, door: "InstanceDoor", secret: str) -> None:
        self._app = app
        self._outside = outside
        self._door = door
        self._secret = secret.encode()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or not scope["path"].startswith(FAMILIES):
            # No coroutine of ours: the gateway's requests are many.
            return self._outside(scope, receive, send)
        return self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        here = scope["path"] == COMPLETIONS
        exchange.refuse = refusals.monolith if here else refusals.instance
        headers = headers_of(scope)
        exchange.headers.pop("authorization", None)
        exchange.client = ClientInfo(exchange.headers)
        scope[INSTANCE] = instance = await self._door()
        if scope["path"] not in OPEN:
            through_relay = scope.get(INWARD) is True or self._marked(headers.get(MARKER, ""))
            token, kinds = credential(headers, reads=scope["method"] in _READS)
            scope[MEMBER] = await instance.accounts.member(
                token, through_relay=through_relay, kinds=kinds
            )
        await self._app(scope, receive, send)

    def _marked(self, token: str) -> bool:
        """Whether a relay outside of this process, which knows our secret, made the request."""
        head, _, signature = token.rpartition(".")
        if not self._secret or not head.isascii() or len(token) > 4096:
            return False
        own = hmac.new(self._secret, head.encode(), hashlib.sha256).digest()
        try:
            given = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
            claims = msgspec.json.decode(_decoded(head.rpartition(".")[2]), type=_Claims)
        except (ValueError, RecursionError, msgspec.DecodeError):
            return False
        return hmac.compare_digest(own, given) and claims.iss == "gitlab-workhorse"


class _Claims(msgspec.Struct):
    iss: str


def member_of(request: Request) -> Member:
    """Who calls. Raises KeyError on an open path."""
    return request.scope[MEMBER]


def instance_of(request: Request) -> "InstanceServices":
    """The use cases behind the door that the request came through."""
    return request.scope[INSTANCE]


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers by lower-case name, of repeated ones the first."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


def credential(headers: Mapping[str, str], *, reads: bool) -> tuple[str, frozenset[TokenKind]]:
    """The token of a request, and the kinds of tokens that may stand where it stood.

    It comes by `PRIVATE-TOKEN`, by `Authorization`, or, from pages of our own origin, as a cookie;
    `reads` says that the request changes nothing. Raises Unauthenticated.
    """
    private = headers.get("private-token", "")
    if private:
        return private, LETTING_IN
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip(), LETTING_IN
    session = cookie(headers, SESSION)
    if not session or not same_origin(headers, reads=reads):
        raise Unauthenticated("401 Unauthorized")
    return session, BROWSERS


def same_origin(headers: Mapping[str, str], *, reads: bool) -> bool:
    """Whether a page of ours sent the request.

    Browsers say so with everything that changes something, so that silence counts as no; what only
    reads is let through, as far as nothing speaks against it.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site is not None and site != "same-origin" and not (reads and site == "none"):
        return False
    if origin is None:
        return reads or site is not None
    return bool(headers.get("host")) and urlsplit(origin).netloc == headers.get("host")


def cookie(headers: Mapping[str, str], name: str) -> str:
    """The value of a cookie, or nothing."""
    for part in headers.get("cookie", "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
