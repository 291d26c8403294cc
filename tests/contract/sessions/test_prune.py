"""Sessions that were pruned go on as if they had not been; those that run are left alone."""

import asyncio
import copy
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.leases import SqlLeases
from isthmus.adapters.stores.ledger import SqlLedger
from isthmus.adapters.stores.tables import checkpoints
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.app.prune import prune_old
from isthmus.contract.contract_pb2 import Action, Approval
from isthmus.core.checkpoint import CheckpointQuery, StepKey, Thread
from isthmus.core.errors import Conflict, Interrupted, NotFound, StoreDown
from isthmus.core.events import Noted
from isthmus.core.lease import Lease
from isthmus.core.messages import Text
from isthmus.core.page import Page
from isthmus.core.workflow import StatusEvent, Workflow, WorkflowQuery
from isthmus.platform.lease import LAPSE_S
from isthmus.platform.owner import Shared
from isthmus.platform.prune import Pruned, Pruning
from tests.contract.sessions.test_flows import PLANNED, start
from tests.contract.stores.samples import stolen
from tests.support.clock import HandClock
from tests.support.framed import bare
from tests.support.memory_store import (
    MemoryCheckpoints,
    MemoryLeases,
    MemoryLedger,
    MemoryWorkflows,
)
from tests.support.scripted_models import Line, ScriptedModels, say, use
from tests.support.session_client import Reply, Stand, answer, chat, stop
from tests.support.sink import MemorySink

READ = use(("c1", "read_file", '{"file_path":"a.py"}'))
WRITE = use(("c2", "create_file_with_contents", '{"file_path":"a.py","contents":"x"}'))
APPROVE = Approval(approval=Approval.Approved())
READS = ["read_file"]
LOOK = ("c1", "read_file", '{"file_path":"a"}')


class Place:
    """A host on a database, and what prunes there."""

    def __init__(self, database: Database, *turns: Line) -> None:
        self.clock = HandClock()
        self.store = SqlCheckpointStore(database)
        self.leases = SqlLeases(database)
        self.workflows = SqlWorkflowStore(database, self.clock)
        self.stand = Stand(
            ScriptedModels(*turns),
            workflows=self.workflows,
            checkpoints=self.store,
            leases=self.leases,
        )
        shared = Shared(self.leases, SqlLedger(database), self.workflows)
        self.pruning = Pruning(shared, self.store, "pruner")

    async def steps(self, workflow_id: str = "7") -> int:
        query = CheckpointQuery(workflow_id, None, limit=100, with_blobs=False)
        return len((await self.store.page(query)).items)


async def test_a_pruned_conversation_goes_on_and_forks_from_where_its_turns_ended(
    database: Database,
) -> None:
    place = Place(database, READ, READ, say("one"), WRITE, say("two"), say("three"), say("four"))
    stand = place.stand
    async with stand.serving():
        await stand.stream(chat("first", preapproved_tools=READS))
        end = await stand.head("7")
        await stand.stream(chat("second"))
        pause = await stand.head("7")
        await stand.stream(chat(approval=APPROVE))
        before, head = await place.steps(), await place.store.get(Thread("7"), None)
        would = await place.pruning.one("7", dry=True)
        assert await place.steps() == before
        assert await place.pruning.one("7") == would
        assert 0 < would.steps == before - await place.steps()
        after = await place.store.get(Thread("7"), None)
        assert head is not None
        assert after is not None
        assert (after.refs, after.blobs, after.header) == (head.refs, head.blobs, head.header)
        assert await place.pruning.one("7") == Pruned("7", 0)
        forked = await stand.stream(chat("other", resume_checkpoint_ts=end))
        decided = await stand.stream(chat(approval=APPROVE, resume_checkpoint_ts=pause))
    assert [entry["content"] for entry in forked.log() if entry["message_type"] != "tool"] == [
        "first",
        "one",
        "other",
        "three",
    ]
    assert [action.runWriteFile.filepath for action in decided.work] == ["a.py"]
    assert decided.log()[-1]["content"] == "four"


async def test_a_session_that_runs_is_not_pruned(database: Database) -> None:
    place = Place(database, READ, say("done"))
    async with place.stand.serving(), asyncio.TaskGroup() as group:
        asked = asyncio.Event()

        def hold(_: Action) -> None:
            asked.set()

        running = group.create_task(place.stand.stream(chat("go", preapproved_tools=READS), hold))
        await asked.wait()
        with pytest.raises(Conflict, match="running"):
            await place.pruning.one("7")
        # Its record may say anything: who holds it is what counts.
        await place.workflows.move("7", StatusEvent.STOP)
        with pytest.raises(Conflict, match="runs"):
            await place.pruning.one("7")
        assert [each async for each in place.pruning.idle(place.clock.utc())] == []
        running.cancel()


async def test_an_unknown_session_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound):
        await Place(database).pruning.one("7")


async def test_who_prunes_holds_the_session_and_lives_as_long_as_it_takes(
    database: Database,
) -> None:
    place = Place(database, READ, READ, say("one"))
    held: list[tuple[Mapping[str, int], Mapping[str, int]]] = []

    class Slow(SqlCheckpointStore):
        async def prune(
            self, thread_id: str, gone: Sequence[StepKey], lease: Lease | None = None
        ) -> int:
            first = await place.leases.beats({})
            await asyncio.sleep(LAPSE_S / 2)
            held.append((first, await place.leases.beats({})))
            # Somebody thinks us dead all the same.
            await stolen(place.leases, thread_id, "pruner", "other")
            return await super().prune(thread_id, gone, lease)

    async with place.stand.serving():
        await place.stand.stream(chat("first", preapproved_tools=READS))
    before = await place.steps()
    shared = Shared(place.leases, SqlLedger(database), place.workflows)
    with pytest.raises(Interrupted):
        await Pruning(shared, Slow(database), "pruner").one("7")
    assert await place.steps() == before
    ((first, later),) = held
    assert later["pruner"] > first["pruner"]
    assert "pruner" not in await place.leases.beats({})


