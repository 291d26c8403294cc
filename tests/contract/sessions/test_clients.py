"""What real clients rely on: ids, indexes, growing text, decisions, stops."""

import json
from typing import Any

import pytest

from isthmus.contract.contract_pb2 import Approval
from isthmus.core.checkpoint import PendingWrites
from isthmus.core.errors import Invalid, UpstreamFailed
from isthmus.core.lease import Lease
from isthmus.core.workflow import Status, StatusEvent
from tests.support.memory_store import MemoryCheckpoints, MemoryWorkflows
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import Stand, Told, chat, stop

APPROVE = Approval(approval=Approval.Approved())
NAMED = Approval(approval=Approval.Approved(tool_name="mkdir", tool_args_json='{"x":1}'))
REJECT = Approval(rejection=Approval.Rejected())
TWO = use(
    ("c1", "mkdir", '{"directory_path":"a"}'),
    ("c2", "create_file_with_contents", '{"file_path":"a/b","contents":""}'),
)


def logs(told: Told) -> list[list[dict[str, Any]]]:
    return [told.log(number) for number in range(len(told.notices))]


def moves(stand: Stand) -> list[StatusEvent]:
    assert isinstance(stand.workflows, MemoryWorkflows)
    return stand.workflows.moves


@pytest.mark.parametrize("approval", [APPROVE, NAMED])
async def test_i7_49_an_approval_decides_every_pending_call_and_the_goal_is_ignored(
    approval: Approval,
) -> None:
    stand = Stand(ScriptedModels(TWO, say("Made.")))
    async with stand.serving():
        asked = await stand.stream(chat("make"))
        told = await stand.stream(chat("make", approval=approval, preapproved_tools=["mkdir"]))
    assert [e["message_type"] for e in asked.log()] == ["user", "request", "request"]
    assert told.error is None
    assert {a.WhichOneof("action") for a in told.work} == {"mkdir", "runWriteFile"}
    assert [e["content"] for e in told.log() if e["message_type"] == "user"] == ["make"]
    assert "request" not in told.kinds
    assert len(stand.models.calls) == 2


async def test_i7_49_a_rejection_goes_on_without_the_calls() -> None:
    stand = Stand(ScriptedModels(TWO, say("Fine.")))
    async with stand.serving():
        await stand.stream(chat("make"))
        told = await stand.stream(chat("make", approval=REJECT))
    assert told.work == []
    assert told.kinds == ["user", "tool", "tool", "agent"]
    assert told.statuses[-1] == "INPUT_REQUIRED"


async def test_i7_63_an_approval_without_a_decision_decides_nothing() -> None:
    stand = Stand(ScriptedModels(TWO, say("Fine.")))
    async with stand.serving():
        await stand.stream(chat("make"))
        nothing = await stand.stream(chat("", approval=Approval()))
        record = await stand.workflows.get("7")
        goal = await stand.stream(chat("leave it", approval=Approval()))
    assert isinstance(nothing.error, Invalid)
    assert record.status is Status.TOOL_CALL_APPROVAL_REQUIRED
    assert goal.work == []
    assert goal.kinds == ["user", "tool", "tool", "user", "agent"]


class Forgetful(MemoryCheckpoints):
    """A server that was lost between a pause's checkpoint and its pending write."""

    lost = True

    async def put_writes(self, writes: PendingWrites, lease: Lease | None = None) -> None:
        if not self.lost:
            await super().put_writes(writes, lease)


@pytest.mark.parametrize(("approval", "actions"), [(APPROVE, 2), (REJECT, 0)])
async def test_a_pause_that_was_only_half_stored_can_be_decided(
    approval: Approval, actions: int
) -> None:
    store = Forgetful()
    stand = Stand(ScriptedModels(TWO, say("Well.")), checkpoints=store)
    async with stand.serving():
        await stand.stream(chat("make"))
        store.lost = False
        told = await stand.stream(chat(approval=approval))
    assert told.error is None
    assert len(told.work) == actions
    assert told.statuses[-1] == "INPUT_REQUIRED"


