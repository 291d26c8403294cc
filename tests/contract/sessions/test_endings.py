"""How streams end before their turn does: gone clients, killed servers, drains, time limits."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    HeartbeatRequest,
    HttpResponse,
)
from isthmus.core.checkpoint import PendingWrites, StoredCheckpoint
from isthmus.core.errors import (
    ClientGone,
    Interrupted,
    Invalid,
    LimitExceeded,
    StoreDown,
    Unavailable,
    UpstreamFailed,
)
from isthmus.core.events import SessionEnded
from isthmus.core.identity import ClientInfo
from isthmus.core.lease import Lease
from isthmus.core.messages import Text, ToolResult
from isthmus.core.ports import CheckpointStore, WorkflowStore
from isthmus.core.session_facts import CheckpointWritten
from isthmus.core.workflow import Status, StatusEvent, Workflow
from tests.support.framed import bare
from tests.support.memory_store import MemoryCheckpoints, MemoryWorkflows
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import CALLER, Stand, Told, chat, feed, stop

LOOK = use(("c", "list_dir", '{"directory":"."}'), text="I look.")


def moves(stand: Stand) -> list[StatusEvent]:
    assert isinstance(stand.workflows, MemoryWorkflows)
    return stand.workflows.moves


async def until_asked(stand: Stand, goal: str = "go") -> None:
    """A client that leaves in the middle of a tool call."""
    queue: asyncio.Queue[ClientEvent | None] = asyncio.Queue()
    queue.put_nowait(ClientEvent(startRequest=chat(goal)))
    async with aclosing(stand.host.open(CALLER, ClientInfo(), feed(queue))) as actions:
        async for action in actions:
            if not action.HasField("newCheckpoint"):
                break


async def test_a_client_that_vanishes_drops_the_record_and_may_retry() -> None:
    stand = Stand(ScriptedModels(LOOK, say("done")))
    async with stand.serving():
        await until_asked(stand)
        assert (await stand.workflows.get("7")).status is Status.FAILED
        told = await stand.stream(chat(""))
    assert moves(stand) == [
        StatusEvent.START,
        StatusEvent.DROP,
        StatusEvent.RETRY,
        StatusEvent.REQUIRE_INPUT,
    ]
    assert [e["content"] for e in told.log()] == ["go", "I look.", "List .", "done"]
    assert [fact.outcome for fact in stand.sink.of(SessionEnded)] == ["aborted", "waiting"]


async def test_a_half_closed_stream_is_a_vanished_client() -> None:
    stand = Stand(ScriptedModels(LOOK, say("done")))
    async with stand.serving():
        told = await stand.stream([ClientEvent(startRequest=chat("go"))])
    assert isinstance(told.error, ClientGone)
    assert (await stand.workflows.get("7")).status in (Status.FAILED, Status.CREATED)


async def killed(models: ScriptedModels, workflows: WorkflowStore, store: CheckpointStore) -> None:
    """A server that dies in the middle of a tool call: nothing of it runs any more."""
    stand = Stand(models, workflows=workflows, checkpoints=store)
    async with stand.serving():
        asked = asyncio.Event()

        def hold(_: Action) -> None:
            asked.set()

        async with asyncio.TaskGroup() as group:
            client = group.create_task(stand.stream(chat("go"), hold))
            await asked.wait()
            await stand.host.drain(0.0)
            await asyncio.wait({client})


@pytest.mark.parametrize(("goal", "last"), [("", "List ."), ("and then?", "and then?")])
async def test_a_killed_session_goes_on_from_its_last_checkpoint(goal: str, last: str) -> None:
    dead = Stand(ScriptedModels(LOOK))
    await killed(dead.models, dead.workflows, dead.checkpoints)
    assert (await dead.workflows.get("7")).status is Status.RUNNING
    stand = Stand(
        ScriptedModels(say("done")), workflows=dead.workflows, checkpoints=dead.checkpoints
    )
    async with stand.serving():
        told = await stand.stream(chat(goal))
    assert told.error is None
    assert [e["content"] for e in told.log()] == ["go", "I look.", last, "done"]
    parts = stand.models.prompt().messages[-1].parts
    assert isinstance(parts[0], ToolResult)
    if goal:
        assert (parts[0].failed, parts[1]) == (True, Text(goal))
    else:
        assert bare(parts[0].text) == "done: listDirectory"


async def test_a_drain_ends_a_session_at_its_next_step_to_go_on_elsewhere() -> None:
    stand = Stand(ScriptedModels(LOOK, say("done")))
    drained: list[asyncio.Task[None]] = []
    async with stand.serving(), asyncio.TaskGroup() as group:

        def drain(_: Action) -> str:
            drained.append(group.create_task(stand.host.drain(5.0)))
            return "files"

        told = await stand.stream(chat("go"), drain)
        refused = await stand.stream(chat("x", "8"))
    assert isinstance(told.error, Interrupted)
    assert isinstance(refused.error, Unavailable)
    assert moves(stand) == [StatusEvent.START]
    other = Stand(
        ScriptedModels(say("done")), workflows=stand.workflows, checkpoints=stand.checkpoints
    )
    async with other.serving():
        again = await other.stream(chat(""))
    assert again.work == []
    assert [e["content"] for e in again.log()] == ["go", "I look.", "List .", "done"]


class Outage:
    """Stores that are down between two moves of the test's hand."""

    def __init__(self) -> None:
        self.down = False
        self.workflows = _Records(self)
        self.checkpoints = _Steps(self)

    def check(self) -> None:
        """Raise what a store raises."""
        if self.down:
            raise StoreDown("The disk of the database is full.")


