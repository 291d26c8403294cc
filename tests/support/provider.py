"""A small OpenID provider for a team: it lets in whoever it is told to, and checks its client."""

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from isthmus.auth.issue import SigningKey
from tests.support.http_app import KID, signing_key
from tests.support.tokens import b64

CLIENT_ID = "isthmus team"
SECRET = "s3cret:/&"


@dataclass
class TeamProvider:
    """`claims` replace what the next token says; `key` signs it."""

    root: str = "/realms/team"
    url: str = ""
    claims: dict[str, object] = field(default_factory=dict[str, object])
    key: SigningKey = field(default_factory=signing_key)
    kid: str = KID
    described: dict[str, object] = field(default_factory=dict[str, object])
    codes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    calls: list[str] = field(default_factory=list[str])

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(f"{self.root}/.well-known/openid-configuration", self._describe),
                Route(f"{self.root}/keys", self._keys),
                Route(f"{self.root}/token", self._token, methods=["POST"]),
            ]
        )

    @property
    def issuer(self) -> str:
        return self.url + self.root

    def agree(self, query: dict[str, str]) -> str:
        """The code that a browser is sent back with, for the address that it came with."""
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        return code

    async def _describe(self, _: Request) -> Response:
        self.calls.append("describe")
        told = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }
        return JSONResponse(told | self.described)

    async def _keys(self, _: Request) -> Response:
        key = signing_key().public(KID)
        size = (key.n.bit_length() + 7) // 8
        jwk = {"kty": "RSA", "kid": KID, "n": b64(key.n.to_bytes(size)), "e": "AQAB"}
        return JSONResponse({"keys": [jwk]})

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        asked = self.codes.pop(form["code"], None)
        if asked is None or not _same(asked, form) or not _client(request):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now_s = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "sub-1",
            "aud": CLIENT_ID,
            "iat": now_s,
            "exp": now_s + 60,
            "nonce": asked["nonce"],
            "preferred_username": "grace",
            "name": "Grace",
            "email": "grace@team.test",
        } | self.claims
        said = {name: value for name, value in claims.items() if value is not None}
        return JSONResponse({"id_token": self.key.sign(said, self.kid), "token_type": "Bearer"})


def _same(asked: dict[str, str], form: dict[str, str]) -> bool:
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    return (
        asked["code_challenge"] == b64(digest)
        and asked["redirect_uri"] == form["redirect_uri"]
        and form["grant_type"] == "authorization_code"
    )


def _client(request: Request) -> bool:
    kind, _, pair = request.headers["authorization"].partition(" ")
    name, _, secret = base64.b64decode(pair).decode().partition(":")
    return (kind, unquote_plus(name), unquote_plus(secret)) == ("Basic", CLIENT_ID, SECRET)
