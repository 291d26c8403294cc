"""GraphQL over HTTP, on the real stores: what clients and the platform send, word for word."""

import json
import subprocess
import sys
import zlib
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from isthmus.core.accounts import TokenKind
from isthmus.core.errors import Unavailable
from isthmus.core.events import Crashed
from isthmus.core.records import NewRecord
from isthmus.core.workflow import Workflow
from isthmus.edge.graphql import engine
from isthmus.instance.metadata import Wanted
from isthmus.instance.workflows import Order
from tests.support.instance_stand import URL, InstanceStand
from tests.support.sink import MemorySink

assert engine  # it is imported here, before a loop runs
WIRE = Path(__file__).resolve().parents[2] / "wire" / "graphql"
WIRES = {path.stem: path.read_text(encoding="utf-8") for path in WIRE.glob("*.graphql")}
PATH = "/api/graphql"
LOG: list[dict[str, Any]] = [
    {"message_type": "user", "content": "mend it", "message_id": "user-1"},
    {"message_type": "tool", "content": "Read", "tool_info": {"name": "read_file", "args": {}}},
]
STATE: dict[str, Any] = {
    "id": "1f0-b",
    "channel_values": {"status": "Execution", "ui_chat_log": LOG},
}
CALL = json.dumps({"program": "git", "args": "log --oneline main"})


def gid(workflow: Workflow) -> str:
    return f"gid://gitlab/Ai::DuoWorkflows::Workflow/{workflow.workflow_id}"


async def begun(stand: InstanceStand, namespace: int | None = None) -> Workflow:
    """A workflow of Alice's, in `acme/app` if not in this namespace."""
    project = "acme/app" if namespace is None else None
    order = Order("mend it", "chat", project, namespace)
    return await stand.instance.workflows.create(stand.alice.member, order)


async def stored(stand: InstanceStand, workflow: Workflow) -> None:
    """Two checkpoints, the latest with `STATE`."""
    states: list[dict[str, Any]] = [{}, STATE]
    for thread_ts, parent, state in zip(("1f0-a", "1f0-b"), (None, "1f0-a"), states, strict=True):
        checkpoint = json.dumps(state).encode()
        new = NewRecord(workflow.workflow_id, thread_ts, parent, "", 0, b'{"step":1}', checkpoint)
        await stand.instance.checkpoints.append(stand.alice.member, new)


async def posted(http: httpx.AsyncClient, name: str, **variables: object) -> Any:
    """The reply's JSON."""
    reply = await http.post(PATH, json={"query": WIRES[name], "variables": variables})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    return reply.json()


async def told(http: httpx.AsyncClient, name: str, **variables: object) -> Any:
    """The data of a reply without errors."""
    body = await posted(http, name, **variables)
    assert "errors" not in body, body
    return body["data"]


async def test_i7_05_either_header_lets_a_token_in(stand: InstanceStand) -> None:
    async with stand.client() as http:
        del http.headers["authorization"]
        body = {"query": WIRES["user"]}
        for headers in ({"private-token": stand.alice.token}, stand.alice.bearer):
            reply = await http.post(PATH, json=body, headers=headers)
            assert reply.json()["data"]["currentUser"]["username"] == "alice"
        for headers in ({}, {"private-token": "glpat-unknown"}, {"authorization": "Bearer x"}):
            reply = await http.post(PATH, json=body, headers=headers)
            assert (reply.status_code, reply.json()) == (401, {"message": "401 Unauthorized"})


async def test_i7_52_the_platforms_query_is_answered(stand: InstanceStand) -> None:
    workflow = await begun(stand)
    await stored(stand, workflow)
    flow = await stand.token(stand.alice, TokenKind.FLOW, "ai_workflows")
    async with stand.client(relayed=True) as http:
        http.headers.update(flow)
        data = await told(http, "workflow_19_3", workflowId=gid(workflow))
        (node,) = data["duoWorkflowWorkflows"]["nodes"]
        assert node["project"]["webUrl"] == f"{URL}/acme/app"
        assert node["namespace"] is None
        checkpoint = node["latestCheckpoint"]
        assert (checkpoint["threadTs"], checkpoint["parentTs"]) == ("1f0-b", "1f0-a")
        assert json.loads(checkpoint["metadata"]) == {"step": 1}
        assert json.loads(zlib.decompress(b64decode(checkpoint["compressedCheckpoint"]))) == STATE
        unknown = "gid://gitlab/Ai::DuoWorkflows::Workflow/4711"
        data = await told(http, "workflow_19_3", workflowId=unknown)
        assert data == {"duoWorkflowWorkflows": {"nodes": []}}


