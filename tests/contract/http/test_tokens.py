"""`POST /v1/code/user_access_token` on the wire, and the token that it grants in use."""

from dataclasses import replace

import httpx
import pytest

from isthmus.auth.authenticate import AuthPolicy
from isthmus.edge.http.app import create
from isthmus.edge.services import Services
from isthmus.gateway.grant import Grant, Signer
from tests.support.http_app import SERVICE, Stand, bearer
from tests.support.tokens import NOW_S, claims_in

PATH = "/v1/code/user_access_token"
USER = {"x-gitlab-global-user-id": "user-1"}


def services() -> Services:
    return Stand(policy=AuthPolicy(SERVICE)).services()


async def ask(
    made: Services, headers: dict[str, str], body: bytes = b"", path: str = PATH
) -> httpx.Response:
    transport = httpx.ASGITransport(create(made))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as http:
        return await http.post(path, headers=headers, content=body)


def holder(*scopes: str, **claims: object) -> dict[str, str]:
    return bearer({"scopes": list(scopes)} | claims) | USER


async def test_h11_21_an_instance_gets_a_user_token() -> None:
    reply = await ask(services(), holder("complete_code"))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    body = reply.json()
    assert set(body) == {"token", "expires_at"}
    assert body["expires_at"] == NOW_S + 3600
    claims = claims_in(body["token"])
    assert (claims["iss"], claims["aud"], claims["sub"]) == (SERVICE, SERVICE, "user-1")
    assert claims["scopes"] == ["complete_code"]


async def test_h11_22_both_scopes_in_order() -> None:
    reply = await ask(services(), holder("ai_gateway_model_provider_proxy", "complete_code"))
    scopes = claims_in(reply.json()["token"])["scopes"]
    assert scopes == ["complete_code", "ai_gateway_model_provider_proxy"]


async def test_h11_23_neither_scope() -> None:
    reply = await ask(services(), holder("generate_code"))
    assert reply.status_code == 403
    assert reply.json() == {"detail": "Unauthorized to create user access token"}


async def test_h11_24_a_user_token_cannot_get_another() -> None:
    made = services()
    token = (await ask(made, holder("complete_code"))).json()["token"]
    own = {"authorization": f"Bearer {token}", "x-gitlab-authentication-type": "oidc"} | USER
    reply = await ask(made, own)
    assert reply.status_code == 403
    assert reply.json() == {"detail": "Unauthorized to create user access token"}


async def test_h11_13_a_user_token_is_bound_to_its_user() -> None:
    made = services()
    token = (await ask(made, holder("complete_code"))).json()["token"]
    own = {"authorization": f"Bearer {token}", "x-gitlab-authentication-type": "oidc"}
    assert (await ask(made, own | USER, path="/nowhere")).status_code == 404
    for headers in (own, own | {"x-gitlab-global-user-id": "user-2"}):
        reply = await ask(made, headers, path="/nowhere")
        assert reply.status_code == 401
        assert reply.json() == {"error": "Header mismatch 'X-Gitlab-Global-User-Id'"}


async def test_h11_25_without_a_signing_key() -> None:
    made = services()
    none = Signer(SERVICE, None)
    keyless = Grant(none, none, made.clock, made.telemetry)
    reply = await ask(replace(made, grant=keyless), holder("complete_code"))
    assert reply.status_code == 500
    assert reply.json() == {"detail": "Failed to generate JWT"}


async def test_h11_26_saas_carries_project_and_namespaces() -> None:
    named = {
        "x-gitlab-realm": "saas",
        "x-gitlab-project-id": "17",
        "x-gitlab-namespace-id": "18",
        "x-gitlab-root-namespace-id": "19",
    }
    reply = await ask(services(), holder("complete_code", gitlab_realm="saas") | named)
    claims = claims_in(reply.json()["token"])
    assert (claims["gitlab_project_id"], claims["gitlab_namespace_id"]) == ("17", "18")
    assert claims["gitlab_root_namespace_id"] == 19


@pytest.mark.parametrize("body", [b"", b"{", b"\xff" * 100, b'{"scopes":["generate_code"]}'])
async def test_the_body_is_ignored(body: bytes) -> None:
    reply = await ask(services(), holder("complete_code"), body)
    assert claims_in(reply.json()["token"])["scopes"] == ["complete_code"]


async def test_a_user_must_be_named() -> None:
    headers = holder("complete_code")
    del headers["x-gitlab-global-user-id"]
    reply = await ask(services(), headers)
    assert (reply.status_code, reply.json()) == (422, {"detail": "Validation error"})


async def test_the_alias_prefix_opens_nothing() -> None:
    reply = await ask(services(), {}, path="/ai/v1/proxy/anthropic/v1/messages")
    assert reply.status_code == 401
