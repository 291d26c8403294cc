"""What operations answer, and what they read for it."""

import asyncio
import json
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from isthmus.core import approval
from isthmus.core.accounts import Member
from isthmus.core.errors import Unavailable
from isthmus.core.workflow import Status, Terms, ToolApproval, Workflow
from isthmus.edge.graphql import inquiry
from isthmus.edge.graphql.engine import Engine
from isthmus.edge.graphql.inquiry import Operation
from isthmus.settings import InstanceSettings
from tests.unit.edge.graphql.stand import (
    Checkpoints,
    Stand,
    Workflows,
    member,
    record,
    workflow,
)

WIRE = Path(__file__).resolve().parents[3] / "wire" / "graphql"
WIRES = {path.stem: path.read_text(encoding="utf-8") for path in WIRE.glob("*.graphql")}
HASTY = Engine(InstanceSettings(), limit_s=0.0)
ID = "gid://gitlab/Ai::DuoWorkflows::Workflow/7"
PRIVILEGES = (
    "mutation($id:Theirs!){updateDuoWorkflowAgentPrivileges(input:{workflowId:$id}){errors}}"
)
ONE = "query($id:AiDuoWorkflowsWorkflowID){duoWorkflowWorkflows(workflowId:$id){nodes{%s}}}"
STATE = json.dumps(
    {
        "id": "ts-2",
        "channel_values": {
            "status": "Planning",
            "ui_chat_log": [
                {"message_type": "user", "content": "hi", "message_id": "user-1"},
                {
                    "message_type": "tool",
                    "content": "Read `a`",
                    "tool_info": {"name": "read_file", "args": {"path": "a"}},
                    "additional_context": [{"category": "file"}],
                    "timestamp": "2026-01-01T00:00:00+00:00",
                    "correlation_id": None,
                },
                {"message_type": "agent", "content": {"odd": [1]}},
            ],
        },
    }
).encode()


async def node(stand: Stand, fields: str) -> Any:
    return (await stand.data(ONE % fields, id=ID))["duoWorkflowWorkflows"]["nodes"][0]


async def test_a_workflow_costs_one_record_and_one_checkpoint() -> None:
    stand = Stand(Workflows(workflow(project_id=5)), Checkpoints(record(STATE)))
    data = await stand.data(WIRES["workflow_19_3"], workflowId=ID)
    (found,) = data["duoWorkflowWorkflows"]["nodes"]
    assert (stand.workflows.reads, stand.checkpoints.reads) == (1, 1)
    checkpoint = found.pop("latestCheckpoint")
    assert json.loads(checkpoint["metadata"]) == {"step": 1}
    assert zlib.decompress(b64decode(checkpoint["compressedCheckpoint"])) == STATE
    assert (checkpoint["threadTs"], checkpoint["parentTs"]) == ("ts-2", "ts-1")
    assert found == {
        "statusName": "running",
        "projectId": "gid://gitlab/Project/5",
        "project": {
            "id": "gid://gitlab/Project/5",
            "name": "App",
            "description": "An app",
            "httpUrlToRepo": "https://i.test/g/app.git",
            "webUrl": "https://i.test/g/app",
            "languages": [],
            "statisticsDetailsPaths": {"repository": "/g/app/-/tree/trunk"},
            "duoContextExclusionSettings": {"exclusionRules": []},
            "namespace": {"aiSettings": {"promptInjectionProtectionLevel": "LOG_ONLY"}},
            "duoWorkflowStatusCheck": {
                "foundationalFlowsEnabled": True,
                "enabledFoundationalFlows": None,
            },
        },
        "agentPrivilegesNames": [
            "read_write_files",
            "read_only_gitlab",
            "read_write_gitlab",
            "run_commands",
            "use_git",
            "run_mcp_tools",
        ],
        "preApprovedAgentPrivilegesNames": [],
        "mcpEnabled": True,
        "allowAgentToRequestUser": True,
        "namespaceId": None,
        "namespace": None,
        "archived": False,
        "stalled": False,
        "incrementalCheckpointsEnabled": False,
        "webSearchEnabled": False,
    }