@pytest.mark.parametrize("version", ["18_2", "18_3", "18_8", "19_0", "19_2", "19_3"])
async def test_every_version_of_the_platforms_query_is_answered(
    stand: InstanceStand, version: str
) -> None:
    workflow = await begun(stand, stand.alice.user.namespace_id)
    await stored(stand, workflow)
    async with stand.client(relayed=True) as http:
        data = await told(http, f"workflow_{version}", workflowId=gid(workflow))
    (node,) = data["duoWorkflowWorkflows"]["nodes"]
    assert (node["statusName"], node["project"]) == ("created", None)
    if version != "18_2":
        assert node["namespace"]["webUrl"] == f"{URL}/alice"
    if "firstCheckpoint" in node:
        assert json.loads(node["firstCheckpoint"]["checkpoint"]) == {}


async def test_i7_53_models_are_found_by_project_or_by_namespace(stand: InstanceStand) -> None:
    project = (await stand.instance.places.project(stand.alice.member, "acme/app")).id
    group = (await stand.instance.places.namespace(stand.alice.member, "acme")).id
    by_project, by_group = f"gid://gitlab/Project/{project}", f"gid://gitlab/Group/{group}"
    async with stand.client() as http:
        answers = [
            await told(http, "models_6_15", rootNamespaceId=by_group),
            await told(http, "models_6_18", rootNamespaceId=by_group),
            await told(http, "models_6_18", projectId=by_project),
            await told(http, "models_cli", projectId=by_project, namespaceId=by_group),
            await told(http, "models_plugin", rootNamespaceId=by_group),
        ]
        found = [answer["aiChatAvailableModels"] for answer in answers]
        default = found[0]["defaultModel"]
        assert default["name"]
        assert default["ref"] in {each["ref"] for each in found[0]["selectableModels"]}
        assert found[0]["pinnedModel"] is None
        assert [each["defaultModel"]["ref"] for each in found] == [default["ref"]] * 5
        assert answers[0]["metadata"] == {
            "version": stand.instance.settings.version,
            "featureFlags": [{"name": "ai_user_model_switching", "enabled": True}],
        }
    async with stand.client(stand.bob) as http:
        for variables in ({"rootNamespaceId": by_group}, {"projectId": by_project}, {}):
            body = await posted(http, "models_6_18", **variables)
            assert body["data"]["aiChatAvailableModels"] is None
            assert len(body["errors"]) == 1


async def test_i7_54_an_approved_call_is_run_without_asking(stand: InstanceStand) -> None:
    workflow = await begun(stand)
    one, tool = gid(workflow), "run_command"

    async def approved(http: httpx.AsyncClient, call: str, tool: str = tool) -> bool:
        asked = {"workflowId": one, "toolName": tool, "toolCallArgs": call}
        short = await told(http, "tool_call_approved", **asked)
        return short["duoWorkflowWorkflows"]["nodes"][0]["toolCallApproved"]

    async with stand.client() as http, stand.client(relayed=True) as session:
        assert not await approved(session, CALL)
        given = {"workflowId": one, "toolName": tool, "toolCallArgs": CALL}
        done = await told(http, "approve_call", input=given | {"approvalSource": "USER_EXPLICIT"})
        assert done["updateDuoWorkflowToolCallApprovals"]["errors"] == []
        assert await approved(session, CALL)
        assert await approved(session, '{"args":"log --oneline main","program":"git"}')
        assert not await approved(session, CALL, "run_git_command")
        assert not await approved(session, '{"program":"git","args":"log"}')

        given = {"workflowId": one, "toolName": tool, "pattern": "git diff *"}
        done = await told(http, "approve_call", input=given)
        changed = done["updateDuoWorkflowToolCallApprovals"]["workflow"]
        assert changed["toolCallApprovals"][tool]["patterns"] == ["git diff *"]
        assert await approved(session, '{"program":"git","args":"diff main"}')
        assert not await approved(session, '{"program":"git","args":"diff main; rm -rf x"}')
        assert not await approved(session, '{"program":"git","args":"diff --output=x"}')
        match = await told(
            http,
            "tool_call_match",
            workflowId=one,
            toolName=tool,
            toolCallArgs='{"program":"git","args":"diff main"}',
        )
        assert match["duoWorkflowWorkflows"]["nodes"][0]["toolCallApprovalMatch"] == {
            "matched": True,
            "matchType": "PATTERN",
            "matchedPattern": "git diff *",
        }
        for wrong in (
            {},
            {"pattern": "*"},
            {"pattern": "ls;"},
            {"toolCallArgs": CALL, "pattern": "ls"},
        ):
            given = {"workflowId": one, "toolName": tool} | wrong
            payload = (await told(http, "approve_call", input=given))[
                "updateDuoWorkflowToolCallApprovals"
            ]
            assert payload["workflow"] is None
            assert len(payload["errors"]) == 1


