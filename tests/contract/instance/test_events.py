"""Messages to running flows, audit events, privileges and paths that nobody serves."""

from dataclasses import replace
from uuid import uuid4

import pytest

from isthmus.core.accounts import TokenKind
from tests.support.instance_stand import InstanceStand

ROOT = "/api/v4/ai/duo_workflows"
AUDIT = {
    "id": str(uuid4()),
    "type": "tool.called",
    "source": "/session",
    "time": "2026-01-01T00:00:00Z",
    "data": {"any": 1},
}


async def workflow(stand: InstanceStand, **more: object) -> str:
    async with stand.client() as http:
        reply = await http.post(f"{ROOT}/workflows", json=more)
    return f"{ROOT}/workflows/{reply.json()['id']}"


async def test_messages_wait_until_they_are_delivered(stand: InstanceStand) -> None:
    one = await workflow(stand)
    told = {"event_type": "message", "message": "use tabs"}
    correlation = str(uuid4())
    async with stand.client() as http:
        first = await http.post(f"{one}/events", json={**told, "correlation_id": correlation})
        second = await http.post(f"{one}/events", json=told)
        assert first.status_code == second.status_code == 201
        assert first.json() == {
            "id": first.json()["id"],
            "correlation_id": correlation,
            "event_type": "message",
            "event_status": "queued",
            "message": "use tabs",
        }
        assert second.json()["correlation_id"] is None
        listed = await http.get(f"{one}/events?per_page=1")
        assert listed.json() == [first.json()]
        assert listed.headers["x-next-page"] == "2"
        url = f"{one}/events/{first.json()['id']}"
        marked = await http.put(url, json={"event_status": "delivered"})
        assert (marked.status_code, marked.json()["event_status"]) == (200, "delivered")
        assert (await http.get(f"{one}/events")).json() == [second.json()]
        for path in ("999", "x", "0"):
            missing = await http.put(f"{one}/events/{path}", json={"event_status": "queued"})
            assert missing.status_code == 404


async def test_a_correlation_id_counts_once_in_a_project(stand: InstanceStand) -> None:
    one, other = [await workflow(stand, project_id="acme/app") for _ in range(2)]
    event = {"event_type": "stop", "message": "enough", "correlation_id": str(uuid4())}
    async with stand.client() as http:
        assert (await http.post(f"{one}/events", json=event)).status_code == 201
        assert (await http.post(f"{other}/events", json=event)).status_code == 400


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"event_type": "explode", "message": "x"}, "event_type does not have a valid value"),
        ({"event_type": "stop"}, "message is missing"),
        ({"event_type": "stop", "message": "m" * 16_385}, "message does not have a valid value"),
        (
            {"event_type": "stop", "message": "x", "correlation_id": "no uuid"},
            "correlation_id does not have a valid value",
        ),
    ],
)
async def test_messages_are_checked(stand: InstanceStand, body: dict[str, str], told: str) -> None:
    one = await workflow(stand)
    async with stand.client() as http:
        reply = await http.post(f"{one}/events", json=body)
    assert (reply.status_code, reply.json()) == (400, {"error": told})


async def test_audit_events_are_taken_and_dropped(stand: InstanceStand) -> None:
    one = await workflow(stand)
    async with stand.client() as http:
        taken = await http.post(f"{one}/audit_events", json={"events": [AUDIT], "final": True})
        empty = await http.post(f"{one}/audit_events", json={"events": []})
        bad = await http.post(f"{one}/audit_events", json={"events": [{**AUDIT, "id": "x"}]})
    assert (taken.status_code, taken.json()) == (202, {})
    assert empty.status_code == bad.status_code == 400


async def test_the_privileges_are_told(stand: InstanceStand) -> None:
    async with stand.client() as http:
        reply = await http.get(f"{ROOT}/workflows/agent_privileges")
    listed = reply.json()["all_privileges"]
    assert [(one["id"], one["name"], one["default_enabled"]) for one in listed] == [
        (1, "read_write_files", True),
        (2, "read_only_gitlab", True),
        (3, "read_write_gitlab", True),
        (4, "run_commands", True),
        (5, "use_git", True),
        (6, "run_mcp_tools", True),
        (7, "start_flows", False),
        (8, "read_only_files", False),
    ]
    assert all(one["description"] for one in listed)


async def test_the_tools_of_sessions_are_listed(stand: InstanceStand) -> None:
    shown = {"type": "function", "function": {"name": "read_file"}}
    stand.serve(replace(stand.instance, tools=(shown,)))
    async with stand.client() as http:
        reply = await http.get(f"{ROOT}/list_tools?workflow_definition=chat")
    assert (reply.status_code, reply.json()) == (200, {"tools": [shown], "eval_dataset": []})


async def test_no_merge_request_is_kept_here(stand: InstanceStand) -> None:
    async with stand.client() as http:
        minded = await http.get(f"{ROOT}/code_review/custom_instructions?project_id=1")
        commented = await http.post(f"{ROOT}/code_review/add_comments", json={"project_id": 1})
    assert (minded.status_code, minded.json()) == (200, {"instructions": ""})
    assert commented.status_code == 404


