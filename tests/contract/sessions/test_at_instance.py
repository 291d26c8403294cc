"""Sessions whose records stay at their GitLab instance, reached through the client alone."""

import json
from typing import Any

import pytest

from isthmus.contract.contract_pb2 import Action, Approval
from isthmus.core.errors import Conflict, Forbidden, Invalid
from isthmus.core.identity import Caller
from isthmus.core.workflow import Status
from isthmus.platform.keeping import at_instance
from tests.support.foreign_instance import ForeignInstance, http, inflated, recorded
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import One, Reply, Stand, Told, answer, chat, stop

VERSION = "19.3.0-ee"
APPROVE = Approval(approval=Approval.Approved())
RUN = use(("c1", "run_command", '{"program":"ls","args":"-l"}'))


def stand_of(*lines: Any) -> Stand:
    return Stand(ScriptedModels(*lines), stores=at_instance)


async def turn(stand: Stand, instance: ForeignInstance, goal: str = "go", **more: Any) -> Told:
    """One stream of a client of this instance."""
    headers = {"x-gitlab-version": VERSION, **more.pop("headers", {})}
    async with stand.serving():
        return await stand.stream(chat(goal, **more), instance, headers=headers)


async def turns(stand: Stand, instance: ForeignInstance, *starts: dict[str, Any]) -> list[Told]:
    async with stand.serving():
        return [
            await stand.stream(chat(**start), instance, headers={"x-gitlab-version": VERSION})
            for start in starts
        ]


async def test_a12_29_30_the_query_comes_first_and_then_the_move() -> None:
    instance = ForeignInstance()
    first, second = await turns(stand_of(say("hi")), instance, {"goal": "go"}, {"goal": "on"})
    assert first.error is None
    assert instance.journal[:2] == ["query", "PATCH 7 start"]
    begins = [n for n, line in enumerate(instance.journal) if line == "query"]
    assert instance.journal[begins[1] + 1] == "PATCH 7 resume"
    assert instance.queries[0]["variables"] == {
        "workflowId": "gid://gitlab/Ai::DuoWorkflows::Workflow/7"
    }
    instance.status = Status.FAILED
    (third,) = await turns(stand_of(say("hi")), instance, {"goal": "again"})
    assert instance.journal[instance.journal.index("query", begins[1] + 1) + 1] == "PATCH 7 retry"
    assert (second.error, third.error) == (None, None)


async def test_a12_26_a_workflow_that_the_instance_does_not_show() -> None:
    instance = ForeignInstance()

    def unknown(action: Action) -> Reply:
        return http(action, 200, recorded("workflow_unknown"))

    def nobody(action: Action) -> Reply:
        return http(action, 200, {"data": {"duoWorkflowWorkflows": {"nodes": []}}})

    for others in (unknown, nobody):
        stand = stand_of(say("hi"))
        async with stand.serving():
            told = await stand.stream(chat("go"), others, headers={"x-gitlab-version": VERSION})
        assert isinstance(told.error, Invalid)
        assert told.error.detail.startswith("Invalid workflow ID: 7")
        assert told.notices == []
    assert instance.journal == []


async def test_a12_27_a_start_that_the_instance_forbids() -> None:
    instance = ForeignInstance()
    instance.refuse["PATCH 7 start"] = 403
    told = await turn(stand_of(say("hi")), instance)
    assert isinstance(told.error, Forbidden)
    assert told.error.detail == "workflow execution didn't start due to forbidden response"
    assert instance.journal == ["query", "PATCH 7 start"]


@pytest.mark.parametrize("flag", ["archived", "stalled"])
async def test_a12_28_a_session_that_is_over_is_refused_with_an_explanation(flag: str) -> None:
    over: dict[str, Any] = {flag: True, "statusName": "input_required"}
    instance = ForeignInstance(**over)
    told = await turn(stand_of(say("hi")), instance)
    assert isinstance(told.error, Conflict)
    assert told.statuses == ["FAILED"]
    (entry,) = told.log()
    assert (entry["message_type"], entry["status"]) == ("agent", "failure")
    assert "Start a new workflow" in entry["content"]
    assert instance.journal == ["query"]


async def test_a_move_that_the_instance_does_not_allow_fails_the_run() -> None:
    instance = ForeignInstance()
    instance.refuse["PATCH 7 start"] = 400
    told = await turn(stand_of(say("hi")), instance)
    assert isinstance(told.error, Conflict)
    assert instance.posts == []


async def test_a12_30_a_created_session_with_a_checkpoint_is_an_error() -> None:
    instance = ForeignInstance()
    await turn(stand_of(say("hi")), instance)
    instance.status = Status.CREATED
    told = await turn(stand_of(say("hi")), instance)
    assert isinstance(told.error, Conflict)
    assert instance.journal[-1] == "query"


