"""What clients ask an instance for before they work: tokens, headers, and who they are."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
import pytest

from isthmus.adapters.providers.local import LocalProvider
from isthmus.auth.authenticate import Authenticator, AuthPolicy
from isthmus.core.accounts import FLOW_SCOPES, TokenKind
from isthmus.edge.http.app import create
from isthmus.instance.accounts import Wish
from isthmus.instance.broker import Reach
from tests.support.http_app import SERVICE, OneKey, Stand
from tests.support.instance_stand import IDENTITY, URL, InstanceStand
from tests.support.suggest_stand import suggest_of

API = "/api/v4"
SESSION = f"{API}/ai/duo_workflows/direct_access"
PROXIES = f"{API}/ai/third_party_agents/direct_access"
SUGGESTIONS = f"{API}/code_suggestions"
FILE = {
    "file_name": "a.py",
    "content_above_cursor": "def add(a, b):\n    return a",
    "content_below_cursor": "",
}
UNAUTHORIZED = (401, {"message": "401 Unauthorized"})


@asynccontextmanager
async def closed(stand: InstanceStand) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token, of an application whose gateway lets nobody in without one."""
    keys = Authenticator(OneKey(), AuthPolicy(SERVICE), stand.services.telemetry, stand.clock)
    suggest = suggest_of(Stand(clock=stand.clock), LocalProvider())
    app = create(replace(stand.services, authenticator=keys, suggest=suggest))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 40_000))
    async with httpx.AsyncClient(transport=transport, base_url=URL) as http:
        yield http


def told(reply: httpx.Response) -> tuple[int, Any]:
    return reply.status_code, reply.json()


async def test_a_proxy_token_opens_the_proxy_with_the_headers_that_came_with_it(
    stand: InstanceStand,
) -> None:
    async with closed(stand) as http:
        reply = await http.post(PROXIES, headers=stand.alice.bearer, json={"feature_flags": {}})
        assert reply.status_code == 201
        assert reply.headers["cache-control"] == "no-store"
        access = reply.json()
        assert all(type(value) is str for value in access["headers"].values())
        bearer = {"authorization": f"Bearer {access['token']}"}
        message = {"model": "claude-test", "max_tokens": 9}
        path = "/ai/v1/proxy/anthropic/v1/messages"
        answered = await http.post(path, headers=access["headers"] | bearer, json=message)
        assert told(answered) == (200, {"ok": True})
        # Another one's name does not go with this token, and no token opens nothing.
        forged = access["headers"] | bearer | {"x-gitlab-global-user-id": "somebody"}
        assert (await http.post(path, headers=forged, json=message)).status_code == 401
        assert (await http.post(path, headers=access["headers"], json=message)).status_code == 401


async def test_an_editor_completes_straight_at_the_gateway(stand: InstanceStand) -> None:
    async with closed(stand) as http:
        reply = await http.post(f"{SUGGESTIONS}/direct_access", headers=stand.alice.bearer)
        assert reply.status_code == 201
        access = reply.json()
        assert access["base_url"] == URL
        assert access["headers"]["X-Gitlab-Global-User-Id"] == stand.alice.user.global_id
        bearer = {"authorization": f"Bearer {access['token']}"}
        body = {"prompt_version": 1, "current_file": FILE}
        path = "/v2/code/completions"
        direct = await http.post(path, headers=access["headers"] | bearer, json=body)
        assert direct.status_code == 200
        # The token is for completions alone.
        other = await http.post(
            "/v2/code/generations", headers=access["headers"] | bearer, json=body
        )
        assert other.status_code == 403


async def test_direct_connections_may_be_off(stand: InstanceStand) -> None:
    stand.instance.broker.reach = Reach(direct=False)
    async with stand.client() as http:
        assert told(await http.post(f"{SUGGESTIONS}/direct_access")) == (
            403,
            {"message": "403 Forbidden - Direct connections are disabled"},
        )


