"""Workflow records over HTTP, on the real stores."""

from dataclasses import replace
from typing import Any, cast

import httpx
import pytest

from isthmus.adapters.stores.places import SqlPlaceStore
from isthmus.core.accounts import Namespace
from isthmus.core.errors import NotFound
from isthmus.instance.places import Places
from isthmus.instance.workflows import Workflows
from tests.support.instance_stand import InstanceStand

ROOT = "/api/v4/ai/duo_workflows"
WORKFLOWS = f"{ROOT}/workflows"


async def created(http: httpx.AsyncClient, **body: object) -> dict[str, Any]:
    reply = await http.post(WORKFLOWS, json=body)
    assert reply.status_code == 201, reply.text
    return cast("dict[str, Any]", reply.json())


async def move(http: httpx.AsyncClient, workflow_id: int, event: str) -> httpx.Response:
    return await http.patch(f"{WORKFLOWS}/{workflow_id}", json={"status_event": event})


async def test_i7_01_a_goal_is_enough_for_a_workflow(stand: InstanceStand) -> None:
    async with stand.client() as http:
        reply = await http.post(WORKFLOWS, json={"goal": "mend it"})
    assert reply.status_code == 201
    body = reply.json()
    assert isinstance(body["id"], int)
    assert body | {"id": 0} == {
        "id": 0,
        "project_id": None,
        "namespace_id": stand.alice.user.namespace_id,
        "status": "created",
        "agent_privileges": [1, 2, 3, 4, 5, 6],
        "agent_privileges_names": [
            "read_write_files",
            "read_only_gitlab",
            "read_write_gitlab",
            "run_commands",
            "use_git",
            "run_mcp_tools",
        ],
        "pre_approved_agent_privileges": [],
        "pre_approved_agent_privileges_names": [],
        "workflow_definition": "software_development",
        "summary": None,
        "title": "software_development",
        "allow_agent_to_request_user": True,
        "image": None,
        "environment": None,
        "ai_catalog_item_version_id": None,
        "workload": {"id": None, "message": None},
        "mcp_enabled": True,
        "incremental_checkpoints_enabled": False,
        "gitlab_url": "http://instance.test",
    }
    assert "ai_gateway_multi_default_models" in reply.headers["x-gitlab-enabled-feature-flags"]


async def test_i7_02_without_any_namespace_there_is_none(stand: InstanceStand) -> None:
    class Nowhere(SqlPlaceStore):
        async def namespace(self, key: int | str) -> Namespace:
            raise NotFound(str(key))

    own = stand.instance
    places = Places(Nowhere(stand.stores.database), register=False)
    workflows = Workflows(stand.stores.workflows, places, own.flags, own.clock)
    stand.serve(replace(own, workflows=workflows))
    async with stand.client() as http:
        reply = await http.post(WORKFLOWS, json={"goal": "mend it"})
    assert reply.status_code == 400
    assert reply.json()["message"].startswith("400 Bad request - No default namespace found")


@pytest.mark.parametrize("key", ["{id}", "acme/app", "acme%2Fapp", "ACME/App"])
async def test_i7_03_a_project_has_many_names(stand: InstanceStand, key: str) -> None:
    project = await stand.stores.places.project("acme/app")
    async with stand.client() as http:
        for named in (key.format(id=project.id), *([project.id] if "{" in key else [])):
            body = await created(http, goal="x", project_id=named)
            assert (body["project_id"], body["namespace_id"]) == (project.id, None)


EXTRA: dict[str, object] = {
    "feature_flags": {"a": [1]},
    "requires_duo_cli_enabled": True,
    "metadata_2": None,
}
AUDIT = {
    "id": "00000000-0000-4000-8000-000000000001",
    "type": "t",
    "source": "s",
    "time": "2026-01-01T00:00:00Z",
}
POSTS: list[tuple[str, dict[str, object], int]] = [
    ("", {"goal": "x"}, 201),
    ("/{id}/resume", {"human_approval": True}, 404),
    ("/{id}/checkpoints", {"thread_ts": "1", "metadata": {}, "checkpoint": {}}, 201),
    ("/{id}/checkpoint_writes_batch", {"thread_ts": "1", "checkpoint_writes": []}, 200),
    ("/{id}/events", {"event_type": "stop", "message": "x"}, 201),
    ("/{id}/audit_events", {"events": [AUDIT]}, 202),
]


@pytest.mark.parametrize(("path", "body", "status"), POSTS, ids=[path for path, *_ in POSTS])
async def test_i7_04_unknown_keys_are_ignored(
    stand: InstanceStand, path: str, body: dict[str, object], status: int
) -> None:
    async with stand.client(relayed=True) as relay:
        made = await created(relay)
        url = WORKFLOWS + path.replace("{id}", str(made["id"]))
        reply = await relay.post(url, json=EXTRA | body)
    assert reply.status_code == status, reply.text


