"""Our own public keys, for services that verify tokens which we issued.

Source: RFC 7517; OpenID Connect Discovery 1.0, section 4.
"""

import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from isthmus.auth.strict import encode_base64url
from isthmus.core.ports import VerificationKey
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.services import Services

_JWKS_PATH = "/.well-known/jwks.json"
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
"""A domain, an IPv4 address or an IPv6 one in brackets, with a port or without."""


class Jwk(msgspec.Struct, frozen=True):
    """A public RSA key."""

    kid: str
    n: str
    e: str
    kty: str = "RSA"
    use: str = "sig"
    alg: str = "RS256"


class Jwks(msgspec.Struct, frozen=True):
    """A key set."""

    keys: list[Jwk]


class Discovery(msgspec.Struct, frozen=True):
    """The part of a discovery document that verifying tokens needs."""

    issuer: str
    jwks_uri: str
    id_token_signing_alg_values_supported: list[str]
    response_types_supported: list[str]
    subject_types_supported: list[str]


def routes(services: Services) -> list[Endpoint]:
    """Key set and discovery document; both are public."""
    jwks = msgspec.json.encode(Jwks([_jwk(key) for key in services.public_keys]))

    async def key_set(_: Request) -> Response:
        return _json(jwks, "public, max-age=300")

    async def discovery(request: Request) -> Response:
        base = _base(request)
        document = Discovery(base, base + _JWKS_PATH, ["RS256"], ["id_token"], ["public"])
        # It repeats the Host header, so a shared cache must not hand it to others.
        return _json(msgspec.json.encode(document), "no-store")

    return [
        Endpoint("GET", _JWKS_PATH, key_set, "Public keys of this service.", reply=Jwks),
        Endpoint(
            "GET",
            "/.well-known/openid-configuration",
            discovery,
            "Where this service publishes its keys.",
            reply=Discovery,
        ),
    ]


def _base(request: Request) -> str:
    """Where this service is; by the Host header only when it is a name or an address."""
    said = request.headers.get("host", "")
    if not _HOST.fullmatch(said):
        host, port = request.scope["server"]
        said = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{request.scope['scheme']}://{said}"


def _jwk(key: VerificationKey) -> Jwk:
    return Jwk(key.kid, _number(key.n), _number(key.e))


def _number(value: int) -> str:
    return encode_base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _json(body: bytes, caching: str) -> Response:
    return Response(body, media_type="application/json", headers={"cache-control": caching})