class _Records(MemoryWorkflows):
    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self._outage = outage

    async def move(
        self, workflow_id: str, event: StatusEvent, lease: Lease | None = None
    ) -> Workflow:
        self._outage.check()
        return await super().move(workflow_id, event, lease)


class _Steps(MemoryCheckpoints):
    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self._outage = outage

    async def put(
        self, checkpoint: StoredCheckpoint, lease: Lease | None = None, calls: Sequence[str] = ()
    ) -> None:
        self._outage.check()
        await super().put(checkpoint, lease, calls)

    async def put_writes(self, writes: PendingWrites, lease: Lease | None = None) -> None:
        self._outage.check()
        await super().put_writes(writes, lease)


async def test_a_store_that_is_down_pauses_a_session_which_goes_on_when_it_is_back() -> None:
    outage = Outage()
    stand = Stand(
        ScriptedModels(LOOK, say("lost"), say("done")),
        workflows=outage.workflows,
        checkpoints=outage.checkpoints,
    )

    def fail(_: Action) -> str:
        outage.down = True
        return "files"

    async with stand.serving():
        told = await stand.stream(chat("go"), fail)
        assert isinstance(told.error, StoreDown)
        assert told.statuses[-1] == "PAUSED"
        last = told.log()[-1]
        assert "The disk of the database is full. The session pauses" in last["content"]
        # The record could not be moved, and nobody claims that it was.
        assert (await stand.workflows.get("7")).status is Status.RUNNING
        refused = await stand.stream(chat(""))
        assert isinstance(refused.error, StoreDown)
        outage.down = False
        again = await stand.stream(chat(""))
    assert again.error is None
    assert (await stand.workflows.get("7")).status is Status.INPUT_REQUIRED
    assert [e["content"] for e in again.log()][:2] == ["go", "I look."]
    outcomes = [fact.outcome for fact in stand.sink.of(SessionEnded)]
    assert (outcomes[0], outcomes[-1]) == ("paused", "waiting")


async def test_a_stop_by_a_failed_ping_ends_normally_and_moves_nothing() -> None:
    stand = Stand(ScriptedModels(LOOK))
    async with stand.serving():
        told = await stand.stream(chat("go"), lambda _: stop("WORKHORSE_WEBSOCKET_PING_FAILED"))
    assert told.error is None
    assert moves(stand) == [StatusEvent.START]


async def test_a_client_that_does_not_answer_is_told_to_the_model() -> None:
    stand = Stand(ScriptedModels(LOOK, say("never mind"))).limited(action_s=0.05)
    async with stand.serving():
        told = await stand.stream(chat("go"), lambda _: None)
    assert told.error is None
    result = stand.models.prompt().messages[-1].parts[0]
    assert isinstance(result, ToolResult)
    assert "did not answer in time" in result.text


async def test_a_session_that_takes_too_long_is_ended() -> None:
    stand = Stand(ScriptedModels(LOOK)).limited(session_s=0.1)
    async with stand.serving():
        told = await stand.stream(chat("go"), lambda _: None)
    assert isinstance(told.error, LimitExceeded)
    assert told.statuses[-1] == "FAILED"
    assert "`platform.session_s`" in told.log()[-1]["content"]
    assert moves(stand)[-1] is StatusEvent.DROP