async def test_a12_37_a_page_that_is_too_large_is_asked_for_in_halves() -> None:
    instance = ForeignInstance()
    first, second = await turns(
        stand_of(say("a"), say("b")), instance, {"goal": "1"}, {"goal": "2"}
    )
    assert (first.error, second.error) == (None, None)
    old = next(
        post
        for post in instance.posts
        if inflated(post["compressed_checkpoint"])["channel_values"].get("status")
        == "input_required"
    )
    instance.limit_rows = 3
    (told,) = await turns(
        stand_of(say("c")), instance, {"goal": "3", "resume_checkpoint_ts": old["thread_ts"]}
    )
    assert told.error is None
    asked = [line.partition("?")[2] for line in instance.journal if line.startswith("GET")]
    plain = "&accept_compressed=true"
    assert asked[:4] == [
        f"per_page=20&page=1{plain}",
        f"per_page=10&page=1{plain}",
        f"per_page=5&page=1{plain}",
        f"per_page=2&page=1{plain}",
    ]
    assert asked[4] == f"per_page=2&page=2{plain}"
    assert instance.posts[-1]["parent_ts"] is not None


async def test_a12_63_a_chat_forks_from_a_checkpoint_of_the_instance() -> None:
    instance = ForeignInstance()
    (told,) = await turns(
        stand_of(say("c")), instance, {"goal": "3", "resume_checkpoint_ts": "1f0b-none"}
    )
    assert isinstance(told.error, Invalid)
    assert "1f0b-none" in told.error.detail
    assert not any(line.startswith("PATCH") for line in instance.journal)


async def test_a12_48_a_finish_waits_for_the_last_checkpoint() -> None:
    instance = ForeignInstance()
    stand = stand_of(say("done"))
    start = chat("go")
    start.workflowDefinition = "developer/v1"
    caller = Caller("user-1", scopes=frozenset({"duo_agent_platform"}))
    async with stand.serving():
        told = await stand.stream(
            start, instance, caller=caller, headers={"x-gitlab-version": VERSION}
        )
    assert told.error is None
    assert told.statuses[-1] == "FINISHED"
    assert instance.journal[-2:] == ["POST 7/checkpoints", "PATCH 7 finish"]
    assert instance.latest()["status"] == "Completed"
    assert instance.posts[-1]["flow_metadata_json"] == json.dumps(
        {"flow_id": "developer", "flow_version": "1.0.0", "schema_version": "v1"}
    )


async def test_a12_49_each_step_is_stored_whole_and_names_its_model_without_its_key() -> None:
    header = {
        "provider": "openai",
        "name": "scripted-1",
        "identifier": "scripted-1",
        "endpoint": "https://models.example.com/v1",
        "api_key": "k3y-of-the-customer",
        "friendly_name": "Ours",
    }
    instance = ForeignInstance()
    told = await turn(
        stand_of(say("hi")),
        instance,
        headers={"x-gitlab-agent-platform-model-metadata": json.dumps(header)},
    )
    assert told.error is None
    parent = None
    for post in instance.posts:
        assert post["parent_ts"] == parent
        parent = post["thread_ts"]
        assert inflated(post["compressed_checkpoint"])["id"] == parent
        assert set(json.loads(post["model_metadata_json"])) == {
            "name",
            "provider",
            "endpoint",
            "identifier",
        }
        assert "k3y" not in json.dumps(post)
        assert set(post) == {
            "thread_ts",
            "parent_ts",
            "metadata",
            "model_metadata_json",
            "compressed_checkpoint",
        }
    assert [post["metadata"]["step"] for post in instance.posts] == [-1, 0, 1]
    assert instance.latest()["ui_chat_log"][-1]["content"] == "hi"


async def test_a12_47_the_order_of_a_pause_at_an_instance() -> None:
    instance = ForeignInstance()
    told = await turn(stand_of(RUN), instance)
    assert told.statuses.count("TOOL_CALL_APPROVAL_REQUIRED") == 1
    assert told.actions[-1].newCheckpoint.status == "TOOL_CALL_APPROVAL_REQUIRED"
    after = instance.journal[instance.journal.index("PATCH 7 require_tool_call_approval") :]
    assert after == [
        "PATCH 7 require_tool_call_approval",
        "POST 7/checkpoints",
        "POST 7/checkpoint_writes_batch",
    ]


async def test_a12_52_a_pause_is_stored_as_an_interrupt_and_goes_on() -> None:
    instance = ForeignInstance()
    first, second = await turns(
        stand_of(RUN, say("ok")), instance, {"goal": "go"}, {"approval": APPROVE}
    )
    assert (first.error, second.error) == (None, None)
    (batch,) = instance.writes
    (write,) = batch["checkpoint_writes"]
    assert (write["channel"], write["write_type"]) == ("__interrupt__", "msgpack")
    assert [action.WhichOneof("action") for action in second.work].count("runCommand") == 1
    assert second.statuses[-1] == "INPUT_REQUIRED"