async def test_i7_29_a_session_gets_both_tokens(stand: InstanceStand) -> None:
    async with stand.client() as http:
        reply = await http.post(SESSION, json={"workflow_definition": "chat", "odd": [1]})
        assert reply.status_code == 201
        body = reply.json()
        rails, service = body["gitlab_rails"], body["duo_workflow_service"]
        assert rails["base_url"] == URL
        ends = datetime.fromisoformat(rails["token_expires_at"])
        assert (ends - stand.clock.utc()).total_seconds() == 7_200
        assert type(service["token_expires_at"]) is int
        assert service["base_url"] == "instance.test:50052"
        assert service["secure"] is False
        assert all(type(value) is str for value in service["headers"].values())
        assert service["headers"]["x-gitlab-global-user-id"] == stand.alice.user.global_id
        assert body["workflow_metadata"]["rootNamespaceId"] == str(stand.alice.user.namespace_id)
        assert "tool_call_approval" in body["server_capabilities"]
    member = await stand.instance.accounts.member(rails["token"])
    assert (member.user.id, member.token.scopes) == (stand.alice.user.id, FLOW_SCOPES)


@pytest.mark.parametrize(
    "namespace", ["gid://gitlab/Group/77", "gid://elsewhere/x", "no/such", 9_999, "", None, "1"]
)
async def test_i7_61_a_namespace_that_nobody_knows_is_as_good_as_none(
    stand: InstanceStand, namespace: object
) -> None:
    async with stand.client() as http:
        reply = await http.post(SESSION, json={"root_namespace_id": namespace})
    assert reply.status_code == 201
    # `1` is somebody else's.
    own = str(stand.alice.user.namespace_id)
    assert reply.json()["workflow_metadata"]["rootNamespaceId"] == own


async def test_a_session_belongs_to_the_project_that_it_names(stand: InstanceStand) -> None:
    async with stand.client() as http:
        reply = await http.post(SESSION, json={"project_id": "acme%2Fapp"})
        group = (await http.get(f"{API}/groups/acme")).json()["id"]
    headers = reply.json()["duo_workflow_service"]["headers"]
    assert headers["x-gitlab-root-namespace-id"] == str(group)
    async with stand.client(stand.bob) as http:
        refused = await http.post(SESSION, json={"project_id": "acme/app"})
    assert told(refused) == (404, {"message": "404 Project Not Found"})


async def test_sessions_of_one_user_are_counted(stand: InstanceStand) -> None:
    async with stand.client() as http:
        for _ in range(stand.instance.settings.direct_access_per_minute):
            assert (await http.post(SESSION)).status_code == 201
        refused = await http.post(SESSION)
    text = "This endpoint has been requested too many times. Try again later."
    assert told(refused) == (429, {"message": {"error": text, "rule": "direct_access"}})
    assert int(refused.headers["retry-after"]) >= 1
    async with stand.client(stand.bob) as http:
        assert (await http.post(SESSION)).status_code == 201


async def test_a_session_takes_an_empty_body_and_names_what_does_not_fit(
    stand: InstanceStand,
) -> None:
    async with stand.client() as http:
        assert (await http.post(SESSION, content=b"")).status_code == 201
        wrong = await http.post(SESSION, json={"workflow_definition": {}})
        assert told(wrong) == (400, {"error": "workflow_definition is invalid"})
        broken = await http.post(SESSION, content=b"{", headers={"content-type": "text/json"})
        assert broken.status_code == 400


@pytest.mark.parametrize("header", ["private-token", "authorization"])
async def test_i7_05_both_headers_let_in(stand: InstanceStand, header: str) -> None:
    value = stand.alice.token if header == "private-token" else f"bearer {stand.alice.token}"
    async with closed(stand) as http:
        for path in ("/user", "/version", "/metadata"):
            reply = await http.get(API + path, headers={header: value})
            assert reply.status_code == 200, path


BAD_TOKENS: Mapping[str, dict[str, str]] = {
    "none": {},
    "unknown": {"private-token": "glpat-nobody"},
    "empty": {"authorization": "Bearer "},
    "another scheme": {"authorization": "Basic YTpi"},
    "too long": {"private-token": "g" * 600},
    "not ASCII": {"private-token": "\xe9"},
}