async def test_sessions_that_nobody_touched_are_pruned_in_their_turn(database: Database) -> None:
    place = Place(database, *[READ, READ, say("done")] * 3)
    times: list[datetime] = []
    async with place.stand.serving():
        for workflow_id in ("7", "8", "9"):
            times.append(place.clock.utc())
            await place.stand.stream(chat("go", workflow_id, preapproved_tools=READS))
            place.clock.advance(3_600.0)
    minute = timedelta(minutes=1)
    found = [each async for each in place.pruning.idle(times[2], times[1] - minute, dry=True)]
    assert [each.workflow_id for each in found] == ["8"]
    found = [each async for each in place.pruning.idle(times[2])]
    assert [each.workflow_id for each in found] == ["7", "8"]
    assert all(each.steps for each in found)
    assert [each.steps async for each in place.pruning.idle(times[2])] == [0, 0]
    assert await place.steps("9") > await place.steps("8")


async def test_the_server_prunes_each_hour_and_once_each_session(database: Database) -> None:
    place = Place(database, *[READ, READ, say("done")] * 2)
    sink = MemorySink()
    steps: list[list[int]] = []

    async def pause(seconds: float) -> None:
        steps.append([await place.steps("7"), await place.steps("8")])
        place.clock.advance(seconds)
        if len(steps) == 3:
            raise asyncio.CancelledError

    async with place.stand.serving():
        await place.stand.stream(chat("go", "7", preapproved_tools=READS))
        place.clock.advance(3_600.0)
        await place.stand.stream(chat("go", "8", preapproved_tools=READS))
        place.clock.advance(86_400.0 - 1_800.0)
        before = [await place.steps("7"), await place.steps("8")]
        with pytest.raises(asyncio.CancelledError):
            await prune_old(place.pruning, 1, place.clock, sink, pause)
    assert steps[0] == [steps[2][0], before[1]]
    assert steps[1] == steps[2]
    assert all(left < had for left, had in zip(steps[2], before, strict=True))
    told = [fact for fact in sink.facts if isinstance(fact, Noted)]
    assert [dict(fact.details)["sessions"] for fact in told] == ["1", "1"]


async def test_the_server_tells_when_it_cannot_prune_and_tries_again() -> None:
    sink = MemorySink()
    rounds: list[datetime | None] = []

    class Down(MemoryWorkflows):
        async def page(self, query: WorkflowQuery) -> Page[Workflow]:
            rounds.append(query.updated_after)
            raise StoreDown("down")

    async def pause(_: float) -> None:
        if len(rounds) == 2:
            raise asyncio.CancelledError

    shared = Shared(MemoryLeases(), MemoryLedger(), Down())
    pruning = Pruning(shared, MemoryCheckpoints(), "pruner")
    with pytest.raises(asyncio.CancelledError):
        await prune_old(pruning, 1, HandClock(), sink, pause)
    assert rounds == [None, None]
    assert [fact.level for fact in sink.facts if isinstance(fact, Noted)] == ["warning"] * 2
    await prune_old(pruning, 0, HandClock(), sink, pause)


async def test_a_damaged_session_is_left_out(database: Database) -> None:
    place = Place(database, *[READ, READ, say("done")] * 2)
    async with place.stand.serving():
        for workflow_id in ("7", "8"):
            await place.stand.stream(chat("go", workflow_id, preapproved_tools=READS))
    damaged = update(checkpoints).where(checkpoints.c.thread_id == "7").values(metadata=b"{")
    await database.write(lambda connection: connection.execute(damaged).rowcount)
    place.clock.advance(1.0)
    found = [each async for each in place.pruning.idle(place.clock.utc())]
    assert [each.workflow_id for each in found] == ["8"]
    with pytest.raises(Conflict, match="damaged"):
        await place.pruning.one("7")


async def test_a_stopped_flow_goes_back_to_its_last_question(database: Database) -> None:
    config = copy.deepcopy(PLANNED)
    config["components"][1]["interaction_type"] = "input"
    config["routers"][1] = {"from": "ask", "to": "planner"}
    place = Place(database, say("one"), use(LOOK, text="Looking."), say("two"))
    async with place.stand.serving():
        await place.stand.stream(start(config, "a"))
        await place.stand.stream(start(config, "b"), lambda _: stop("enough"))
        assert (await place.pruning.one("7")).steps > 0
        told = await place.stand.stream(start(config, "c"))
    assert told.error is None
    (part,) = place.stand.models.prompt(2).messages[-1].parts
    assert isinstance(part, Text)
    assert bare(part.text).endswith("user: b\nagent: Looking.\n\nc")
    assert told.statuses[-1] == "INPUT_REQUIRED"


async def test_a_flow_that_was_stopped_before_any_question_begins_anew(database: Database) -> None:
    place = Place(database, use(LOOK), use(LOOK), say("plan"))
    asked: list[Action] = []

    def second(action: Action) -> Reply:
        asked.append(action)
        return stop("enough") if len(asked) == 2 else answer(action)

    async with place.stand.serving():
        await place.stand.stream(start(PLANNED, "a"), second)
        assert (await place.pruning.one("7")).steps > 0
        told = await place.stand.stream(start(PLANNED, "b"))
    assert told.error is None
    assert [entry["content"] for entry in told.log()] == ["b", "plan", "Do plan?"]