@pytest.mark.parametrize("header", ["authorization", "private-token"])
async def test_i7_05_both_headers_let_in(stand: InstanceStand, header: str) -> None:
    told = {"authorization": f"Bearer {stand.alice.token}", "private-token": stand.alice.token}
    async with stand.client() as http:
        http.headers.pop("authorization")
        assert (await http.post(WORKFLOWS, json={})).status_code == 401
        reply = await http.post(WORKFLOWS, json={}, headers={header: told[header]})
    assert reply.status_code == 201


async def test_i7_07_starting_twice_changes_nothing_more(stand: InstanceStand) -> None:
    async with stand.client() as http:
        workflow_id = (await created(http))["id"]
        first, second = [await move(http, workflow_id, "start") for _ in range(2)]
    for reply in (first, second):
        assert reply.status_code == 200
        assert reply.json()["workflow"]["status"] == "running"
    assert (await stand.stores.workflows.get(str(workflow_id))).status == "running"


async def test_i7_08_illegal_and_unknown_events_are_refused(stand: InstanceStand) -> None:
    async with stand.client() as http:
        workflow_id = (await created(http))["id"]
        illegal = await move(http, workflow_id, "finish")
        unknown = await move(http, workflow_id, "explode")
        missing = await http.patch(f"{WORKFLOWS}/{workflow_id}", json={})
        await move(http, workflow_id, "start")
        dropped = await move(http, workflow_id, "drop")
    assert illegal.status_code == unknown.status_code == missing.status_code == 400
    assert "finish" in illegal.json()["message"]
    assert "created" in illegal.json()["message"]
    assert "explode" in unknown.json()["message"]
    assert missing.json() == {"error": "status_event is missing"}
    assert dropped.json()["workflow"]["status"] == "failed"


@pytest.mark.parametrize(
    ("end", "status"), [("finish", 400), ("stop", 200), ("drop", 200)], ids=str
)
async def test_i7_09_what_ended_may_be_tried_again_unless_it_is_done(
    stand: InstanceStand, end: str, status: int
) -> None:
    async with stand.client() as http:
        workflow_id = (await created(http))["id"]
        await move(http, workflow_id, "start")
        assert (await move(http, workflow_id, end)).status_code == 200
        reply = await move(http, workflow_id, "retry")
    assert reply.status_code == status
    assert status == 400 or reply.json()["workflow"]["status"] == "running"


@pytest.mark.parametrize(
    ("granted", "before", "told"),
    [
        ([99], [], "99"),
        ([1], [2], "2 is not present"),
        ([1, 2], [99], "99"),
    ],
)
async def test_i7_10_privileges_are_checked(
    stand: InstanceStand, granted: list[int], before: list[int], told: str
) -> None:
    body = {"agent_privileges": granted, "pre_approved_agent_privileges": before}
    async with stand.client() as http:
        assert (await created(http))["agent_privileges"] == [1, 2, 3, 4, 5, 6]
        assert (await created(http, agent_privileges=["1", 2]))["agent_privileges"] == [1, 2]
        reply = await http.post(WORKFLOWS, json=body)
    assert reply.status_code == 400
    assert reply.json()["message"].startswith("400 Bad request - ")
    assert told in reply.json()["message"]


async def test_parameters_may_stand_in_the_query_or_in_a_form(stand: InstanceStand) -> None:
    async with stand.client() as http:
        query = await http.post(f"{WORKFLOWS}?goal=one&agent_privileges[]=1&unknown=2")
        form = await http.post(
            f"{WORKFLOWS}?workflow_definition=chat",
            data={"image": "a/b", "agent_privileges[]": ["2", "1"], "issue_id": ""},
        )
        both = await http.post(
            f"{WORKFLOWS}?image=query&workflow_definition=chat", json={"image": "body"}
        )
        plain = await http.post(
            WORKFLOWS, content=b'{"image": "x"}', headers={"content-type": "text/plain"}
        )
    assert query.json()["agent_privileges"] == [1]
    assert (form.status_code, form.json()) == (400, {"error": "issue_id is invalid"})
    assert (both.json()["image"], both.json()["workflow_definition"]) == ("body", "chat")
    assert plain.json()["image"] == "x"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"[1]", "400 Bad request - The body is not a JSON object."),
        (b"{", "400 Bad request - The body is not a JSON object."),
        (b'{"goal": "\xff"}', "400 Bad request - The body is not a JSON object."),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "400 Bad request - The body is not a"),
    ],
    ids=["array", "cut off", "letters", "depth"],
)
async def test_a_body_that_is_no_object(stand: InstanceStand, raw: bytes, told: str) -> None:
    json_type = {"content-type": "application/json"}
    async with stand.client() as http:
        for query in ("", "?goal=x"):
            reply = await http.post(f"{WORKFLOWS}{query}", content=raw, headers=json_type)
            assert reply.status_code == 400
            assert reply.json()["message"].startswith(told)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"goal": "g" * 16_385}, "goal does not have a valid value"),
        ({"goal": 5}, "goal is invalid"),
        ({"environment": "moon"}, "environment does not have a valid value"),
        ({"workflow_definition": "d" * 256}, "workflow_definition does not have a valid value"),
        ({"image": "i" * 2_049}, "image does not have a valid value"),
        ({"agent_privileges": "1"}, "agent_privileges is invalid"),
        ({"source": "elsewhere"}, "source does not have a valid value"),
        ({"additional_context": [{"Content": "x"}]}, "additional_context[0].Category is missing"),
        ({"issue_id": 0}, "issue_id does not have a valid value"),
    ],
)
async def test_parameters_are_checked(
    stand: InstanceStand, body: dict[str, object], told: str
) -> None:
    async with stand.client() as http:
        reply = await http.post(WORKFLOWS, json=body)
    assert (reply.status_code, reply.json()) == (400, {"error": told})


