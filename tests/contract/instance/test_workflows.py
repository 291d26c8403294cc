"""Workflow records over HTTP, on the real stores."""

from collections.abc import Mapping
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


async def test_i7_04_unknown_keys_are_ignored(stand: InstanceStand) -> None:
    extra = {"feature_flags": {"a": 1}, "requires_duo_cli_enabled": True, "goal": "x"}
    async with stand.client() as http, stand.client(relayed=True) as relay:
        one = f"{WORKFLOWS}/{(await created(http, **extra))['id']}"
        posts: dict[str, tuple[Mapping[str, object], int]] = {
            "resume": ({"human_approval": True}, 404),
        }
        for path, (body, status) in posts.items():
            reply = await relay.post(f"{one}/{path}", json={**extra, **body})
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