async def test_i7_62_what_models_are_offered_is_what_a_session_takes(stand: InstanceStand) -> None:
    place = await stand.instance.places.place(stand.alice.member, "acme/app")
    group = f"gid://gitlab/Group/{place.namespace.id}"
    async with stand.client() as http:
        offered = await told(http, "models_plugin", rootNamespaceId=group)
    refs = [each["ref"] for each in offered["aiChatAvailableModels"]["selectableModels"]]

    async def resolved(selected: str) -> str:
        return await stand.instance.metadata.resolved(
            stand.alice.member, place, Wanted(selected=selected)
        )

    default = await resolved("")
    assert await resolved("duo-chat-sonnet-4-5") == default
    chosen = [await resolved(ref) for ref in refs]
    assert any(text != default and ref in text for ref, text in zip(refs, chosen, strict=True))


async def test_an_owner_creates_changes_lists_and_deletes(stand: InstanceStand) -> None:
    project = (await stand.instance.places.project(stand.alice.member, "acme/app")).id
    async with stand.client() as http:
        made = await told(
            http,
            "create_workflow",
            projectId=f"gid://gitlab/Project/{project}",
            goal="mend it",
            workflowDefinition="chat",
            environment="WEB",
            agentPrivileges=[1, 2],
            webSearchEnabled=True,
        )
        one = made["aiDuoWorkflowCreate"]["workflow"]["id"]
        changed = await told(http, "set_privileges", workflowId=one, agentPrivileges=[2, 3])
        assert changed["updateDuoWorkflowAgentPrivileges"]["workflow"] == {
            "id": one,
            "agentPrivilegesNames": ["read_only_gitlab", "read_write_gitlab"],
            "preApprovedAgentPrivilegesNames": [],
        }
        refused = await told(http, "set_privileges", workflowId=one, agentPrivileges=[99])
        assert "99" in refused["updateDuoWorkflowAgentPrivileges"]["errors"][0]
        changed = await told(http, "set_web_search", workflowId=one, webSearchEnabled=False)
        assert changed["updateDuoWorkflowWebSearch"]["workflow"]["webSearchEnabled"] is False
        listed = await told(http, "user_workflows", type="chat", search="mend", first=5)
        (edge,) = listed["duoWorkflowWorkflows"]["edges"]
        assert (edge["node"]["id"], edge["node"]["project"]) == (one, {"fullPath": "acme/app"})
        assert (await told(http, "delete_workflow", workflowId=one))[
            "deleteDuoWorkflowsWorkflow"
        ] == {"success": True, "errors": []}
        gone = await posted(http, "delete_workflow", workflowId=one)
        assert gone["errors"][0]["extensions"] == {"code": "WORKFLOW_NOT_FOUND"}


async def test_a_workflow_needs_a_place_that_its_owner_may_use(stand: InstanceStand) -> None:
    group = (await stand.instance.places.namespace(stand.alice.member, "acme")).id
    async with stand.client(stand.bob) as http:
        body = await posted(http, "create_workflow", namespaceId=f"gid://gitlab/Group/{group}")
        assert body["errors"][0]["extensions"] == {"code": "INSUFFICIENT_NAMESPACE_PERMISSIONS"}