@pytest.mark.parametrize("version", ["18_2", "18_3", "18_8", "19_0", "19_2", "19_3"])
async def test_each_version_of_the_workflow_query_is_answered(version: str) -> None:
    stand = Stand(Workflows(workflow(namespace_id=11)), Checkpoints(record(STATE)))
    data = await stand.data(WIRES[f"workflow_{version}"], workflowId=ID)
    (found,) = data["duoWorkflowWorkflows"]["nodes"]
    assert found["project"] is None
    if version != "18_2":
        assert found["namespace"]["webUrl"] == "https://i.test/g"
    if version in {"18_2", "18_3", "18_8"}:
        event = found.get("firstCheckpoint") or found["latestCheckpoint"]
        assert event["checkpoint"] == STATE.decode()


async def test_an_unknown_workflow_is_no_node() -> None:
    data = await Stand().data(ONE % "id", id="gid://gitlab/Ai::DuoWorkflows::Workflow/8")
    assert data == {"duoWorkflowWorkflows": {"nodes": []}}


async def test_a_place_that_its_owner_lost_is_refused_by_code() -> None:
    stand = Stand(Workflows(workflow(project_id=6)))
    (error,) = await stand.errors(ONE % "project{id}", id=ID)
    assert error["extensions"] == {"code": "INSUFFICIENT_NAMESPACE_PERMISSIONS"}
    assert "Not Found" not in error["message"]


async def test_events_of_an_unknown_workflow_are_refused_by_code() -> None:
    other = "gid://gitlab/Ai::DuoWorkflows::Workflow/8"
    (error,) = await Stand().errors(WIRES["workflow_events"], workflowId=other)
    assert error["extensions"] == {"code": "WORKFLOW_NOT_FOUND"}


async def test_messages_come_from_the_chat_log() -> None:
    stand = Stand(checkpoints=Checkpoints(record(STATE)))
    event = (await stand.data(WIRES["workflow_events"], workflowId=ID))["duoWorkflowEvents"]
    (found,) = event["nodes"]
    assert (found["workflowStatus"], found["workflowGoal"]) == ("RUNNING", "hi")
    asked, used, odd = found["duoMessages"]
    assert (asked["messageType"], asked["role"], asked["toolInfo"]) == ("user", "user", None)
    assert json.loads(used["toolInfo"]) == {"name": "read_file", "args": {"path": "a"}}
    assert used["additionalContext"] == [{"category": "file"}]
    assert (used["timestamp"], used["threadTs"]) == ("2026-01-01T00:00:00+00:00", "ts-2")
    assert (odd["role"], odd["content"]) == ("assistant", '{"odd":[1]}')


@pytest.mark.parametrize(
    "state",
    [b"{}", b'{"channel_values":{}}', b'{"channel_values":{"ui_chat_log":null}}', b"[]", b"\xff",
     b'{"channel_values":{"ui_chat_log":["text"]}}', b'{"channel_values":' + b"[" * 100_000],
)  # fmt: skip
async def test_a_log_that_is_none_has_no_messages(state: bytes) -> None:
    stand = Stand(checkpoints=Checkpoints(record(state)))
    assert await node(stand, "latestCheckpoint{duoMessages{content}}") == {
        "latestCheckpoint": {"duoMessages": []}
    }