async def test_more_sessions_than_allowed_are_refused() -> None:
    stand = Stand(ScriptedModels(LOOK, say("done"))).limited(max_sessions=1)
    second: list[Told] = []
    async with stand.serving(), asyncio.TaskGroup() as group:
        asked = asyncio.Event()

        def hold(_: Action) -> None:
            asked.set()

        first = group.create_task(stand.stream(chat("go"), hold))
        await asked.wait()
        second.append(await stand.stream(chat("hi", "8")))
        first.cancel()
        await asyncio.wait({first})
        second.append(await stand.stream(chat("hi", "8")))
    assert isinstance(second[0].error, LimitExceeded)
    assert second[1].error is None
    assert stand.host.live == 0


async def test_a_bug_in_one_session_leaves_the_others_alone_and_tells_nothing() -> None:
    stand = Stand(ScriptedModels([ZeroDivisionError("internal words")], say("fine")))
    async with stand.serving():
        with pytest.raises(ZeroDivisionError):
            await stand.stream(chat("go"))
        told = await stand.stream(chat("hi", "8"))
    assert (await stand.workflows.get("7")).status is Status.FAILED
    assert told.error is None


async def test_an_answer_of_the_wrong_kind_is_read_all_the_same() -> None:
    def http(action: Action) -> ActionResponse:
        return ActionResponse(requestID=action.requestID, httpResponse=HttpResponse(body="a.py"))

    stand = Stand(ScriptedModels(LOOK, say("ok")))
    async with stand.serving():
        await stand.stream(chat("go"), http)
    result = stand.models.prompt().messages[-1].parts[0]
    assert isinstance(result, ToolResult)
    assert (bare(result.text), result.failed) == ("a.py", False)


@pytest.mark.parametrize("workflow_id", ["abc", "07", "-1", "1" * 30, "../1"])
async def test_an_id_that_is_no_number_is_invalid(workflow_id: str) -> None:
    stand = Stand(ScriptedModels(say("x")))
    async with stand.serving():
        told = await stand.stream(chat("hi", workflow_id))
    assert isinstance(told.error, Invalid)
    assert told.error.detail.startswith("Invalid workflow ID")


async def test_bytes_a_step_do_not_grow_with_the_history() -> None:
    line = use(("c", "read_file", '{"file_path":"a.py"}'), text="Reading on.")
    stand = Stand(ScriptedModels(*[line] * 100, say("done")))
    async with stand.serving():
        told = await stand.stream(chat("go"), lambda _: "text " * 100)
    assert told.error is None
    sizes = [fact.size_bytes for fact in stand.sink.of(CheckpointWritten)]
    early, late = sum(sizes[20:40]), sum(sizes[180:200])
    assert late < early * 1.05


@pytest.mark.parametrize("heart", [True, False])
async def test_a_client_that_falls_silent_is_gone(heart: bool) -> None:
    """Once it sent a heartbeat the shorter limit counts, and before that the longer one."""
    limits = {"heartbeat_s": 0.05, "idle_s": 60.0} if heart else {"heartbeat_s": 0, "idle_s": 0.05}
    beat = ClientEvent(heartbeat=HeartbeatRequest(timestamp=1))
    stand = Stand(ScriptedModels(LOOK, say("never mind"))).limited(**limits)
    async with stand.serving():
        told = await stand.stream(
            chat("go", preapproved_tools=["list_dir"]), lambda _: beat if heart else None
        )
    assert isinstance(told.error, ClientGone)
    assert (await stand.workflows.get("7")).status is Status.FAILED


async def test_a_quick_action_has_a_limit_of_its_own() -> None:
    stand = Stand(ScriptedModels(LOOK, say("never mind"))).limited(quick_action_s=0.05)
    async with stand.serving():
        told = await stand.stream(chat("go", preapproved_tools=["list_dir"]), lambda _: None)
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert any("did not answer in time" in str(entry) for entry in told.log())


async def test_a_failure_is_named_in_the_notice_as_well() -> None:
    stand = Stand(ScriptedModels([UpstreamFailed("no", status=400)]))
    async with stand.serving():
        told = await stand.stream(chat("go"))
    last = told.notices[-1]
    assert last.status == "FAILED"
    assert list(last.errors) == [told.log()[-1]["content"]]
    assert [list(notice.errors) for notice in told.notices[:-1]] == [[]] * (len(told.notices) - 1)