async def test_a_workflow_may_be_asked_for_without_any_word(stand: InstanceStand) -> None:
    async with stand.client() as http:
        made = await told(http, "create_workflow")
        one = made["aiDuoWorkflowCreate"]["workflow"]["id"].rpartition("/")[2]
        refused = await told(http, "create_workflow", workflowDefinition="x" * 256)
        assert refused["aiDuoWorkflowCreate"]["workflow"] is None
        assert "255" in refused["aiDuoWorkflowCreate"]["errors"][0]
    record = await stand.instance.workflows.own(stand.alice.member, one)
    assert (record.definition, record.goal) == ("software_development", "")
    assert record.namespace_id == stand.alice.user.namespace_id


async def test_events_hold_the_messages(stand: InstanceStand) -> None:
    workflow = await begun(stand)
    await stored(stand, workflow)
    async with stand.client() as http:
        data = await told(http, "workflow_events", workflowId=gid(workflow))
    (event,) = data["duoWorkflowEvents"]["nodes"]
    assert json.loads(event["checkpoint"]) == STATE
    assert (event["workflowStatus"], event["workflowGoal"]) == ("CREATED", "mend it")
    assert [message["content"] for message in event["duoMessages"]] == ["mend it", "Read"]


async def test_subscriptions_are_refused_with_the_way_to_go(stand: InstanceStand) -> None:
    async with stand.client() as http:
        body = await posted(http, "events_updated", workflowId=gid(await begun(stand)))
    assert body["data"] is None
    assert "WebSocket" in body["errors"][0]["message"]


FOREIGN: dict[str, dict[str, object]] = {
    "workflow_18_2": {},
    "workflow_18_8": {},
    "workflow_19_3": {},
    "tool_call_approved": {"toolName": "run_command", "toolCallArgs": CALL},
    "tool_call_match": {"toolName": "run_command", "toolCallArgs": CALL},
    "workflow_events": {},
    "set_privileges": {"agentPrivileges": [1]},
    "set_web_search": {"webSearchEnabled": True},
    "delete_workflow": {},
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_i7_06_nobody_reaches_anothers_workflow(stand: InstanceStand, name: str) -> None:
    theirs = await begun(stand)
    async with stand.client(stand.bob) as http:
        body = await posted(http, name, workflowId=gid(theirs), **FOREIGN[name])
        nobodys = theirs.workflow_id + "000"
        same = gid(replace(theirs, workflow_id=nobodys))
        assert body == await posted(http, name, workflowId=same, **FOREIGN[name])
    assert "mend it" not in json.dumps(body)
    if "errors" in body:
        assert body["errors"][0]["extensions"] == {"code": "WORKFLOW_NOT_FOUND"}
        assert list(body["data"].values()) == [None]
    else:
        assert body["data"] == {"duoWorkflowWorkflows": {"nodes": []}}
    assert (await stand.instance.workflows.own(stand.alice.member, theirs.workflow_id)) == (
        await stand.stores.workflows.get(theirs.workflow_id)
    )


async def test_i7_06_nobody_approves_calls_or_lists_for_another(stand: InstanceStand) -> None:
    theirs = await begun(stand)
    async with stand.client(stand.bob) as http:
        given = {"workflowId": gid(theirs), "toolName": "run_command", "toolCallArgs": CALL}
        body = await posted(http, "approve_call", input=given)
        assert body["errors"][0]["extensions"] == {"code": "WORKFLOW_NOT_FOUND"}
        listed = await told(http, "user_workflows", search="mend")
        assert listed["duoWorkflowWorkflows"]["edges"] == []
        query = "query($ids:[Id!]){duoWorkflowWorkflows(ids:$ids){nodes{goal}}}"
        body = {"query": query, "variables": {"ids": [gid(theirs)]}}
        reply = (await http.post(PATH, json=body)).json()
        assert reply["data"] == {"duoWorkflowWorkflows": {"nodes": []}}
        for query in (
            '{project(fullPath:"acme/app"){id}}',
            '{namespace(fullPath:"acme"){id}}',
            '{duoWorkflowWorkflows(projectPath:"acme/app"){nodes{id}}}',
        ):
            reply = (await http.post(PATH, json={"query": query})).json()
            assert list(reply["data"].values()) == [None]
            assert "acme" not in json.dumps(reply)
    assert (await stand.stores.workflows.get(theirs.workflow_id)).approvals == {}


async def test_a_session_cannot_approve_its_own_calls(stand: InstanceStand) -> None:
    workflow = await begun(stand)
    given = {"workflowId": gid(workflow), "toolName": "run_command", "toolCallArgs": CALL}
    flow = await stand.token(stand.alice, TokenKind.FLOW, "ai_workflows", "mcp")
    async with stand.client(relayed=True) as through, stand.client() as direct:
        direct.headers.update(flow)
        for http in (through, direct):
            body = await posted(http, "approve_call", input=given)
            assert body["data"] == {"updateDuoWorkflowToolCallApprovals": None}
    assert (await stand.stores.workflows.get(workflow.workflow_id)).approvals == {}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'[{"query":"{currentUser{id}}"}]', b"{}", b'{"query":5}', b"\xff",
     b'{"query":"{currentUser{id}}","variables":[1]}', b"[" * 100_000],
)  # fmt: skip
async def test_a_body_that_is_no_operation_is_refused(stand: InstanceStand, body: bytes) -> None:
    async with stand.client() as http:
        reply = await http.post(PATH, content=body)
    assert reply.status_code == 400
    assert [*reply.json()] == ["errors"]