async def test_i7_50_ids_are_unique_text_grows_and_indexes_stay() -> None:
    """Every notice of a session with tools, approvals, a rejection and blank beginnings."""
    same = use(("same", "read_file", '{"file_path":"a"}'), text="  \n")
    lines = (
        say("  ", "\n", "One", " and ", "more."),
        same,
        say(*"letters"),
        same,
        TWO,
        say("Done."),
        TWO,
        say("Left."),
    )
    turns = [
        chat("a"),
        chat("b"),
        chat("c"),
        chat(approval=APPROVE),
        chat("d"),
        chat(approval=REJECT),
    ]
    stand = Stand(ScriptedModels(*lines))
    async with stand.serving():
        told = [await stand.stream(turn) for turn in turns]
    assert [one.error for one in told] == [None] * len(turns)
    ids: list[str] = []
    texts: dict[str, str] = {}
    for log in (log for one in told for log in logs(one)):
        for place, entry in enumerate(log):
            if place == len(ids):
                ids.append(entry["message_id"])
            assert ids[place] == entry["message_id"]
            if entry["message_type"] == "agent":
                assert entry["content"].startswith(texts.get(entry["message_id"], ""))
                texts[entry["message_id"]] = entry["content"]
    assert len(set(ids)) == len(ids)
    assert len(ids) == len(told[-1].log())


async def test_the_first_notice_of_a_stream_holds_what_is_known_already() -> None:
    stand = Stand(ScriptedModels(say("one"), say("two")))
    async with stand.serving():
        first = await stand.stream(chat("a"))
        second = await stand.stream(chat("b"))
    assert first.log(0) == []
    assert second.statuses[0] == "RUNNING"
    assert second.log(0) == first.log()


@pytest.mark.parametrize("reason", ["USER_ACTION_TRIGGERED_STOP", "WORKHORSE_WEBSOCKET_CLOSE_1000"])
async def test_i7_51_a_stop_and_then_another_turn(reason: str) -> None:
    stand = Stand(ScriptedModels(use(("c", "list_dir", '{"directory":"."}')), say("Later.")))
    async with stand.serving():
        told = await stand.stream(
            chat("a"), lambda _: [stop(reason), stop("WORKHORSE_WEBSOCKET_CLOSE_1000")]
        )
        stopped = (await stand.workflows.get("7")).status
        again = await stand.stream(chat("b"))
    assert (told.error, told.statuses.count("STOPPED")) == (None, 1)
    assert stopped is Status.STOPPED
    assert moves(stand) == [
        *(StatusEvent.START, StatusEvent.STOP, StatusEvent.RETRY, StatusEvent.REQUIRE_INPUT)
    ]
    assert again.kinds == ["user", "user", "agent"]


async def test_i7_64_a_client_that_closes_on_an_action_leaves_a_session_that_goes_on() -> None:
    stand = Stand(ScriptedModels(use(("c", "list_dir", '{"directory":"."}')), say("Later.")))
    async with stand.serving():
        await stand.stream(chat("a"), lambda _: stop("WORKHORSE_WEBSOCKET_CLOSE_1000"))
        told = await stand.stream(chat("b"))
    assert told.error is None
    assert told.statuses[-1] == "INPUT_REQUIRED"


async def test_i7_44_a_failure_is_shown_before_the_stream_ends() -> None:
    stand = Stand(ScriptedModels([UpstreamFailed("no", status=501)]))
    async with stand.serving():
        told = await stand.stream(chat("a"))
    assert told.statuses[-1] == "FAILED"
    assert told.log()[-1]["status"] == "failure"


async def test_the_history_that_a_client_sends_along_is_taken_once() -> None:
    said = {"category": "conversation", "content": "Before: 42.", "metadata": '{"role":"user"}'}
    system = {"category": "system_prompt", "content": "Be kind.", "metadata": "{}"}
    stand = Stand(ScriptedModels(say("one"), say("two")))
    async with stand.serving():
        await stand.stream(chat("a", additional_context=[said, system]))
        told = await stand.stream(chat("b", additional_context=[said, system]))
    assert str(stand.models.prompt().messages).count("Before: 42.") == 1
    assert json.dumps(told.log()).count("Before: 42.") == 1