@pytest.mark.parametrize(
    "body",
    [
        {"issue_id": 1},
        {"issue_id": 1, "merge_request_id": 2, "project_id": "acme/app"},
        {"image": "a\0b"},
        {"goal": "a\0b"},
    ],
    ids=["nowhere", "both", "nul in image", "nul in goal"],
)
async def test_what_makes_no_sense_is_refused(
    stand: InstanceStand, body: dict[str, object]
) -> None:
    async with stand.client() as http:
        assert (await http.post(WORKFLOWS, json=body)).status_code == 400


async def test_everything_that_was_asked_for_is_kept(stand: InstanceStand) -> None:
    namespace = await stand.stores.places.namespace("acme")
    await stand.flag("incremental_checkpoints", namespaces=frozenset({namespace.id}))
    async with stand.client() as http, stand.client(relayed=True) as relay:
        body = await created(
            http,
            namespace_id="acme",
            workflow_definition="d" * 255,
            agent_privileges=[1, 2, 2],
            pre_approved_agent_privileges=[2],
            allow_agent_to_request_user=False,
            environment="ide",
            image="registry/image",
            ai_catalog_item_version_id=5,
        )
        again = await relay.get(f"{WORKFLOWS}/{body['id']}")
        head = await relay.head(f"{WORKFLOWS}/{body['id']}")
    assert again.json() == body
    assert head.status_code == 200
    assert head.headers["x-gitlab-enabled-feature-flags"]
    assert body["namespace_id"] == namespace.id
    assert body["title"] == "d" * 40
    assert body["agent_privileges"] == [1, 2]
    assert body["pre_approved_agent_privileges_names"] == ["read_only_gitlab"]
    assert body["allow_agent_to_request_user"] is False
    assert (body["environment"], body["image"]) == ("ide", "registry/image")
    assert body["ai_catalog_item_version_id"] == 5
    assert body["incremental_checkpoints_enabled"] is True


@pytest.mark.parametrize("where", ["project_id", "namespace_id"])
async def test_places_that_others_own_are_not_there(stand: InstanceStand, where: str) -> None:
    path = {"project_id": "acme/app", "namespace_id": "acme"}[where]
    async with stand.client(stand.bob) as bob:
        reply = await bob.post(WORKFLOWS, json={where: path})
    assert reply.status_code == 404
    assert reply.json()["message"] in {"404 Project Not Found", "404 Namespace Not Found"}


async def test_sessions_hand_work_on_with_the_default_privileges_alone(
    stand: InstanceStand,
) -> None:
    url = f"{ROOT}/agent_workflows"
    async with stand.client() as http:
        assert (await http.post(url, json={})).status_code == 404
        await stand.flag("agentic_foundational_flow_tool", default=True)
        reply = await http.post(url, json={"agent_privileges": [7]})
    assert reply.status_code == 201
    assert reply.json()["agent_privileges"] == [1, 2, 3, 4, 5, 6]


async def test_flags_are_told_as_they_are_now(stand: InstanceStand) -> None:
    name = "x-gitlab-enabled-feature-flags"
    async with stand.client() as http:
        before = (await http.post(WORKFLOWS, json={})).headers[name].split(",")
        await stand.flag("dap_web_search", users=frozenset({stand.alice.user.id}))
        after = (await http.post(WORKFLOWS, json={})).headers[name].split(",")
    assert set(after) - set(before) == {"dap_web_search"}
    assert "duo_workflow_provider_stickiness" not in after