@pytest.mark.parametrize("headers", BAD_TOKENS.values(), ids=BAD_TOKENS)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", SESSION),
        ("POST", PROXIES),
        ("POST", f"{SUGGESTIONS}/direct_access"),
        ("GET", f"{API}/user"),
        ("GET", "/oauth/token/info"),
        ("GET", f"{API}/no/such/route"),
    ],
)
async def test_nobody_gets_in_without_a_token(
    stand: InstanceStand, method: str, path: str, headers: dict[str, str]
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    async with closed(stand) as http:
        assert told(await http.request(method, path, headers=raw)) == UNAUTHORIZED


@pytest.mark.parametrize(
    "kind", [TokenKind.REFRESH, TokenKind.CODE, TokenKind.DEVICE, TokenKind.BROWSER]
)
async def test_tokens_of_other_kinds_let_nobody_in(stand: InstanceStand, kind: TokenKind) -> None:
    other = await stand.token(stand.alice, kind, "api")
    async with closed(stand) as http:
        assert told(await http.get(f"{API}/user", headers=other)) == UNAUTHORIZED


async def test_a_token_ends_when_it_should(stand: InstanceStand) -> None:
    wish = Wish(TokenKind.PERSONAL, frozenset({"api"}), ttl_s=60.0)
    brief = await stand.instance.accounts.mint(stand.alice.user, wish)
    revoked = await stand.instance.accounts.mint(stand.alice.user, wish)
    await stand.stores.tokens.revoke(revoked.token.id)
    async with closed(stand) as http:
        for text, status in ((brief.text, 200), (revoked.text, 401)):
            reply = await http.get(f"{API}/user", headers={"private-token": text})
            assert reply.status_code == status
        stand.clock.advance(60.0)
        assert told(await http.get(f"{API}/user", headers={"private-token": brief.text})) == (
            UNAUTHORIZED
        )
        assert (await http.get(f"{API}/user", headers=stand.alice.bearer)).status_code == 200


async def test_a_disabled_user_is_nobody(stand: InstanceStand) -> None:
    await stand.stores.users.change(stand.bob.user.id, lambda user: replace(user, active=False))
    async with closed(stand) as http:
        assert told(await http.get(f"{API}/user", headers=stand.bob.bearer)) == UNAUTHORIZED


@pytest.mark.parametrize(
    ("path", "scopes"),
    [
        (SESSION, {"ai_features", "ai_workflows", "read_api", "mcp"}),
        (PROXIES, {"ai_workflows", "read_api", "mcp"}),
        (f"{SUGGESTIONS}/direct_access", {"ai_workflows", "read_api", "mcp"}),
        (f"{SUGGESTIONS}/connection_details", {"ai_workflows", "read_api", "mcp"}),
        (f"{API}/ai/duo_workflows/revoke_token", {"ai_features", "read_api", "mcp"}),
    ],
)
async def test_a_scope_too_few_is_told(stand: InstanceStand, path: str, scopes: set[str]) -> None:
    headers = await stand.token(stand.alice, TokenKind.PERSONAL, *scopes)
    async with closed(stand) as http:
        reply = await http.post(path, headers=headers, json={"token": "x"})
    assert reply.status_code == 403
    assert reply.json()["error"] == "insufficient_scope"
    assert "api" in reply.json()["scope"].split()


async def test_i7_56_tokens_are_thrown_away(stand: InstanceStand) -> None:
    path = f"{API}/ai/duo_workflows/revoke_token"
    async with stand.client() as http:
        assert told(await http.post(path, json={"token": "nobody's"})) == (200, {})
        text = (await http.post(SESSION)).json()["gitlab_rails"]["token"]
        info = await http.get("/oauth/token/info", headers={"authorization": f"Bearer {text}"})
        assert info.json()["scope"] == ["ai_workflows", "mcp"]
        assert info.json()["expires_in"] == 7_200
        async with stand.client(stand.bob) as another:
            assert (await another.post(path, json={"token": text})).status_code == 403
        assert told(await http.post(path, json={"token": text})) == (200, {})
        assert told(await http.post(path, json={"token": text})) == (200, {})
        info = await http.get("/oauth/token/info", headers={"authorization": f"Bearer {text}"})
        assert told(info) == UNAUTHORIZED
        # A person's own token is no session's.
        assert (await http.post(path, json={"token": stand.alice.token})).status_code == 403
        assert told(await http.post(path, json={})) == (400, {"error": "token is missing"})


async def test_the_instance_tells_who_it_is(stand: InstanceStand) -> None:
    async with stand.client() as http:
        version = (await http.get(f"{API}/version")).json()
        assert version["version"] == "19.0.0-ee"
        assert set(version) == {"version", "revision"}
        assert (await http.get(f"{API}/metadata")).json() == version | {"enterprise": True}
        details = await http.post(f"{SUGGESTIONS}/connection_details")
        assert told(details) == (
            201,
            {
                "instance_id": IDENTITY.instance_id,
                "instance_version": IDENTITY.version,
                "realm": IDENTITY.realm,
                "global_user_id": stand.alice.user.global_id,
                "host_name": IDENTITY.host_name,
                "feature_enablement_type": "duo_enterprise",
                "saas_duo_pro_namespace_ids": "",
            },
        )
        tracked = await http.post(f"{API}/usage_data/track_event", content=b"anything")
        assert (tracked.status_code, tracked.content) == (200, b"")


async def test_callers_are_told_who_they_are(stand: InstanceStand) -> None:
    async with stand.client() as http:
        user = (await http.get(f"{API}/user")).json()
        assert (user["id"], user["username"]) == (stand.alice.user.id, "alice")
        own = (await http.get(f"{API}/personal_access_tokens/self")).json()
        assert own["active"] is True
        assert own["expires_at"] is None
        assert "api" in own["scopes"]
        assert told(await http.get("/oauth/token/info")) == UNAUTHORIZED
        oauth = await stand.token(stand.alice, TokenKind.OAUTH, "api")
        info = await http.get("/oauth/token/info", headers=oauth)
        assert info.json()["resource_owner_id"] == stand.alice.user.id
        self_token = await http.get(f"{API}/personal_access_tokens/self", headers=oauth)
        assert told(self_token) == UNAUTHORIZED


async def test_places_are_shown_by_id_and_by_path(stand: InstanceStand) -> None:
    async with stand.client() as http:
        project = (await http.get(f"{API}/projects/acme%2Fapp")).json()
        assert project["path_with_namespace"] == "acme/app"
        assert project["web_url"] == f"{URL}/acme/app"
        assert type(project["namespace"]["id"]) is int
        assert (await http.get(f"{API}/projects/{project['id']}")).json() == project
        group_id = project["namespace"]["id"]
        group = (await http.get(f"{API}/groups/acme?with_projects=false")).json()
        assert (group["id"], group["full_path"], group["kind"]) == (group_id, "acme", "group")
        assert group["experiment_features_enabled"] is True
        assert (await http.get(f"{API}/namespaces/{group_id}")).json()["parent_id"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/projects/acme%2Fapp",
        "/groups/acme",
        "/namespaces/acme",
        "/projects/0",
        "/projects/acme%2F..%2Fapp",
        "/projects/..%2f..%2fetc",
        "/projects/%00",
        "/projects/alone",
        f"/projects/{'a' * 2000}",
    ],
)
async def test_foreign_places_are_not_there(stand: InstanceStand, path: str) -> None:
    async with stand.client(stand.bob) as http:
        assert (await http.get(API + path)).status_code == 404


async def test_what_is_below_a_project_is_no_project(stand: InstanceStand) -> None:
    async with stand.client() as http:
        for path in ("/projects/acme%2Fapp/issues", "/projects/1/issues", "/projects/new/thing"):
            reply = await http.get(API + path)
            assert told(reply) == (404, {"message": "404 Project Not Found"})
    known = [project.full_path for project in await stand.stores.places.projects()]
    assert known == ["acme/app"]


async def test_suggestions_are_enabled_for_projects_that_one_sees(stand: InstanceStand) -> None:
    path = f"{SUGGESTIONS}/enabled"
    async with stand.client() as http:
        assert (await http.post(path, json={"project_path": "acme/app"})).status_code == 200
        assert told(await http.post(path)) == (400, {"error": "project_path is missing"})
    async with stand.client(stand.bob) as http:
        assert (await http.post(path, json={"project_path": "acme/app"})).status_code == 404
