"""Our own keys, published: what we sign can be verified with what we serve."""

import json

import httpx
import pytest

from isthmus.adapters.keysets.jwks import parse_jwks
from isthmus.auth.authenticate import AuthPolicy
from isthmus.auth.strict import decode_object
from isthmus.auth.verify import parse, signed_by
from isthmus.edge.http.app import create
from tests.support.http_app import KID, SERVICE, Stand, signing_key, token


async def get(path: str, host: str | None = None) -> httpx.Response:
    app = create(Stand(policy=AuthPolicy(SERVICE)).services())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://gw.test:8443") as http:
        return await http.get(path, headers={} if host is None else {"host": host})


async def test_the_key_set_is_public_and_verifies_what_we_sign() -> None:
    reply = await get("/.well-known/jwks.json")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    keys = parse_jwks(decode_object(reply.content))
    assert keys == (signing_key().public(KID),)
    assert signed_by(parse(token({})), keys)


async def test_nothing_but_the_public_half_is_published() -> None:
    (jwk,) = json.loads((await get("/.well-known/jwks.json")).content)["keys"]
    assert set(jwk) == {"kid", "n", "e", "kty", "use", "alg"}
    assert (jwk["kty"], jwk["use"], jwk["alg"], jwk["e"]) == ("RSA", "sig", "RS256", "AQAB")


async def test_discovery_names_the_key_set_at_the_host_that_was_asked() -> None:
    reply = await get("/.well-known/openid-configuration")
    assert reply.headers["cache-control"] == "no-store"
    document = reply.json()
    assert document["issuer"] == "https://gw.test:8443"
    assert document["jwks_uri"] == "https://gw.test:8443/.well-known/jwks.json"
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("10.0.0.1", "https://10.0.0.1"),
        ("[::1]:5052", "https://[::1]:5052"),
        ("a/b", "https://gw.test:8443"),
        ("evil.test@gw.test", "https://gw.test:8443"),
        ("gw.test:x", "https://gw.test:8443"),
        ("", "https://gw.test:8443"),
    ],
)
async def test_a_host_that_is_none_is_not_repeated(host: str, base: str) -> None:
    reply = await get("/.well-known/openid-configuration", host)
    assert reply.json()["issuer"] == base


async def test_other_well_known_paths_are_closed() -> None:
    for path in ("/.well-known/", "/.well-known/jwks.json/", "/.well-known/../metrics"):
        assert (await get(path)).status_code in {401, 404}
    assert (await get("/.well-known/security.txt")).status_code == 401
