"""Somebody at a browser: signed in or about to be, and whether a form of ours came back.

The pages that need a user show the sign-in form themselves, and lead back to where they were.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from isthmus.core.accounts import BROWSERS, Member, User
from isthmus.core.errors import Failure, Forbidden, Rejected, Unauthenticated
from isthmus.edge.http.body import read
from isthmus.edge.http.errors import retry, status
from isthmus.edge.http.exchange import exchange_of
from isthmus.edge.http.instance._answer import address
from isthmus.edge.http.instance._page import button, field, form, link, page, text
from isthmus.edge.http.membership import (
    SESSION,
    cookie,
    headers_of,
    instance_of,
    same_origin,
)
from isthmus.instance.signin import SESSION_TTL_S, Attempt

FORM_LIMIT_BYTES: Final = 16 * 1024
FORM_LIMIT_FIELDS: Final = 50
_FORM_COOKIE: Final = "isthmus_form"
_FOREIGN: Final = "This form is not one of ours, or it is too old. Go back and load it again."


class Visitor:
    """One request of a browser. `member` is None until somebody has signed in."""

    def __init__(self, request: Request, member: Member | None) -> None:
        self.request = request
        self.member = member
        self._headers = headers_of(request.scope)
        self._seed = cookie(self._headers, SESSION if member else _FORM_COOKIE)
        self._fresh = ""
        if not self._seed:
            self._seed = self._fresh = secrets.token_urlsafe(32)

    @property
    def here(self) -> str:
        """The path of this request with its query."""
        query = self.request.url.query
        return f"{self.request.url.path}?{query}" if query else self.request.url.path

    @property
    def csrf(self) -> str:
        """What a form must send back: bound to the visitor's cookie."""
        return hmac.new(self._seed.encode(), b"form", hashlib.sha256).hexdigest()

    async def sent(self) -> dict[str, str]:
        """The fields of the form that came back. Raises Forbidden when it is not one of ours."""
        fields = await read_form(self.request)
        given = fields.get("csrf", "")
        if (
            self._fresh
            or not same_origin(self._headers, reads=False)
            or not hmac.compare_digest(given.encode(), self.csrf.encode())
        ):
            raise Forbidden(_FOREIGN)
        return fields

    def form(self, *inputs: str) -> str:
        """A form that comes back to where it stands."""
        return form(self.here, self.csrf, *inputs)

    def shown(self, response: Response) -> Response:
        """The response, with the cookie that its forms are bound to."""
        if self._fresh:
            self._keep(response, _FORM_COOKIE, self._fresh, 3_600)
        return response

    def sign_in_page(self, fault: str = "", status: int = 200) -> Response:
        """Asks who is there."""
        provider = instance_of(self.request).sign_in.provider
        with_provider = ""
        if provider is not None:
            there = f"/oauth/oidc?next={quote(self.here, safe='')}"
            with_provider = link(there, f"Sign in at {provider.name}")
        fields = self.form(
            field("username", "Username", fill="username"),
            field(
                "password", "Password or personal token", kind="password", fill="current-password"
            ),
            button("Sign in"),
        )
        parts = (text(fault, fault=True), with_provider, fields)
        return self.shown(page("Sign in", *parts, status=status))

    async def sign_in(self, fields: Mapping[str, str]) -> Response:
        """Lets the visitor in, back to this page, or asks again. Raises LimitExceeded."""
        client = self.request.client
        attempt = Attempt(
            fields.get("username", ""), fields.get("password", ""), client.host if client else ""
        )
        try:
            user = await instance_of(self.request).sign_in.by_secret(attempt)
        except Unauthenticated as error:
            return self.sign_in_page(error.detail, 401)
        return await self.let_in(user, self.here)

    async def let_in(self, user: User, there: str) -> Response:
        """Send the visitor on, with a session. `there` is a path of ours."""
        session = await instance_of(self.request).sign_in.session(user)
        response = RedirectResponse(there, 303, {"cache-control": "no-store"})
        self._keep(response, SESSION, session.text, int(SESSION_TTL_S))
        return response

    async def leave(self) -> Response:
        """Sign the visitor out, and ask who is there now."""
        if self.member is not None:
            await instance_of(self.request).accounts.end(self.member)
        response = RedirectResponse(self.here, 303, {"cache-control": "no-store"})
        self._keep(response, SESSION, "", 0)
        return response

    def keep(self, response: Response, name: str, value: str, seconds: int) -> None:
        """Have the browser keep a secret of a trip; nothing is kept for no seconds."""
        self._keep(response, name, value, seconds)

    def _keep(self, response: Response, name: str, value: str, seconds: int) -> None:
        url = address(self.request, instance_of(self.request).settings.external_url)
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            secure=url.startswith("https:"),
            httponly=True,
            samesite="lax",
        )


async def visitor_of(request: Request) -> Visitor:
    """Who is at the browser; failures from now on are told on a page."""
    exchange_of(request.scope).refuse = _told
    session = cookie(headers_of(request.scope), SESSION)
    member = None
    if session:
        try:
            member = await instance_of(request).accounts.member(session, kinds=BROWSERS)
        except Unauthenticated:
            member = None
    return Visitor(request, member)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, of repeated ones the last. Raises Rejected."""
    raw = await read(request)
    if len(raw) > FORM_LIMIT_BYTES:
        raise Rejected("The form is too large.")
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_LIMIT_FIELDS
        )
    except ValueError:
        raise Rejected("The form cannot be read.") from None
    return dict(pairs)


def _told(failure: Failure) -> Response:
    response = page("This did not work", text(failure.detail, fault=True), status=status(failure))
    response.headers.update(retry(failure) or {})
    return response