async def test_events_are_paged_newest_first() -> None:
    records = [record(STATE, f"ts-{number}") for number in (5, 4, 3)]
    stand = Stand(checkpoints=Checkpoints(*records))
    query = (
        "query($id:ID,$n:Int,$after:String){duoWorkflowEvents(workflowId:$id,first:$n,after:$after)"
        "{nodes{duoMessages{threadTs}} pageInfo{endCursor hasNextPage hasPreviousPage}}}"
    ).replace("$id:ID", "$id:Theirs!")
    seen: list[str] = []
    after = None
    while True:
        page = (await stand.data(query, id=ID, n=2, after=after))["duoWorkflowEvents"]
        seen += [each["duoMessages"][0]["threadTs"] for each in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == ["ts-5", "ts-4", "ts-3"]
    (error,) = await stand.errors(query, id=ID, n=2, after=after)
    assert "first" in error["message"]


async def test_lists_go_forth_and_back() -> None:
    stand = Stand(Workflows(*(workflow(number) for number in range(1, 8))))

    async def page(**variables: object) -> tuple[list[str], Any]:
        found = (await stand.data(WIRES["user_workflows"], **variables))["duoWorkflowWorkflows"]
        ids = [each["node"]["id"].rpartition("/")[2] for each in found["edges"]]
        return ids, found["pageInfo"]

    ids, info = await page(first=3)
    assert (ids, info["hasNextPage"], info["hasPreviousPage"]) == (["7", "6", "5"], True, False)
    ids, info = await page(first=3, after=info["endCursor"])
    assert (ids, info["hasNextPage"], info["hasPreviousPage"]) == (["4", "3", "2"], True, True)
    ids, info = await page(last=2, before=info["startCursor"])
    assert (ids, info["hasNextPage"], info["hasPreviousPage"]) == (["6", "5"], True, True)
    ids, info = await page(last=2)
    assert (ids, info["hasNextPage"], info["hasPreviousPage"]) == (["2", "1"], False, True)


async def test_a_list_is_narrowed_by_its_arguments() -> None:
    stand = Stand()
    await stand.data(
        '{duoWorkflowWorkflows(projectPath:"g/app",type:"chat",excludeTypes:["developer/v1"],'
        'sort:CREATED_ASC,environment:IDE,statusGroup:AWAITING_INPUT,search:"x",first:5,'
        f'updatedAfter:"2026-01-02T03:04:05Z",ids:["{ID}"]){{nodes{{id}}}}}}'
    )
    (query,) = stand.workflows.queries
    assert (query.project_id, query.definitions, query.excluded) == (
        5,
        ("chat",),
        ("developer/v1",),
    )
    assert (query.oldest_first, query.environment, query.ids) == (True, "ide", ("7",))
    assert (query.search, query.limit) == ("x", 5)
    assert set(query.statuses) == {
        Status.INPUT_REQUIRED,
        Status.PLAN_APPROVAL_REQUIRED,
        Status.TOOL_CALL_APPROVAL_REQUIRED,
    }
    assert query.updated_after is not None
    assert query.updated_after.isoformat() == "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    "arguments",
    ['updatedAfter:"soon"', "updatedAfter:5", 'updatedAfter:"0001-01-01T00:00:00+23:59"',
     'ids:["7"]', 'projectPath:"g/other"', "first:0",
     'search:"' + "x" * 1001 + '"'],
)  # fmt: skip
async def test_what_cannot_narrow_a_list_is_an_error(arguments: str) -> None:
    answer = await Stand().answer("{duoWorkflowWorkflows(%s){nodes{id}}}" % arguments)  # noqa: UP031
    assert answer.body["data"] == {"duoWorkflowWorkflows": None}
    assert answer.body["errors"]
    assert answer.bugs == ()


async def test_a_list_reads_each_project_once() -> None:
    stand = Stand(Workflows(*(workflow(number, project_id=5) for number in range(1, 8))))
    await stand.data("{duoWorkflowWorkflows{nodes{project{fullPath}}}}")
    assert stand.places.reads == 1


async def test_what_a_session_ran_with_is_told() -> None:
    kept = '{"name":"claude_vertex","provider":"gitlab","identifier":null}'
    flow = '{"flow_id":"chat","flow_version":"1.0.0","schema_version":"v1"}'
    terms = Terms(environment="ide", catalog_item_version_id=3, privileges=(1, 99))
    stand = Stand(
        Workflows(workflow(model=kept, flow=flow, terms=terms, status=Status.INPUT_REQUIRED))
    )
    assert await node(
        stand,
        "modelMetadataName modelMetadataIdentifier flowMetadataId flowMetadataVersion "
        "flowMetadataSchemaVersion environment status statusGroup humanStatus userId "
        "aiCatalogItemVersionId agentPrivilegesNames stalled user{username} createdAt",
    ) == {
        "modelMetadataName": "claude_vertex",
        "modelMetadataIdentifier": None,
        "flowMetadataId": "chat",
        "flowMetadataVersion": "1.0.0",
        "flowMetadataSchemaVersion": "v1",
        "environment": "IDE",
        "status": "INPUT_REQUIRED",
        "statusGroup": "AWAITING_INPUT",
        "humanStatus": "input required",
        "userId": "gid://gitlab/User/1",
        "aiCatalogItemVersionId": "gid://gitlab/Ai::Catalog::ItemVersion/3",
        "agentPrivilegesNames": ["read_write_files"],
        "stalled": True,
        "user": {"username": "ann"},
        "createdAt": "2026-01-01T00:00:00+00:00",
    }


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "5", "{}", "[" * 100_000])
async def test_metadata_that_is_none_is_null(text: str) -> None:
    stand = Stand(Workflows(workflow(model=text, flow=text)))
    assert await node(stand, "modelMetadataName flowMetadataId") == {
        "modelMetadataName": None,
        "flowMetadataId": None,
    }


