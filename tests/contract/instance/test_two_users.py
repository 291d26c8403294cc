"""What is one user's is nobody else's: every way to it that we know is refused, none with 500.

Each way is tried by its owner first, who gets through: a way that leads nowhere proves nothing.
The ways over WebSocket and through a session's HTTP actions are in `contract/relay`.
"""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from isthmus.core.accounts import TokenKind
from isthmus.core.workflow import NewWorkflow
from tests.support.instance_stand import InstanceStand, Person

FLOWS = "/api/v4/ai/duo_workflows"
ONE = FLOWS + "/workflows/{workflow}"
CHECKPOINT = {
    "thread_ts": "1f0b0000-0000-6000-8000-000000000001",
    "parent_ts": None,
    "metadata": {},
    "checkpoint": {"channel_values": {"status": "secret words"}},
}
SECRET = "secret words"


@dataclass(frozen=True)
class Way:
    """A request. `relayed`: as the relay makes it for its user. `owner`: what Alice gets."""

    method: str
    path: str
    body: Any = None
    relayed: bool = False
    owner: frozenset[int] = field(default=frozenset({200, 201, 202}))


RESUMED = frozenset({201, 400, 404, 422})
"""There is nothing to run again: what counts is that Bob is not told even that."""

REST = {
    "read": Way("GET", ONE, relayed=True),
    "read by an id with zeros before": Way(
        "GET", FLOWS + "/workflows/000{workflow}", relayed=True, owner=frozenset({404})
    ),
    "head": Way("HEAD", ONE, relayed=True),
    "start": Way("PATCH", ONE, {"status_event": "start"}),
    "stop": Way("PATCH", ONE, {"status_event": "stop"}),
    "stop through the relay": Way("PATCH", ONE, {"status_event": "stop"}, relayed=True),
    "resume": Way("POST", ONE + "/resume", {"human_approval": True}, owner=RESUMED),
    "trace": Way("GET", ONE + "/trace.jsonl"),
    "whole trace": Way("GET", ONE + "/trace.jsonl?full=true"),
    "write a checkpoint": Way("POST", ONE + "/checkpoints", CHECKPOINT, relayed=True),
    "list checkpoints": Way("GET", ONE + "/checkpoints", relayed=True),
    "read a checkpoint": Way("GET", ONE + "/checkpoints/{checkpoint}", relayed=True),
    "write pending writes": Way(
        "POST",
        ONE + "/checkpoint_writes_batch",
        {"thread_ts": CHECKPOINT["thread_ts"], "checkpoint_writes": []},
        relayed=True,
    ),
    "send an event": Way("POST", ONE + "/events", {"event_type": "message", "message": "hi"}),
    "read events": Way("GET", ONE + "/events"),
    "settle an event": Way("PUT", ONE + "/events/{event}", {"event_status": "delivered"}),
    "audit": Way(
        "POST",
        ONE + "/audit_events",
        {
            "events": [
                {
                    "id": "00000000-0000-4000-8000-000000000001",
                    "type": "t",
                    "source": "s",
                    "time": "2026-01-01T00:00:00Z",
                }
            ]
        },
    ),
    "create in the project, by id": Way(
        "POST", FLOWS + "/workflows", {"goal": "g", "project_id": "{project}"}
    ),
    "create in the project, by path": Way(
        "POST", FLOWS + "/workflows", {"goal": "g", "project_id": "acme/app"}
    ),
    "create in the project, by a path in capitals": Way(
        "POST", FLOWS + "/workflows", {"goal": "g", "project_id": "ACME%2FApp"}
    ),
    "create in the group": Way("POST", FLOWS + "/workflows", {"goal": "g", "namespace_id": "acme"}),
    "create in her own namespace": Way(
        "POST", FLOWS + "/workflows", {"goal": "g", "namespace_id": "{namespace}"}
    ),
    "create below the group": Way(
        "POST", FLOWS + "/workflows", {"goal": "g", "project_id": "acme/other"}
    ),
    "create below a group of the group": Way(
        "POST", FLOWS + "/workflows", {"goal": "g", "project_id": "acme/team/other"}
    ),
    "see the project": Way("GET", "/api/v4/projects/{project}"),
    "see the project by path": Way("GET", "/api/v4/projects/acme%2Fapp"),
    "see the project by a path with a way back": Way(
        "GET", "/api/v4/projects/bob%2F..%2Facme%2Fapp", owner=frozenset({404})
    ),
    "see the group": Way("GET", "/api/v4/groups/acme"),
    "see the namespace": Way("GET", "/api/v4/namespaces/{namespace}"),
    "complete code for the project": Way(
        "POST", "/api/v4/code_suggestions/enabled", {"project_path": "acme/app"}
    ),
    "a session in the project": Way(
        "POST", FLOWS + "/direct_access", {"workflow_definition": "chat", "project_id": "acme/app"}
    ),
    "read by a path with a way back": Way(
        "GET", FLOWS + "/workflows/1/../{workflow}", relayed=True, owner=frozenset({200, 404})
    ),
    "read by an encoded way back": Way(
        "GET", FLOWS + "/workflows/1%2F..%2F{workflow}", relayed=True, owner=frozenset({404})
    ),
    "read with a null byte": Way(
        "GET", FLOWS + "/workflows/{workflow}%00", relayed=True, owner=frozenset({404})
    ),
}