async def test_large_queries_are_refused_before_they_run(stand: InstanceStand) -> None:
    deep = "{currentUser" + "{userPreferences{duoDefaultNamespace" * 12 + "{id}" + "}}" * 12 + "}"
    fields = "latestCheckpoint{duoMessages{" + "content " * 60 + "}}"
    wide = "{duoWorkflowWorkflows(first:100){nodes{" + fields + "}}}"
    aliased = "{" + "".join(f"a{n}:currentUser{{id}} " for n in range(31)) + "}"
    many = "{" + "currentUser{id}" * 400 + "}"
    async with stand.client() as http:
        for text, why in (
            (deep, "deeper"),
            (wide, "more than 5000 fields"),
            (aliased, "aliases"),
            (many, "tokens"),
            ("#" * 20_000, "longer"),
            ("{__schema{types{name}}}", "introspection"),
        ):
            body = (await http.post(PATH, json={"query": text})).json()
            assert body["data"] is None
            assert why in body["errors"][0]["message"], body


async def test_bugs_are_told_to_us_alone(stand: InstanceStand) -> None:
    class Broken:
        failure: Exception = ZeroDivisionError("a secret")

        async def own(self, *_: object) -> Workflow:
            raise self.failure

    broken = Broken()
    stand.serve(replace(stand.instance, workflows=cast("Any", broken)))
    one = "gid://gitlab/Ai::DuoWorkflows::Workflow/1"
    async with stand.client() as http:
        body = await posted(
            http, "tool_call_approved", **FOREIGN["tool_call_approved"], workflowId=one
        )
        assert [each["message"] for each in body["errors"]] == ["Internal server error"]
        sink = cast("MemorySink", stand.instance.telemetry)
        (crash,) = sink.of(Crashed)
        assert (crash.where, crash.error) == ("POST /api/graphql", "ZeroDivisionError")
        assert "secret" not in crash.trace + json.dumps(body)
        broken.failure = Unavailable("The database is down.")
        variables = FOREIGN["tool_call_approved"] | {"workflowId": one}
        query = WIRES["tool_call_approved"]
        reply = await http.post(PATH, json={"query": query, "variables": variables})
        assert reply.status_code == 503


def test_a_server_starts_without_what_runs_queries() -> None:
    script = (
        "import sys, isthmus.edge.http.app, isthmus.edge.http.instance.graphql\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] == 'graphql'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_what_is_not_installed_is_named_by_its_extra() -> None:
    script = (
        "import sys\n"
        "sys.modules['graphql'] = None\n"
        "from isthmus.core.errors import Unavailable\n"
        "from isthmus.edge.http.instance import graphql\n"
        "from isthmus.settings import InstanceSettings\n"
        "try:\n"
        "    graphql._load(InstanceSettings())\n"
        "except Unavailable as error:\n"
        "    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"GraphQL needs the extra isthmus[instance]."