async def test_what_is_not_served_is_refused_in_the_instances_words(stand: InstanceStand) -> None:
    async with stand.client() as http:
        listing = await http.get(f"{ROOT}/workflows")
        deleting = await http.delete(await workflow(stand))
        nothing = await http.get("/api/v4/nothing")
        gateway = await http.get("/v1/nothing", headers={"x-gitlab-authentication-type": "oidc"})
    for reply in (listing, deleting):
        assert (reply.status_code, reply.json()) == (405, {"error": "405 Not Allowed"})
    assert (nothing.status_code, nothing.json()) == (404, {"error": "404 Not Found"})
    assert "error" not in gateway.json() or gateway.status_code == 401


async def test_a_request_id_comes_back(stand: InstanceStand) -> None:
    async with stand.client() as http:
        reply = await http.post(f"{ROOT}/workflows", json={}, headers={"x-request-id": "request-7"})
    assert reply.headers["x-request-id"] == "request-7"


FLOW = ("ai_workflows",)
HUMAN = ("api",)
ROUTES = [
    ("POST", "", HUMAN, 201),
    ("GET", "/agent_privileges", HUMAN, 200),
    ("GET", "/{id}", HUMAN + FLOW, 200),
    ("PATCH", "/{id}", HUMAN + FLOW, 400),
    ("POST", "/{id}/resume", HUMAN, 400),
    ("GET", "/{id}/trace.jsonl", HUMAN + FLOW, 200),
    ("POST", "/{id}/checkpoints", FLOW, 400),
    ("GET", "/{id}/checkpoints", FLOW, 200),
    ("GET", "/{id}/checkpoints/1", FLOW, 404),
    ("GET", "/{id}/checkpoints/by_thread_ts?thread_ts=1", FLOW, 404),
    ("POST", "/{id}/checkpoint_writes_batch", FLOW, 400),
    ("POST", "/{id}/events", HUMAN + FLOW, 400),
    ("GET", "/{id}/events", HUMAN + FLOW, 200),
    ("PUT", "/{id}/events/1", FLOW, 400),
    ("POST", "/{id}/audit_events", FLOW, 400),
    ("POST", "/../agent_workflows", FLOW, 404),
    ("GET", "/../list_tools", HUMAN, 200),
    ("GET", "/../code_review/custom_instructions", FLOW, 200),
    ("POST", "/../code_review/add_comments", FLOW, 404),
]
RELAYED = {
    ("GET", "/{id}"),
    ("POST", "/{id}/checkpoints"),
    ("GET", "/{id}/checkpoints"),
    ("GET", "/{id}/checkpoints/1"),
    ("GET", "/{id}/checkpoints/by_thread_ts?thread_ts=1"),
    ("POST", "/{id}/checkpoint_writes_batch"),
}


@pytest.mark.parametrize(("method", "path", "scopes", "status"), ROUTES)
async def test_each_route_takes_the_scopes_of_its_row_and_no_others(
    stand: InstanceStand, method: str, path: str, scopes: tuple[str, ...], status: int
) -> None:
    one = await workflow(stand)
    url = f"{ROOT}/workflows{path}".replace("/workflows/..", "")
    url = url.replace(f"{ROOT}/workflows/{{id}}", one)
    async with stand.client() as direct, stand.client(relayed=True) as relay:
        for scope in ("api", "ai_workflows", "read_api", "mcp", "ai_features"):
            headers = await stand.token(stand.alice, TokenKind.OAUTH, scope)
            reply = await relay.request(method, url, headers=headers)
            if scope in scopes:
                assert reply.status_code == status, reply.text
                outside = await direct.request(method, url, headers=headers)
                relayed = (method, path) in RELAYED
                assert outside.status_code == (403 if relayed else status)
            else:
                assert reply.status_code == 403
                assert reply.json()["error"] == "insufficient_scope"
                assert reply.json()["scope"] == " ".join(scopes)
        assert (
            await direct.request(method, url, headers={"authorization": "Bearer no"})
        ).json() == {"message": "401 Unauthorized"}


BODIES: dict[str, object] = {
    "PATCH /{id}": {"status_event": "start"},
    "POST /{id}/resume": {"human_approval": True},
    "POST /{id}/checkpoints": {"thread_ts": "1", "metadata": {}, "checkpoint": {}},
    "POST /{id}/checkpoint_writes_batch": {"thread_ts": "1", "checkpoint_writes": []},
    "POST /{id}/events": {"event_type": "stop", "message": "x"},
    "PUT /{id}/events/1": {"event_status": "delivered"},
    "POST /{id}/audit_events": {"events": [AUDIT]},
}


@pytest.mark.parametrize(
    "route", [f"{method} {path}" for method, path, *_ in ROUTES if "{" in path]
)
async def test_i7_06_another_users_workflow_is_not_there(stand: InstanceStand, route: str) -> None:
    method, _, path = route.partition(" ")
    one = await workflow(stand)
    async with stand.client(stand.bob, relayed=True) as bob:
        for target in (one, f"{ROOT}/workflows/999999", f"{ROOT}/workflows/x"):
            url = path.replace("/{id}", target)
            reply = await bob.request(method, url, json=BODIES.get(route))
            assert reply.status_code == 404, reply.text
            missing = {"message": "404 Workflow Not Found"}
            assert reply.json() == missing or "Checkpoint" in reply.text
    record = await stand.stores.workflows.get(one.rpartition("/")[2])
    assert record.status == "created"