GRAPHQL = {
    "ask for it": '{duoWorkflowWorkflows(workflowId: "%s"){nodes{id goal statusName}}}',
    "list by id": '{duoWorkflowWorkflows(ids: ["%s"]){nodes{id goal}}}',
    "its approvals": (
        '{duoWorkflowWorkflows(workflowId: "%s")'
        '{nodes{toolCallApproved(toolName: "run_command", toolCallArgs: "{}")}}}'
    ),
    "its events": '{duoWorkflowEvents(workflowId: "%s"){nodes{checkpoint workflowGoal}}}',
    "approve a call": (
        'mutation{updateDuoWorkflowToolCallApprovals(input:{workflowId:"%s",'
        'toolName:"run_command",toolCallArgs:"{}"}){workflow{id} errors}}'
    ),
    "widen its privileges": (
        'mutation{updateDuoWorkflowAgentPrivileges(input:{workflowId:"%s",'
        "agentPrivileges:[1],preApprovedAgentPrivileges:[1]}){workflow{id} errors}}"
    ),
    "let it search": (
        'mutation{updateDuoWorkflowWebSearch(input:{workflowId:"%s",webSearchEnabled:true})'
        "{workflow{id} errors}}"
    ),
    "delete it": 'mutation{deleteDuoWorkflowsWorkflow(input:{workflowId:"%s"}){success errors}}',
}


@dataclass(frozen=True)
class Hers:
    """What is Alice's."""

    workflow: str
    checkpoint: int
    event: int
    project: int
    namespace: int

    def fill(self, value: Any) -> Any:
        """The same with her ids in place of their names."""
        text = value if isinstance(value, str) else json.dumps(value)
        for name in ("workflow", "checkpoint", "event", "project", "namespace"):
            text = text.replace("{" + name + "}", str(getattr(self, name)))
        return text


@pytest.fixture(name="hers")
async def _hers(stand: InstanceStand) -> Hers:
    project = await stand.stores.places.project("acme/app")
    new = NewWorkflow(
        "chat", SECRET, stand.alice.user.global_id, project_id=project.id, title="chat"
    )
    record = await stand.stores.workflows.create(new)
    async with stand.client(relayed=True) as relay:
        posted = await relay.post(
            f"{FLOWS}/workflows/{record.workflow_id}/checkpoints", json=CHECKPOINT
        )
        assert posted.status_code == 201
        sent = await relay.post(
            f"{FLOWS}/workflows/{record.workflow_id}/events",
            json={"event_type": "message", "message": SECRET},
        )
    return Hers(
        record.workflow_id,
        posted.json()["id"],
        sent.json()["id"],
        project.id,
        stand.alice.user.namespace_id,
    )


async def _try(stand: InstanceStand, who: Person, way: Way, hers: Hers) -> httpx.Response:
    async with stand.client(who, relayed=way.relayed) as client:
        content = None if way.body is None else hers.fill(way.body)
        return await client.request(
            way.method,
            hers.fill(way.path),
            content=content,
            headers={"content-type": "application/json"},
        )


