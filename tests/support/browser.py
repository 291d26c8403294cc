"""A browser, as far as forms, cookies and the headers of an origin go; and a client of OAuth."""

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from starlette.types import ASGIApp

URL = "http://instance.test"
VERIFIER = "v" * 43
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
)
CALLBACK = "http://127.0.0.1:8080/callback"
CLIENT = "editor-1"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def authorize(**changes: str) -> str:
    """Where a client sends the browser of a user; an empty change leaves a parameter out."""
    query = {
        "client_id": CLIENT,
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "state": "s-1",
        "scope": "api",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    } | changes
    return "/oauth/authorize?" + urlencode({name: value for name, value in query.items() if value})


def query_of(address: str) -> dict[str, str]:
    """The parameters of an address."""
    return dict(parse_qsl(urlsplit(address).query))


class _Form(HTMLParser):
    """The one form of a page: where it goes, and what it sends by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = held["action"]
        if tag == "input" and held.get("type") == "hidden":
            self.fields[held["name"]] = held["value"]
        self.scripts += tag == "script" or any(name.startswith("on") for name in held)


@dataclass
class Browser:
    """Follows nothing by itself: a test sees every answer."""

    http: httpx.AsyncClient

    async def get(self, path: str) -> httpx.Response:
        return await self.http.get(path, headers={"sec-fetch-site": "none"})

    async def send(
        self, page: httpx.Response, headers: Mapping[str, str] | None = None, **fields: str
    ) -> httpx.Response:
        """Send the form of a page, with these fields filled in."""
        form = _Form()
        form.feed(page.text)
        assert form.action, page.text
        assert form.scripts == 0
        own = {"origin": URL, "sec-fetch-site": "same-origin"} if headers is None else headers
        return await self.http.post(form.action, data=form.fields | fields, headers=own)

    async def sign_in(self, page: httpx.Response, username: str, secret: str) -> httpx.Response:
        """Fill the sign-in form of this page in; the page that it leads to."""
        reply = await self.send(page, username=username, password=secret)
        assert reply.status_code == 303, reply.text
        return await self.get(reply.headers["location"])

    async def code(self, username: str, secret: str, **changes: str) -> str:
        """The code that a client gets once this user has agreed."""
        consent = await self.get(authorize(**changes))
        if "password" in consent.text:
            consent = await self.sign_in(consent, username, secret)
        reply = await self.send(consent, decision="allow")
        assert reply.status_code == 303, reply.text
        return query_of(reply.headers["location"])["code"]

    async def token(self, grant: str, **fields: str) -> httpx.Response:
        """What a client is answered at the token endpoint."""
        form = {"grant_type": grant, "client_id": CLIENT} | fields
        return await self.http.post("/oauth/token", data=form)

    async def redeem(self, code: str, **changes: str) -> httpx.Response:
        """Tokens for a code."""
        fields = {"code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER} | changes
        return await self.token("authorization_code", **fields)


@asynccontextmanager
async def browsing(app: ASGIApp) -> AsyncIterator[Browser]:
    """A browser that knows nobody yet."""
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 40_000))
    async with httpx.AsyncClient(transport=transport, base_url=URL) as http:
        yield Browser(http)