async def test_approvals_are_matched_by_arguments_and_by_pattern() -> None:
    known = ToolApproval(frozenset({approval.call_hash('{"program":"rm"}')}), ("ls *", "git log *"))
    stand = Stand(Workflows(workflow(approvals={"run_command": known})))

    async def match(**args: str) -> dict[str, Any]:
        variables = {"workflowId": ID, "toolName": "run_command", "toolCallArgs": json.dumps(args)}
        found = (await stand.data(WIRES["tool_call_match"], **variables))["duoWorkflowWorkflows"]
        short = (await stand.data(WIRES["tool_call_approved"], **variables))["duoWorkflowWorkflows"]
        long = found["nodes"][0]["toolCallApprovalMatch"]
        assert short["nodes"][0]["toolCallApproved"] is long["matched"]
        return long

    by_hash = {"matched": True, "matchType": "EXACT_HASH", "matchedPattern": None}
    by_pattern = {"matched": True, "matchType": "PATTERN", "matchedPattern": "git log *"}
    nothing = {"matched": False, "matchType": None, "matchedPattern": None}
    assert await match(program="rm") == by_hash
    assert await match(program="git", args="log main") == by_pattern
    assert await match(program="git", args="log main; rm") == nothing
    stand.settings = InstanceSettings(tool_approval_for_session=False)
    assert await match(program="rm") == nothing


async def test_models_need_a_place_that_the_caller_may_see() -> None:
    stand = Stand()
    group, project = "gid://gitlab/Group/11", "gid://gitlab/Project/5"
    cli = await stand.data(WIRES["models_cli"], rootNamespaceId=group)
    told = cli["aiChatAvailableModels"]
    assert told["defaultModel"] == {
        "name": "Claude",
        "ref": "claude",
        "modelProvider": "Anthropic",
        "modelDescription": "Good",
        "costIndicator": "$",
    }
    assert ([each["ref"] for each in told["selectableModels"]], told["pinnedModel"]) == (
        ["claude", "other"],
        None,
    )
    assert cli["metadata"]["version"] == stand.settings.version
    assert await stand.data(WIRES["models_6_18"], projectId=project)
    for variables in ({}, {"projectId": "gid://gitlab/Project/6"}, {"projectId": "5"},
                      {"rootNamespaceId": "gid://gitlab/Group/12"}):  # fmt: skip
        assert await stand.errors(WIRES["models_6_18"], **variables)


async def test_flags_are_told_once_each() -> None:
    asked = ["ai_user_model_switching", "duo_workflow", "no_such_flag", "duo_workflow"]
    data = await Stand().data(WIRES["feature_flags"], names=asked)
    assert data["metadata"]["featureFlags"] == [
        {"name": "ai_user_model_switching", "enabled": True},
        {"name": "duo_workflow", "enabled": True},
        {"name": "no_such_flag", "enabled": False},
    ]
    assert await Stand().errors(WIRES["feature_flags"], names=[str(n) for n in range(101)])


async def test_the_caller_is_told_who_it_is() -> None:
    data = await Stand().data(WIRES["user"])
    assert data["currentUser"] == {
        "id": "gid://gitlab/User/1",
        "username": "ann",
        "name": "Ann",
        "avatarUrl": None,
        "webUrl": "https://i.test/ann",
        "userPreferences": {
            "duoDefaultNamespace": {
                "id": "gid://gitlab/Group/11",
                "fullName": "G",
                "fullPath": "g",
            }
        },
    }