@pytest.mark.parametrize("name", REST)
async def test_rest_refuses_another_user(stand: InstanceStand, hers: Hers, name: str) -> None:
    bobs = await _try(stand, stand.bob, REST[name], hers)
    assert bobs.status_code in {403, 404}, bobs.text
    assert SECRET not in bobs.text
    alices = await _try(stand, stand.alice, REST[name], hers)
    assert alices.status_code in REST[name].owner, alices.text


@pytest.mark.parametrize("name", GRAPHQL)
async def test_graphql_refuses_another_user(stand: InstanceStand, hers: Hers, name: str) -> None:
    gid = f"gid://gitlab/Ai::DuoWorkflows::Workflow/{hers.workflow}"
    asked = {"query": GRAPHQL[name] % gid}
    before = await stand.stores.workflows.get(hers.workflow)
    async with stand.client(stand.bob) as client:
        bobs = await client.post("/api/graphql", json=asked)
    assert bobs.status_code == 200
    assert SECRET not in bobs.text
    assert '"id"' not in bobs.text
    assert "true" not in bobs.text
    assert await stand.stores.workflows.get(hers.workflow) == before
    async with stand.client() as client:
        alices = await client.post("/api/graphql", json=asked)
    assert "errors" not in alices.json() or alices.json()["errors"] == []
    assert alices.text != bobs.text


@pytest.mark.parametrize(
    "asked",
    [
        'query{aiChatAvailableModels(projectId:"gid://gitlab/Project/{project}")'
        "{defaultModel{ref}}}",
        'mutation{aiDuoWorkflowCreate(input:{projectId:"gid://gitlab/Project/{project}",'
        'goal:"g",workflowDefinition:"chat"}){workflow{id} errors}}',
        'query{project(fullPath:"acme/app"){id}}',
    ],
)
async def test_graphql_refuses_another_users_places(
    stand: InstanceStand, hers: Hers, asked: str
) -> None:
    query = {"query": hers.fill(asked)}
    async with stand.client(stand.bob) as client:
        bobs = await client.post("/api/graphql", json=query)
    assert bobs.status_code == 200
    assert '"id"' not in bobs.text
    assert '"ref"' not in bobs.text
    async with stand.client() as client:
        alices = await client.post("/api/graphql", json=query)
    assert "gid://" in alices.text or '"defaultModel"' in alices.text


async def test_a_project_filter_lists_nothing_of_others(stand: InstanceStand, hers: Hers) -> None:
    query = {"query": '{duoWorkflowWorkflows(projectPath:"acme/app"){nodes{id goal}}}'}
    async with stand.client(stand.bob) as client:
        bobs = await client.post("/api/graphql", json=query)
    assert bobs.status_code == 200
    assert hers.workflow not in bobs.text.replace("acme", "")
    async with stand.client() as client:
        assert SECRET in (await client.post("/api/graphql", json=query)).text


async def test_nobody_revokes_another_users_token(stand: InstanceStand) -> None:
    headers = await stand.token(stand.alice, TokenKind.FLOW, "ai_workflows")
    body = {"token": headers["authorization"].removeprefix("Bearer ")}
    async with stand.client(stand.bob) as client:
        assert (await client.post(f"{FLOWS}/revoke_token", json=body)).status_code == 403
    async with stand.client() as client:
        assert (await client.post(f"{FLOWS}/revoke_token", json=body)).status_code == 200


@pytest.mark.parametrize("kind", [TokenKind.REFRESH, TokenKind.CODE, TokenKind.DEVICE])
async def test_only_tokens_that_let_in_let_in(stand: InstanceStand, kind: TokenKind) -> None:
    headers = await stand.token(stand.alice, kind, "api")
    async with stand.client() as client:
        assert (await client.get("/api/v4/user", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    "marker",
    [
        "true",
        "..",
        f"{base64.urlsafe_b64encode(b'{}').decode()}.e30.",
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJnaXRsYWItd29ya2hvcnNlIn0.",
    ],
)
async def test_nobody_becomes_the_relay_by_a_header(
    stand: InstanceStand, hers: Hers, marker: str
) -> None:
    headers = {"gitlab-workhorse-api-request": marker, "isthmus.inward": "True"}
    async with stand.client() as client:
        reply = await client.get(f"{FLOWS}/workflows/{hers.workflow}", headers=headers)
    assert reply.status_code == 403
