"""Who may open a socket, before it is opened. Source: instance contract, sections 3.1 to 3.3."""

import asyncio
import base64
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from isthmus.core.accounts import Namespace, TokenKind
from isthmus.core.errors import NotFound
from isthmus.core.events import RelayClosed, RelayOpened
from isthmus.core.ports import PlaceStore
from isthmus.edge.instance import InstanceServices
from isthmus.edge.relay.gate import NO_NAMESPACE
from isthmus.instance.metadata import HEADER
from isthmus.instance.places import Places
from tests.support.instance_stand import IDENTITY, InstanceStand
from tests.support.relay_stand import RelayStand, open_relay


async def test_i7_33_no_token_is_401_before_the_upgrade(relay: RelayStand) -> None:
    status, body, headers = await relay.refused(known=False)
    assert (status, body) == (401, {"message": "401 Unauthorized"})
    assert headers["content-type"] == "application/json"
    status, _, _ = await relay.refused(headers={"authorization": "Bearer nonsense"})
    assert status == 401
    assert not relay.sink.of(RelayOpened)


class NoNamespaces:
    """A store of places that has none for an account itself."""

    def __init__(self, store: PlaceStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def namespace(self, key: int | str) -> Namespace:
        found = await self._store.namespace(key)
        if found.owner_id is not None:
            raise NotFound("There is no such namespace.")
        return found


async def test_i7_33_no_namespace_is_403_before_the_upgrade(tmp_path: Path) -> None:
    def homeless(people: InstanceStand, services: InstanceServices) -> InstanceServices:
        store = cast("PlaceStore", NoNamespaces(people.stores.places))
        return replace(services, places=Places(store, register=False))

    async with open_relay(tmp_path, change=homeless) as relay:
        status, body, _ = await relay.refused()
        assert (status, body) == (403, {"message": f"403 Forbidden - {NO_NAMESPACE}"})
        async with relay.connect("namespace_id=acme"):
            pass


async def test_i7_06_a_foreign_workflow_in_the_query_is_404(relay: RelayStand) -> None:
    foreign = await relay.workflow(relay.people.bob)
    for workflow_id in (foreign, "999999999", "0", "-1", "1e3", "x", "1%00"):
        status, body, _ = await relay.refused(f"workflow_id={workflow_id}")
        assert (status, body) == (404, {"message": "404 Workflow Not Found"}), workflow_id
    own = await relay.workflow()
    async with relay.connect(f"workflow_id={own}"):
        pass
    assert not relay.host.turns


async def test_a_token_without_the_scope_is_403(relay: RelayStand) -> None:
    headers = await relay.people.token(relay.people.alice, TokenKind.PERSONAL, "ai_features")
    status, body, _ = await relay.refused(headers=headers)
    assert status == 403
    assert body["error"] == "insufficient_scope"
    assert body["scope"] == "api ai_workflows"


async def test_tokens_that_let_nobody_in_open_no_socket(relay: RelayStand) -> None:
    alice = relay.people.alice
    for kind in (TokenKind.REFRESH, TokenKind.CODE, TokenKind.DEVICE):
        headers = await relay.people.token(alice, kind, "api")
        status, _, _ = await relay.refused(headers=headers)
        assert status == 401, kind


@pytest.mark.parametrize("name", ["authorization", "private-token"])
async def test_either_header_carries_the_token(relay: RelayStand, name: str) -> None:
    token = relay.people.alice.token
    value = f"Bearer {token}" if name == "authorization" else token
    async with relay.connect(known=False, headers={name: value}) as socket:
        assert socket.subprotocol is None


def carried(token: str) -> list[Subprotocol]:
    text = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    return [Subprotocol("isthmus.v1"), Subprotocol(f"isthmus.token.{text}")]


async def test_a_page_brings_its_token_as_a_subprotocol(relay: RelayStand) -> None:
    token = relay.people.alice.token
    for origin in (relay.url, None):
        options: Mapping[str, Any] = {"origin": origin} if origin else {}
        async with relay.connect(known=False, subprotocols=carried(token), **options) as socket:
            assert socket.subprotocol == "isthmus.v1"


async def test_a_browsers_cookie_opens_a_socket_for_our_own_pages_alone(relay: RelayStand) -> None:
    bearer = await relay.people.token(relay.people.alice, TokenKind.BROWSER, "api")
    session = bearer["authorization"].removeprefix("Bearer ")
    headers = {"cookie": f"other=1; isthmus_session={session}"}
    async with relay.connect(known=False, headers=headers, origin=relay.url):
        pass
    for origin in ("https://evil.test", None):
        options: Mapping[str, Any] = {"origin": origin} if origin else {}
        status, _, _ = await relay.refused(known=False, headers=headers, **options)
        assert status == 403
    status, _, _ = await relay.refused(headers=bearer)
    assert status == 401, "a cookie's token is no bearer token"
    personal = {"cookie": f"isthmus_session={relay.people.alice.token}"}
    status, _, _ = await relay.refused(known=False, headers=personal, origin=relay.url)
    assert status == 401, "nor the other way round"


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://127.0.0.1:1"])
async def test_a_page_of_another_origin_is_refused(relay: RelayStand, origin: str) -> None:
    token = relay.people.alice.token
    status, body, _ = await relay.refused(known=False, subprotocols=carried(token), origin=origin)
    assert (status, body["message"]) == (403, "403 Forbidden - This page may not connect.")


async def test_a_listed_origin_and_our_external_one_are_ours(tmp_path: Path) -> None:
    instance = {"external_url": "https://isthmus.test/"}
    async with open_relay(tmp_path, origins=("https://app.test/",), instance=instance) as relay:
        token = relay.people.alice.token
        for origin in ("https://app.test", "https://isthmus.test"):
            async with relay.connect(known=False, subprotocols=carried(token), origin=origin):
                pass


@pytest.mark.parametrize("text", ["", "%%%", "////", "w6k"])
async def test_a_subprotocol_that_is_no_token_is_401(relay: RelayStand, text: str) -> None:
    protocols = [Subprotocol("isthmus.v1"), Subprotocol("isthmus.token." + (text or "x"))]
    try:
        status, _, _ = await relay.refused(known=False, subprotocols=protocols)
    except ValueError:  # not every text is a token of HTTP; the client refuses it itself
        return
    assert status in {400, 401}


async def test_ids_that_do_not_fit_are_refused(relay: RelayStand) -> None:
    places = relay.people.stores.places
    mine = await places.namespace("alice")
    acme = await places.namespace("acme")
    for query in (
        f"project_id=acme/app&root_namespace_id={mine.id}",
        f"namespace_id={acme.id}&root_namespace_id={mine.id}",
        f"project_id=acme%2Fapp&namespace_id={mine.id}",
    ):
        status, body, _ = await relay.refused(query)
        assert status == 403, query
        assert "does not match" in body["message"]
    bob = relay.people.bob
    for query in ("project_id=acme/app", "namespace_id=acme", "root_namespace_id=acme"):
        status, _, _ = await relay.refused(query, who=bob)
        assert status == 404, query


async def test_a_user_opens_no_more_sockets_than_the_limit(tmp_path: Path) -> None:
    async with open_relay(tmp_path, sockets_per_minute=2) as relay:
        for _ in range(2):
            async with relay.connect():
                pass
        status, body, headers = await relay.refused()
        assert status == 429
        assert body["message"]["error"].startswith("This endpoint has been requested too many")
        assert int(headers["retry-after"]) > 0
        async with relay.connect(who=relay.people.bob):
            pass


async def test_a_process_holds_no_more_sockets_than_are_set(tmp_path: Path) -> None:
    async with open_relay(tmp_path, max_sockets=1) as relay, relay.connect():
        status, body, headers = await relay.refused()
        assert status == 503
        assert body["message"].startswith("503 Service Unavailable - ")
        assert headers["retry-after"]


async def test_sockets_that_come_at_once_are_counted_before_they_are_let_in(tmp_path: Path) -> None:
    async with open_relay(tmp_path, max_sockets=2) as relay, AsyncExitStack() as open_ones:

        async def knock() -> int:
            try:
                await open_ones.enter_async_context(relay.connect())
            except InvalidStatus as refusal:
                return refusal.response.status_code
            return 101

        statuses = await asyncio.gather(*(knock() for _ in range(8)))
        assert sorted(statuses) == [101] * 2 + [503] * 6


async def test_where_no_session_can_run_the_upgrade_is_503(tmp_path: Path) -> None:
    async with open_relay(tmp_path, change=lambda _, each: replace(each, sessions=None)) as relay:
        status, _, _ = await relay.refused()
        assert status == 503


async def test_another_path_is_404_and_a_query_without_end_400(relay: RelayStand) -> None:
    for path in ("/api/v4/elsewhere", "/v1/proxy/anthropic/v1/messages", "/"):
        status, body, _ = await relay.refused(path=path)
        assert (status, body) == (404, {"message": "404 Not Found"}), path
    status, _, _ = await relay.refused("a=1" + "&b=1" * 60)
    assert status == 400


async def test_the_platform_is_told_everything_of_the_caller(relay: RelayStand) -> None:
    alice = relay.people.alice
    await relay.people.flag("ai_context_compaction", default=True)
    await relay.run(
        query="project_id=acme/app&client_type=browser",
        headers={
            "User-Agent": "tests/1",
            "X-Gitlab-Language-Server-Version": "8.51.0",
            "X-Gitlab-Client-Version": "2",
            "X-Gitlab-Client-Name": "n" * 300,
            "Langsmith-Trace": "{}",
            "X-Gitlab-Tracking-Context": "{}",
            "X-Request-Id": "r-1",
            "X-Gitlab-Realm": "saas",
            "X-Gitlab-Global-User-Id": "somebody else",
        },
    )
    turn = relay.host.turn
    acme = await relay.people.stores.places.namespace("acme")
    project = await relay.people.stores.places.project("acme/app")
    told = dict(turn.client.headers)
    flags = told.pop("x-gitlab-enabled-feature-flags").split(",")
    assert "ai_context_compaction" in flags
    assert "duo_workflow_provider_stickiness" not in flags
    assert told.pop(HEADER).startswith('{"provider":"gitlab"')
    assert told == {
        "x-gitlab-authentication-type": "oidc",
        "x-gitlab-instance-id": IDENTITY.instance_id,
        "x-gitlab-host-name": IDENTITY.host_name,
        "x-gitlab-realm": "self-managed",
        "x-gitlab-version": IDENTITY.version,
        "x-gitlab-global-user-id": alice.user.global_id,
        "x-gitlab-user-id": str(alice.user.id),
        "x-gitlab-organization-id": "1",
        "x-gitlab-namespace-id": str(acme.id),
        "x-gitlab-root-namespace-id": str(acme.root_id),
        "x-gitlab-project-id": str(project.id),
        "x-gitlab-feature-enabled-by-namespace-ids": str(acme.root_id),
        "x-gitlab-feature-enablement-type": "duo_enterprise",
        "x-gitlab-unit-primitive": "duo_workflow_execute_workflow",
        "x-gitlab-is-team-member": "false",
        "x-gitlab-enabled-instance-verbose-ai-logs": "false",
        "x-gitlab-extended-logging": "false",
        "x-gitlab-unidirectional-streaming": "enabled",
        "x-gitlab-model-prompt-cache-enabled": "true",
        "x-gitlab-self-hosted-dap-billing-enabled": "false",
        "x-gitlab-client-type": "browser",
        "x-gitlab-client-name": "n" * 255,
        "x-gitlab-client-version": "2",
        "x-gitlab-language-server-version": "8.51.0",
        "x-gitlab-tracking-context": "{}",
        "langsmith-trace": "{}",
        "x-gitlab-correlation-id": "r-1",
        "user-agent": "tests/1 gitlab-workhorse",
    }
    assert turn.caller.global_user_id == alice.user.global_id
    assert alice.token not in str(turn.client)


async def test_facts_tell_of_sockets_and_never_of_tokens(relay: RelayStand) -> None:
    await relay.run(headers={"X-Gitlab-Client-Type": "node-websocket"})
    (opened,) = relay.sink.of(RelayOpened)
    assert opened.client_type == "node-websocket"
    (closed,) = relay.sink.of(RelayClosed)
    assert (closed.code, closed.status, closed.error) == (1000, "OK", "")
    assert relay.people.alice.token not in repr(relay.sink.facts)
