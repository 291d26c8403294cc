"""Turns of a chat session through the host: start, tools, approvals, streaming, policy."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    Approval,
    ClientEvent,
    HeartbeatRequest,
    PlainTextResponse,
    StartWorkflowRequest,
)
from isthmus.core.errors import (
    ClientGone,
    Conflict,
    Forbidden,
    Interrupted,
    Invalid,
    LimitExceeded,
    TooLarge,
    Unavailable,
    UpstreamFailed,
)
from isthmus.core.events import (
    SessionEnded,
    ToolCalled,
)
from isthmus.core.identity import Caller
from isthmus.core.messages import Text, ToolResult, Usage
from isthmus.core.session_facts import ActionAnswered, CheckpointWritten, SessionAnswered
from isthmus.core.workflow import Status, StatusEvent
from isthmus.platform import host
from tests.support.framed import bare
from tests.support.memory_store import MemoryCheckpoints, MemoryWorkflows
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import CALLER, One, Stand, Told, answer, chat, stop

APPROVE = Approval(approval=Approval.Approved())
WRITE = use(("c1", "create_file_with_contents", '{"file_path":"a.py","contents":"x"}'))


def moves(stand: Stand) -> list[StatusEvent]:
    assert isinstance(stand.workflows, MemoryWorkflows)
    return stand.workflows.moves


async def one(models: ScriptedModels, goal: str = "go", **fields: Any) -> tuple[Stand, Told]:
    stand = Stand(models)
    async with stand.serving():
        return stand, await stand.stream(chat(goal, **fields))


async def test_a_session_keeps_its_deployment_in_its_record() -> None:
    models = ScriptedModels(say("x"))
    stand = Stand(models)
    async with stand.serving():
        await stand.stream(chat("hi"))
        assert (await stand.workflows.get("7")).deployment == "east"
        models.served_at = "west"
        await stand.stream(chat("more"))
        assert (await stand.workflows.get("7")).deployment == "west"
    asked = [ask.session for ask in models.asks]
    assert [(one.id, one.deployment) for one in asked if one] == [("7", ""), ("7", "east")]


async def test_a12_16_a_stream_that_says_nothing_ends_quietly() -> None:
    stand = Stand(ScriptedModels(say("x")))
    async with stand.serving():
        told = await stand.stream([])
    assert (told.actions, told.error) == ([], None)


@pytest.mark.parametrize(
    "first",
    [
        ClientEvent(heartbeat=HeartbeatRequest(timestamp=1)),
        ClientEvent(startRequest=StartWorkflowRequest(workflowDefinition="chat", goal="x")),
    ],
)
async def test_a12_17_a_stream_without_a_start_ends_quietly(first: ClientEvent) -> None:
    stand = Stand(ScriptedModels(say("x")))
    async with stand.serving():
        told = await stand.stream([first])
    assert (told.actions, told.error) == ([], None)


async def test_a12_11_the_chat_scope_opens_chat_and_nothing_else_does() -> None:
    stand = Stand(ScriptedModels(say("x")))
    async with stand.serving():
        good = await stand.stream(chat("hi"))
        wrong = Caller("user-1", scopes=frozenset({"duo_agent_platform"}))
        bad = await stand.stream(chat("hi", "8"), caller=wrong)
    assert good.error is None
    assert isinstance(bad.error, Forbidden)
    assert bad.error.detail == "Unauthorized to execute chat"


async def test_a12_26_a_record_of_somebody_else_cannot_be_found() -> None:
    stand = Stand(ScriptedModels(say("x")))
    async with stand.serving():
        await stand.stream(chat("hi"))
        other = Caller("user-2", scopes=frozenset({"duo_chat"}))
        told = await stand.stream(chat("hi"), caller=other)
    assert isinstance(told.error, Invalid)
    assert told.error.detail.startswith("Invalid workflow ID")
    assert told.actions == []


async def test_a_first_turn_answers_and_waits_for_the_user() -> None:
    stand, told = await one(ScriptedModels(say("Hello ", "there.")), "hi")
    assert told.error is None
    assert told.statuses[0] == "RUNNING"
    assert [entry["content"] for entry in told.log()] == ["hi", "Hello there."]
    assert moves(stand) == [StatusEvent.START, StatusEvent.REQUIRE_INPUT]
    ended = stand.sink.of(SessionEnded)
    assert [(fact.outcome, fact.workflow_id) for fact in ended] == [("waiting", "7")]
    assert ended[0].steps == len(stand.sink.of(CheckpointWritten))


async def test_a12_31_every_action_has_its_own_id() -> None:
    line = use(*((f"c{n}", "read_file", '{"file_path":"a"}') for n in range(3)))
    _, told = await one(ScriptedModels(line, say("ok")))
    ids = [action.requestID for action in told.actions]
    assert all(ids)
    assert len(set(ids)) == len(ids)


async def test_a12_32_answers_are_matched_by_id_in_any_order() -> None:
    line = use(
        ("c1", "read_file", '{"file_path":"one"}'), ("c2", "read_file", '{"file_path":"two"}')
    )
    stand = Stand(ScriptedModels(line, say("ok")))
    held: list[ActionResponse] = []

    def backwards(action: Action) -> list[One] | None:
        text = PlainTextResponse(response=f"<{action.runReadFile.filepath}>")
        held.append(ActionResponse(requestID=action.requestID, plainTextResponse=text))
        stranger = ActionResponse(requestID="nobody", plainTextResponse=text)
        return [stranger, *reversed(held)] if len(held) == 2 else None

    async with stand.serving():
        told = await stand.stream(chat("go"), backwards)
    assert told.error is None
    results = [p for p in stand.models.prompt().messages[-1].parts if isinstance(p, ToolResult)]
    assert [(r.tool_use_id, bare(r.text)) for r in results] == [("c1", "<one>"), ("c2", "<two>")]


async def test_a12_36_a_failed_action_is_told_to_the_model_and_the_session_goes_on() -> None:
    def fails(action: Action) -> ActionResponse:
        text = PlainTextResponse(error="no such file", response="tried hard")
        return ActionResponse(requestID=action.requestID, plainTextResponse=text)

    stand = Stand(ScriptedModels(use(("c1", "read_file", '{"file_path":"a"}')), say("sorry")))
    async with stand.serving():
        told = await stand.stream(chat("go"), fails)
    result = stand.models.prompt().messages[-1].parts[0]
    assert isinstance(result, ToolResult)
    assert result.failed
    assert bare(result.text) == "Action error: no such file\ntried hard"
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert [fact.failure for fact in stand.sink.of(ToolCalled)] == ["refused"]


async def test_a12_39_an_action_over_the_limit_ends_the_session() -> None:
    big = json.dumps({"program": "echo", "args": "x" * 70_000})
    stand = Stand(ScriptedModels(use(("c1", "run_command", big)), say("never")))
    stand = stand.limited(message_limit_bytes=65_536)
    async with stand.serving():
        told = await stand.stream(chat("go", preapproved_tools=["run_command"]))
    assert isinstance(told.error, TooLarge)
    assert told.error.detail == "Outgoing message too large."
    assert told.work == []
    assert moves(stand)[-1] is StatusEvent.DROP


@pytest.mark.parametrize("path", [".env", "../x", "/etc/passwd", "a/%2e%2e/b", ".git/config"])
async def test_a12_43_protected_paths_are_refused_without_an_action(path: str) -> None:
    call = use(("c1", "read_file", json.dumps({"file_path": path})))
    stand, told = await one(ScriptedModels(call, say("ok")))
    assert told.work == []
    result = stand.models.prompt().messages[-1].parts[0]
    assert isinstance(result, ToolResult)
    assert result.failed
    assert result.text.startswith("Access denied")


async def test_a12_45_deltas_hold_what_is_new_and_whole_logs_everything() -> None:
    lines = (say("one"), say("two"))
    stand = Stand(ScriptedModels(*lines))
    async with stand.serving():
        whole = await stand.stream(chat("hi"))
        delta = await stand.stream(chat("more", clientCapabilities=["incremental_streaming"]))
    assert [len(whole.log(n)) for n in range(len(whole.notices))][-1] == 2
    first, last = delta.log(0), delta.log()
    # A slow reader may see the next entry in the same notice.
    assert [entry["content"] for entry in first][:2] == ["hi", "one"]
    assert last[-1]["content"] == "two"
    assert len(last) < 4
    seen: dict[str, str] = {}
    for number in range(len(delta.notices)):
        seen |= {entry["message_id"]: entry["content"] for entry in delta.log(number)}
    assert list(seen.values()) == ["hi", "one", "more", "two"]


async def test_a12_47_a_pause_is_shown_exactly_once_after_the_move() -> None:
    stand = Stand(ScriptedModels(WRITE, say("ok")))
    async with stand.serving():
        told = await stand.stream(chat("write"))
    assert told.statuses.count("TOOL_CALL_APPROVAL_REQUIRED") == 1
    assert told.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert moves(stand) == [StatusEvent.START, StatusEvent.REQUIRE_TOOL_CALL_APPROVAL]
    request = told.log()[-1]
    assert (request["message_type"], request["message_id"]) == ("request", "c1")
    assert request["tool_info"]["args"] == {"file_path": "a.py", "contents": "x"}


@pytest.mark.parametrize(
    ("models", "status", "last"),
    [
        (ScriptedModels(say("hello")), "INPUT_REQUIRED", ["move require_input", "put"]),
        (
            ScriptedModels(WRITE),
            "TOOL_CALL_APPROVAL_REQUIRED",
            ["move require_tool_call_approval", "put", "writes"],
        ),
    ],
)
async def test_a12_47_the_order_of_a_pause(
    models: ScriptedModels, status: str, last: list[str]
) -> None:
    journal: list[str] = []
    stand = Stand(
        models, workflows=MemoryWorkflows(journal), checkpoints=MemoryCheckpoints(journal)
    )
    async with stand.serving():
        told = await stand.stream(chat("go"), seen=journal.append)
    assert told.error is None
    # What was shown of the step before may still be on its way.
    journal = [one for one in journal[:-1] if one != "RUNNING"] + journal[-1:]
    assert journal[-len(last) - 1 :] == [*last, status]
    assert journal.count(status) == 1


async def test_a12_63_a_fork_from_a_pause_for_approval_can_be_decided() -> None:
    stand = Stand(ScriptedModels(WRITE, say("written"), say("more"), say("again")))
    async with stand.serving():
        await stand.stream(chat("write"))
        fork = await stand.head("7")
        await stand.stream(chat(approval=APPROVE))
        await stand.stream(chat("go on"))
        told = await stand.stream(chat(approval=APPROVE, resume_checkpoint_ts=fork))
    assert told.error is None
    assert [a.runWriteFile.filepath for a in told.work] == ["a.py"]
    assert [entry["content"] for entry in told.log()] == ["write", "Create a.py", "again"]


async def test_a_fork_may_be_decided_in_another_way_than_before() -> None:
    stand = Stand(ScriptedModels(WRITE, say("written"), say("left")))
    async with stand.serving():
        await stand.stream(chat("write"))
        fork = await stand.head("7")
        await stand.stream(chat(approval=APPROVE))
        reject = Approval(rejection=Approval.Rejected())
        told = await stand.stream(chat(approval=reject, resume_checkpoint_ts=fork))
    assert told.error is None
    assert told.work == []
    assert [entry["status"] for entry in told.log()] == [None, "cancelled", "success"]


async def test_a12_53_each_agent_with_a_history_has_its_usage() -> None:
    _, told = await one(ScriptedModels(say("hi", usage=Usage(900, 100))))
    usage = dict(told.notices[-1].agent_context_usage.items())
    assert {name: (u.total_tokens, u.max_tokens) for name, u in usage.items()} == {
        "agent": (1000, 200_000)
    }


async def test_a12_54_results_are_cut_and_redacted_for_people_and_models() -> None:
    stand = Stand(ScriptedModels(use(("c1", "read_file", '{"file_path":"a"}')), say("ok")))
    async with stand.serving():
        told = await stand.stream(chat("go"), lambda _: "s3cret " + "x" * 5000)
    shown = next(e for e in told.log() if e["message_type"] == "tool")["tool_info"]
    assert len(shown["tool_response"]) == 4096
    assert shown["tool_response"].startswith("[REDACTED] ")
    assert all("s3cret" not in str(prompt) for prompt in stand.models.asks)


async def test_a12_55_a_paused_chat_goes_on_with_a_goal() -> None:
    stand = Stand(ScriptedModels(say("one"), say("two")))
    async with stand.serving():
        await stand.stream(chat("first"))
        told = await stand.stream(chat("second"))
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert moves(stand)[2:] == [StatusEvent.RESUME, StatusEvent.REQUIRE_INPUT]
    spoken = [m.parts for m in stand.models.prompt().messages[1:]]
    assert spoken == [(Text("first"),), (Text("one"),), (Text("second"),)]


async def test_a12_56_an_approved_tool_runs() -> None:
    stand = Stand(ScriptedModels(WRITE, say("Written.")))
    async with stand.serving():
        first = await stand.stream(chat("write"))
        assert not first.work
        second = await stand.stream(chat(approval=APPROVE))
    assert second.error is None
    assert [a.runWriteFile.filepath for a in second.work] == ["a.py"]
    assert second.statuses[-1] == "INPUT_REQUIRED"
    assert [entry["message_type"] for entry in second.log()] == ["user", "tool", "agent"]
    assert [fact.action for fact in stand.sink.of(ActionAnswered)] == ["runWriteFile"]
    answers = stand.sink.of(SessionAnswered)
    assert [(fact.definition, fact.after_s) for fact in answers] == [("chat", 0.0)] * 2


async def test_a12_56_a_rejected_tool_does_not_run() -> None:
    stand = Stand(ScriptedModels(WRITE, say("Fine.")))
    async with stand.serving():
        await stand.stream(chat("write"))
        told = await stand.stream(chat(approval=Approval(rejection=Approval.Rejected())))
    assert not told.work
    result = stand.models.prompt().messages[-1].parts[-1]
    assert isinstance(result, ToolResult)
    assert result.failed
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert [entry["status"] for entry in told.log()] == [None, "cancelled", "success"]


async def test_a12_56_a_rejection_with_words_tells_the_model_and_the_log() -> None:
    stand = Stand(ScriptedModels(WRITE, say("Fine.")))
    async with stand.serving():
        await stand.stream(chat("write"))
        told = await stand.stream(
            chat(approval=Approval(rejection=Approval.Rejected(message="use b.py")))
        )
    assert stand.models.prompt().messages[-1].parts[-1] == Text("use b.py")
    assert [e["content"] for e in told.log() if e["message_type"] == "user"] == [
        "write",
        "use b.py",
    ]


async def test_a_goal_in_place_of_a_decision_cancels_the_calls() -> None:
    stand = Stand(ScriptedModels(WRITE, say("Fine.")))
    async with stand.serving():
        await stand.stream(chat("write"))
        told = await stand.stream(chat("never mind"))
    assert not told.work
    assert stand.models.prompt().messages[-1].parts[-1] == Text("never mind")
    assert told.statuses[-1] == "INPUT_REQUIRED"


@pytest.mark.parametrize("models", [ScriptedModels(say("one")), ScriptedModels(WRITE)])
async def test_a12_57_an_empty_goal_on_a_pause_changes_nothing(models: ScriptedModels) -> None:
    stand = Stand(models)
    async with stand.serving():
        await stand.stream(chat("first"))
        before = (await stand.workflows.get("7")).status
        told = await stand.stream(chat(""))
    assert isinstance(told.error, Invalid)
    assert told.actions == []
    assert (await stand.workflows.get("7")).status is before


async def test_an_approval_with_nothing_to_approve_is_invalid() -> None:
    stand = Stand(ScriptedModels(say("one")))
    async with stand.serving():
        await stand.stream(chat("first"))
        told = await stand.stream(chat(approval=APPROVE))
    assert isinstance(told.error, Invalid)
    assert (await stand.workflows.get("7")).status is Status.INPUT_REQUIRED


async def test_preapproved_tools_run_at_once() -> None:
    _, told = await one(
        ScriptedModels(WRITE, say("ok")), preapproved_tools=["create_file_with_contents"]
    )
    assert len(told.work) == 1
    assert told.statuses[-1] == "INPUT_REQUIRED"


async def test_a12_60_a_denied_tool_is_not_offered_and_not_found() -> None:
    claim = {"tool_access_policies": {"deny": ["read_file"]}}
    caller = Caller("user-1", scopes=frozenset({"duo_chat"}), extra=claim)
    stand = Stand(ScriptedModels(use(("c1", "read_file", '{"file_path":"a"}')), say("ok")))
    async with stand.serving():
        told = await stand.stream(chat("go"), caller=caller)
    assert "read_file" not in {tool.name for tool in stand.models.prompt().tools}
    assert told.work == []
    result = stand.models.prompt().messages[-1].parts[0]
    assert isinstance(result, ToolResult)
    assert "no tool named" in result.text


async def test_unknown_tools_and_bad_arguments_are_told_to_the_model() -> None:
    line = use(("c1", "fly", "{}"), ("c2", "read_file", '{"path":'), ("c3", "read_file", "{}"))
    stand, told = await one(ScriptedModels(line, say("ok")))
    assert told.statuses[-1] == "INPUT_REQUIRED"
    results = [p for p in stand.models.prompt().messages[-1].parts if isinstance(p, ToolResult)]
    assert [r.failed for r in results] == [True, True, True]
    assert told.work == []


async def test_calls_that_reuse_an_id_get_their_own() -> None:
    line = use(("same", "list_dir", '{"directory":"."}'))
    _, told = await one(ScriptedModels(line, line, say("ok")))
    ids = [entry["message_id"] for entry in told.log() if entry["message_type"] == "tool"]
    assert len(set(ids)) == 2
    assert len(told.work) == 2


async def test_a_failing_model_ends_the_stream_with_a_notice_and_a_retry_goes_on() -> None:
    broken = [UpstreamFailed("secret words of a provider", status=501)]
    stand = Stand(ScriptedModels(broken, say("now")))
    async with stand.serving():
        failed = await stand.stream(chat("hi"))
        told = await stand.stream(chat(""))
    assert isinstance(failed.error, UpstreamFailed)
    assert failed.statuses[-1] == "FAILED"
    assert failed.log()[-1]["message_id"].startswith("error-")
    assert "secret words" not in failed.notices[-1].checkpoint
    assert moves(stand) == [
        StatusEvent.START,
        StatusEvent.DROP,
        StatusEvent.RETRY,
        StatusEvent.REQUIRE_INPUT,
    ]
    assert told.error is None
    assert [entry["content"] for entry in told.log()] == ["hi", "now"]


async def test_a_session_ends_at_its_limit_of_steps() -> None:
    stand = Stand(ScriptedModels(use(("c", "list_dir", '{"directory":"."}'))))
    stand = stand.limited(max_steps=6)
    async with stand.serving():
        told = await stand.stream(chat("loop"))
    assert isinstance(told.error, LimitExceeded)
    assert "6 steps" in str(told.error)
    assert told.statuses[-1] == "FAILED"


async def test_a12_38_heartbeats_have_no_effect() -> None:
    beats: list[One] = [ClientEvent(heartbeat=HeartbeatRequest(timestamp=n)) for n in range(100)]
    stand = Stand(ScriptedModels(use(("c", "list_dir", '{"directory":"."}')), say("ok")))
    async with stand.serving():
        told = await stand.stream(chat("hi"), lambda _: [*beats, "files"])
    assert told.error is None
    assert told.statuses[-1] == "INPUT_REQUIRED"


async def test_a12_64_the_model_of_a_session_is_pinned_and_reused() -> None:
    stand = Stand(ScriptedModels(say("one"), say("two")))
    async with stand.serving():
        first = await stand.stream(chat("a"))
        pinned = (await stand.workflows.get("7")).model
        await stand.stream(chat("b"))
    assert json.loads(pinned) == {
        "name": "scripted-1",
        "provider": "gitlab",
        "endpoint": None,
        "identifier": None,
    }
    assert first.notices[-1].model_metadata_json == pinned
    assert stand.models.chosen == [None, "scripted-1"]


async def test_a12_61_a_user_stop_shows_an_empty_log_and_ends_normally() -> None:
    stand = Stand(ScriptedModels(use(("c", "list_dir", '{"directory":"."}')), say("later")))
    async with stand.serving():
        told = await stand.stream(chat("hi"), lambda _: stop("enough"))
        again = await stand.stream(chat("go on"))
    assert told.error is None
    assert told.statuses[-1] == "STOPPED"
    assert told.log() == []
    assert moves(stand)[:3] == [StatusEvent.START, StatusEvent.STOP, StatusEvent.RETRY]
    assert again.statuses[-1] == "INPUT_REQUIRED"


async def test_a12_62_a_proxy_shutdown_moves_nothing_and_a_retry_goes_on() -> None:
    stand = Stand(ScriptedModels(use(("c", "list_dir", '{"directory":"."}')), say("done")))
    async with stand.serving():
        told = await stand.stream(chat("hi"), lambda _: stop("WORKHORSE_SERVER_SHUTDOWN"))
        assert (await stand.workflows.get("7")).status is Status.RUNNING
        again = await stand.stream(chat(""), answer)
    assert isinstance(told.error, Interrupted)
    assert str(told.error).startswith("workflow execution interrupted: ")
    assert moves(stand) == [StatusEvent.START, StatusEvent.RETRY, StatusEvent.REQUIRE_INPUT]
    assert again.error is None
    assert [a.WhichOneof("action") for a in again.work] == ["listDirectory"]


async def test_a12_63_a_chat_forks_from_an_old_checkpoint() -> None:
    stand = Stand(ScriptedModels(say("one"), say("two"), say("three")))
    async with stand.serving():
        await stand.stream(chat("a"))
        fork = await stand.head("7")
        await stand.stream(chat("b"))
        told = await stand.stream(chat("c", resume_checkpoint_ts=fork))
        unknown = await stand.stream(chat("d", resume_checkpoint_ts="0" * 36))
        after_fork = await stand.stream(chat("e"))
    assert [entry["content"] for entry in told.log()] == ["a", "one", "c", "three"]
    assert isinstance(unknown.error, Invalid)
    assert "0000" in unknown.error.detail
    assert [entry["content"] for entry in after_fork.log()] == [
        *("a", "one", "c", "three", "e", "three")
    ]


async def test_a12_46_streamed_text_is_paced_and_its_end_is_shown() -> None:
    stand = Stand(ScriptedModels(say(*("x" * 1 for _ in range(200)))))
    async with stand.serving():
        told = await stand.stream(chat("hi"))
    assert told.log()[-1]["content"] == "x" * 200
    assert len(told.notices) < 10


async def test_attached_context_reaches_the_model_and_the_log() -> None:
    contexts = [{"category": "file", "id": "a.py", "content": "print(1)", "metadata": ""}]
    stand, told = await one(ScriptedModels(say("ok")), additional_context=contexts)
    spoken = stand.models.prompt().messages[-1].parts[0]
    assert isinstance(spoken, Text)
    assert "print(1)" in spoken.text
    assert told.log()[0]["additional_context"][0]["id"] == "a.py"


@asynccontextmanager
async def silent(stand: Stand, start: StartWorkflowRequest) -> AsyncIterator[asyncio.Task[Told]]:
    """A stream whose client is asked something, and is heard of no more."""
    asked = asyncio.Event()

    def hold(_: Action) -> None:
        asked.set()

    stream = asyncio.create_task(stand.stream(start, hold))
    await asked.wait()
    yield stream
    stream.cancel()
    await asyncio.wait({stream})


LIST = use(("c", "list_dir", '{"directory":"."}'))


async def test_only_one_stream_of_a_workflow_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "WAIT_S", 0.2)
    stand = Stand(ScriptedModels(LIST, say("ok")))
    async with stand.serving(), silent(stand, chat("go")) as first:
        second = await stand.stream(chat("again"))
        stranger = await stand.stream(chat("again"), caller=replace(CALLER, subject="v"))
        assert not first.done()
    assert isinstance(second.error, Unavailable)
    assert isinstance(stranger.error, Conflict)


async def test_a_stream_waits_for_the_end_of_the_one_before() -> None:
    stand = Stand(ScriptedModels(LIST, say("ok")))
    async with stand.serving(), silent(stand, chat("go")) as first:
        second = asyncio.create_task(stand.stream(chat("")))
        await asyncio.sleep(0.05)
        first.cancel()
        told = await second
    assert told.error is None
    assert [entry["content"] for entry in told.log()][::2] == ["go", "ok"]


async def test_a_client_that_lost_its_stream_and_came_back_need_not_wait() -> None:
    stand = Stand(ScriptedModels(LIST, say("ok")))
    came = ["action_memory=memory-1"]
    async with stand.serving(), silent(stand, chat("go", clientCapabilities=came)) as first:
        told = await stand.stream(chat("", clientCapabilities=came))
        assert isinstance((await first).error, ClientGone)
    assert told.error is None
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert [entry["content"] for entry in told.log()][::2] == ["go", "ok"]


async def test_a_decision_that_was_taken_unheard_may_be_told_again() -> None:
    """A server took it and died; the client heard nothing, and tells the next one."""
    stand = Stand(ScriptedModels(WRITE, say("written")))
    decided = chat(approval=APPROVE, clientCapabilities=named("decision-1"))
    async with stand.serving():
        await stand.stream(chat("write", clientCapabilities=named("goal-0000")))
        async with silent(stand, decided) as first:
            first.cancel()
            await asyncio.wait({first})
        told = await stand.stream(decided)
        again = await stand.stream(decided)
        others = [
            await stand.stream(chat(approval=APPROVE, clientCapabilities=came))
            for came in ([], named("decision-2"))
        ]
    assert told.error is None
    assert [action.runWriteFile.filepath for action in told.work] == ["a.py"]
    assert (again.error, again.work, again.statuses[-1]) == (None, [], "INPUT_REQUIRED")
    assert [str(other.error) for other in others] == ["There is no tool call to decide on."] * 2


async def test_a_decision_that_was_taken_unheard_decides_nothing_else() -> None:
    """Its server asked for another call and died: nobody said yes to that one."""
    more = use(("c2", "create_file_with_contents", '{"file_path":"b.py","contents":"x"}'))
    stand = Stand(ScriptedModels(WRITE, more, say("written")))
    decided = chat(approval=APPROVE, clientCapabilities=named("decision-1"))
    async with stand.serving():
        await stand.stream(chat("write", clientCapabilities=named("goal-0000")))
        first = await stand.stream(decided)
        again = await stand.stream(decided)
        told = await stand.stream(chat(approval=APPROVE, clientCapabilities=named("decision-2")))
    assert first.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert (again.error, again.work, again.statuses[-1]) == (None, [], first.statuses[-1])
    assert [action.runWriteFile.filepath for action in told.work] == ["b.py"]


async def test_a_goal_that_was_taken_unheard_may_be_told_again() -> None:
    stand = Stand(ScriptedModels(say("one"), say("two")))
    more = chat("more", clientCapabilities=named("goal-0001"))
    async with stand.serving():
        await stand.stream(chat("go", clientCapabilities=named("goal-0000")))
        told = [await stand.stream(more) for _ in range(2)]
    assert [one.error for one in told] == [None, None]
    assert [entry["content"] for entry in told[-1].log()] == ["go", "one", "more", "two"]


async def test_a_branch_that_was_begun_unheard_is_not_begun_twice() -> None:
    stand = Stand(ScriptedModels(say("one"), say("two"), say("three")))
    async with stand.serving():
        await stand.stream(chat("a"))
        fork = await stand.head("7")
        await stand.stream(chat("b"))
        branch = chat("c", resume_checkpoint_ts=fork, clientCapabilities=named("branch-01"))
        told = await stand.stream(branch)
        end = await stand.head("7")
        again = await stand.stream(branch)
        assert await stand.head("7") == end
    assert (told.error, again.error) == (None, None)
    assert [entry["content"] for entry in again.log()] == ["a", "one", "c", "three"]


def named(start_id: str) -> list[str]:
    return ["action_memory=memory-1", f"start_id={start_id}"]


@pytest.mark.parametrize("wrong", [("c9", "fly", "{}"), ("c9", "read_file", "{}")])
async def test_a_batch_with_a_call_that_cannot_be_made_runs_nothing(
    wrong: tuple[str, str, str],
) -> None:
    write = ("c1", "create_file_with_contents", '{"file_path":"a.py","contents":"x"}')
    stand, told = await one(ScriptedModels(use(write, wrong), WRITE))
    # Nobody was asked about a call that would not have run; the model asks again without the other.
    assert told.work == []
    assert told.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    first, second = stand.models.prompt().messages[-1].parts
    assert isinstance(first, ToolResult)
    assert isinstance(second, ToolResult)
    assert first.failed
    assert "another call of the same answer" in first.text
    assert second.failed
    assert "another call" not in second.text