async def test_what_is_asked_for_to_look_around_is_permissive() -> None:
    data = await Stand().data(
        '{project(fullPath:"g/app"){duoWorkflowStatusCheck{enabled}} namespace(fullPath:"g"){id}'
        "aiFoundationalChatAgents{nodes{id} pageInfo{hasNextPage}}}"
    )
    assert data == {
        "project": {"duoWorkflowStatusCheck": {"enabled": True}},
        "namespace": {"id": "gid://gitlab/Group/11"},
        "aiFoundationalChatAgents": {"nodes": [], "pageInfo": {"hasNextPage": False}},
    }


@pytest.mark.parametrize(
    ("scope", "flags", "list_", "change"),
    [
        ("api", True, True, True),
        ("read_api", True, True, False),
        ("ai_workflows", True, True, False),
        ("ai_features", True, False, False),
        ("mcp", False, False, False),
    ],
)
async def test_scopes_let_in(scope: str, flags: bool, list_: bool, change: bool) -> None:
    stand = Stand(member=member(scope))
    queries = {
        '{metadata{featureFlags(names:["x"]){name}}}': flags,
        "{duoWorkflowWorkflows(first:1){nodes{id}}}": list_,
        PRIVILEGES: change,
    }
    for text, allowed in queries.items():
        answer = await stand.answer(text, id=ID)
        refused = "higher privileges" in json.dumps(answer.body)
        assert refused is not allowed, text


async def test_a_session_changes_nothing() -> None:
    stand = Stand(member=member("api", through_relay=True))
    (error,) = await stand.errors(WIRES["delete_workflow"], workflowId=ID)
    assert error["message"] == "A session cannot do this."
    assert stand.workflows.reads == 0


async def test_a_bug_is_told_to_nobody_but_us() -> None:
    stand = Stand()
    stand.workflows.failure = ZeroDivisionError("secret")
    answer = await stand.answer(ONE % "id", id=ID)
    told = {"message": "Internal server error", "path": ["duoWorkflowWorkflows"]}
    assert answer.body["errors"] == [told]
    assert [type(bug) for bug in answer.bugs] == [ZeroDivisionError]


async def test_an_outage_is_no_answer() -> None:
    stand = Stand()
    stand.workflows.failure = Unavailable("The store is down.")
    with pytest.raises(Unavailable):
        await stand.answer(ONE % "id", id=ID)


async def test_variables_must_fit() -> None:
    (error,) = await Stand().errors(WIRES["feature_flags"], names=[{"x": 1}])
    assert "$names" in error["message"]
    stand = Stand()
    deep: object = ID
    for _ in range(2_000):
        deep = [deep]
    for value in (7, {"x": 1}, "7", [ID], deep):
        (error,) = await stand.errors(ONE % "id", id=value)
        assert "global id" in error["message"]


async def test_what_takes_too_long_is_given_up() -> None:
    class Slow(Workflows):
        async def own(self, _: Member, workflow_id: str) -> Workflow:
            await asyncio.Event().wait()
            raise AssertionError(workflow_id)

    stand = Stand(Slow())
    answer = await HASTY.answer(Operation(ONE % "id", {"id": ID}), stand.inquiry())
    assert answer.body["errors"] == [{"message": "The query took too long."}]


async def test_what_an_answer_costs_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "BUDGET_BYTES", 3 * len(STATE))
    stand = Stand(checkpoints=Checkpoints(record(STATE)))
    await node(stand, "latestCheckpoint{checkpoint}")
    (error, *_) = await stand.errors(
        ONE % "latestCheckpoint{checkpoint a:checkpoint b:checkpoint}", id=ID
    )
    assert "too large" in error["message"]


@pytest.mark.parametrize(
    "text",
    [
        "{nothing}",
        "{",
        "query a{currentUser{id}} query b{currentUser{id}}",
        WIRES["events_updated"],
    ],
)
async def test_what_cannot_be_run_has_no_data(text: str) -> None:
    answer = await Stand().answer(text)
    assert answer.body["data"] is None
    assert answer.body["errors"]