async def test_a12_58_59_the_instance_is_asked_once_and_only_a_yes_counts() -> None:
    args = '{"args":"-l","program":"ls"}'
    instance = ForeignInstance()
    instance.approved.add(args)
    told = await turn(stand_of(RUN, RUN, say("ok")), instance)
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert [action.WhichOneof("action") for action in told.work].count("runCommand") == 2
    assert instance.journal.count("approved?") == 1
    for status in (401, 403):
        instance = ForeignInstance()
        instance.approved.add(args)
        instance.refuse["approved?"] = status
        told = await turn(stand_of(RUN, say("ok")), instance)
        assert told.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED", status


async def test_a12_57_an_empty_goal_leaves_the_pause_at_the_instance() -> None:
    instance = ForeignInstance()
    first, second = await turns(stand_of(RUN), instance, {"goal": "go"}, {})
    assert first.error is None
    assert isinstance(second.error, Invalid)
    assert instance.status is Status.TOOL_CALL_APPROVAL_REQUIRED
    # The answer to an earlier resume was lost on its way: the pause comes back.
    instance.status = Status.RUNNING
    (third,) = await turns(stand_of(RUN), instance, {})
    assert third.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert instance.status is Status.TOOL_CALL_APPROVAL_REQUIRED


async def test_a12_61_62_stops_reach_the_instance_or_do_not() -> None:
    for reason, last in (("", "PATCH 7 stop"), ("WORKHORSE_SERVER_SHUTDOWN", None)):
        instance = ForeignInstance()

        def stopping(action: Action, reason: str = reason) -> Reply:
            said = answer(action)
            assert isinstance(said, One)
            return [stop(reason), said]

        instance.others = stopping
        read = use(("c1", "read_file", '{"file_path":"a"}'))
        told = await turn(stand_of(read), instance, preapproved_tools=["read_file"])
        if last is None:
            assert "PATCH 7 stop" not in instance.journal
            assert "PATCH 7 drop" not in instance.journal
        else:
            assert instance.journal[-1] == last
            assert told.statuses[-1] == "STOPPED"
            assert told.log() == []


async def test_an_instance_that_is_out_of_reach_pauses_the_session() -> None:
    instance = ForeignInstance()
    instance.refuse["POST 7/checkpoints"] = 429
    told = await turn(stand_of(say("hi")), instance)
    assert told.statuses[-1] == "PAUSED"
    assert instance.status is Status.RUNNING


async def test_a_flow_knows_the_place_that_the_instance_names() -> None:
    instance = ForeignInstance()
    stand = stand_of(say("done"))
    start = chat("go")
    start.workflowDefinition = "developer/v1"
    caller = Caller("user-1", scopes=frozenset({"duo_agent_platform"}))
    async with stand.serving():
        await stand.stream(start, instance, caller=caller, headers={"x-gitlab-version": VERSION})
    context = instance.latest()["context"]
    assert context["project_id"] == 4711
    assert context["project_default_branch"] == "release/1.x"


async def test_a12_51_a_session_in_parts_goes_on_from_what_the_instance_puts_together() -> None:
    instance = ForeignInstance(incrementalCheckpointsEnabled=True)
    known = {"clientCapabilities": ["incremental_checkpoints_only"]}
    read = use(("c1", "read_file", '{"file_path":"a"}'))
    stand = stand_of(read, say("one"), say("two"), say("three"))
    tools = {"preapproved_tools": ["read_file"]}
    starts = [{"goal": str(number), **known, **tools} for number in range(3)]
    told = await turns(stand, instance, *starts)
    assert [one.error for one in told] == [None, None, None]
    texts = [entry["content"] for entry in told[-1].log() if entry["message_type"] == "agent"]
    assert texts == ["one", "two", "three"]
    for post in instance.posts:
        assert "compressed_checkpoint" not in post
        assert "channel_values" not in post["checkpoint"]
        assert post["channel_keys"]
    assert {post["current_thread"] for post in instance.posts} == {0}
    assert any("by_thread_ts" in line for line in instance.journal)


async def test_a12_50_a_row_that_wants_parts_gets_them_with_the_whole() -> None:
    instance = ForeignInstance(incrementalCheckpointsEnabled=True)
    first, second = await turns(
        stand_of(say("a"), say("b")), instance, {"goal": "1"}, {"goal": "2"}
    )
    assert (first.error, second.error) == (None, None)
    actions = [
        {blob["channel"]: blob["step_action"] for blob in post["channel_blobs"]}
        for post in instance.posts
    ]
    assert set(actions[0].values()) == {"compaction"}
    assert actions[-1]["ui_chat_log"] == "conversation"
    assert actions[-1]["conversation_history"] == "conversation"
    assert all("compressed_checkpoint" in post for post in instance.posts)
