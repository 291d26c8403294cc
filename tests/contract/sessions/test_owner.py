"""Processes that share a database: who holds a session, and what becomes of those of the dead."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.leases import SqlLeases
from isthmus.adapters.stores.ledger import SqlLedger
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.checkpoint import StoredCheckpoint
from isthmus.core.errors import Interrupted, Unavailable
from isthmus.core.events import Noted
from isthmus.core.lease import Lease
from isthmus.core.workflow import NewWorkflow, Status, StatusEvent
from isthmus.platform.lease import LAPSE_S
from isthmus.platform.owner import Owner, Shared
from tests.support.clock import HandClock
from tests.support.scripted_models import ScriptedModels, say
from tests.support.session_client import Stand, chat
from tests.support.sink import MemorySink


class Process:
    """One of those that share the database; `clock` is its own."""

    def __init__(self, database: Database, name: str) -> None:
        self.clock, self.sink = HandClock(), MemorySink()
        self.workflows = SqlWorkflowStore(database, self.clock)
        shared = Shared(SqlLeases(database), SqlLedger(database), self.workflows)
        self.owner = Owner(name, shared, self.sink, self.clock)

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[Owner]:
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self.owner.keep())
            yield self.owner
            keeper.cancel()

    async def status(self, expected: Status) -> None:
        async with asyncio.timeout(20):
            while (await self.workflows.get("7")).status is not expected:
                self.clock.advance(LAPSE_S)
                await asyncio.sleep(0.02)


async def begun(process: Process) -> Lease:
    await process.workflows.create(NewWorkflow("chat", "g", "u", "7"))
    lease = await process.owner.hold("7")
    await process.workflows.move("7", StatusEvent.START, lease)
    return lease


async def test_the_session_of_a_dead_process_is_marked_and_taken_over(database: Database) -> None:
    dead, other = Process(database, "dead"), Process(database, "other")
    async with dead.alive():
        lease = await begun(dead)
    async with other.alive() as owner:
        await other.status(Status.PAUSED)
        mine = await owner.hold("7")
        assert mine.fence > lease.fence
        await other.workflows.move("7", StatusEvent.RESUME, mine)
        with pytest.raises(Interrupted):
            await dead.workflows.move("7", StatusEvent.DROP, lease)
    assert "A session lost its server; it can go on." in [
        fact.event for fact in other.sink.of(Noted)
    ]


async def test_every_session_of_a_dead_process_is_free_for_all_that_live(
    database: Database,
) -> None:
    """The one that found it dead keeps none; some have their records at an instance."""
    dead, other, third = (Process(database, name) for name in ("dead", "other", "third"))
    async with dead.alive() as owner:
        await owner.hold("somebody/9")
        await begun(dead)
        await owner.hold("somebody/10")
    async with other.alive():
        await other.status(Status.PAUSED)
        for found in ("7", "somebody/9", "somebody/10"):
            assert (await third.owner.hold(found)).runner == "third"


async def test_a_process_that_ran_nothing_for_a_while_is_not_taken_for_dead(
    database: Database,
) -> None:
    idle, other = Process(database, "idle"), Process(database, "other")
    leases = SqlLeases(database)
    await idle.owner.release(await idle.owner.hold("7"))
    [(_, seen)] = (await leases.beats({})).items()
    idle.clock.advance(LAPSE_S)
    # Another one saw no beat for too long, and strikes it off as it begins again.
    lease = await begun(idle)
    assert await leases.reap("idle", seen, other.clock.utc()) == ()
    await idle.workflows.move("7", StatusEvent.PAUSE, lease)


async def test_a_process_that_ends_lets_go_at_once(database: Database) -> None:
    ending, other = Process(database, "ending"), Process(database, "other")
    await ending.owner.hold("7")
    await ending.owner.leave()
    assert (await other.owner.hold("7")).runner == "other"


async def test_the_session_of_a_living_process_is_waited_for_and_then_refused(
    database: Database,
) -> None:
    first, second = Process(database, "first"), Process(database, "second")
    async with first.alive() as holder, second.alive() as owner:
        lease = await holder.hold("7")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(owner.hold("7"))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            await holder.release(lease)
        assert waiting.result().runner == "second"
        second.clock.advance(60.0)
        with pytest.raises(Unavailable, match="another server"):
            await asyncio.gather(first.owner.hold("7"), _hurry(first))


async def _hurry(process: Process) -> None:
    await asyncio.sleep(0.05)
    process.clock.advance(60.0)


class Frozen(SqlCheckpointStore):
    """A server that stands still before its third write."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.writes, self.stands, self.thaws = 0, asyncio.Event(), asyncio.Event()

    async def put(
        self, checkpoint: StoredCheckpoint, lease: Lease | None = None, calls: Sequence[str] = ()
    ) -> None:
        self.writes += 1
        if self.writes == 3:
            self.stands.set()
            await self.thaws.wait()
        await super().put(checkpoint, lease, calls)


def stand(database: Database, models: ScriptedModels, checkpoints: SqlCheckpointStore) -> Stand:
    leases, clock = SqlLeases(database), HandClock()
    workflows = SqlWorkflowStore(database, clock)
    return Stand(models, workflows=workflows, checkpoints=checkpoints, leases=leases)


async def test_a_server_that_comes_back_to_life_stores_nothing(database: Database) -> None:
    """Frozen for longer than its lease: the other one's turn stands, whole and once."""
    frozen, leases = Frozen(database), SqlLeases(database)
    first = stand(database, ScriptedModels(say("late")), frozen)
    other = stand(database, ScriptedModels(say("in time")), SqlCheckpointStore(database))
    async with first.serving(), other.serving(), asyncio.TaskGroup() as group:
        late = group.create_task(first.stream(chat("go")))
        await frozen.stands.wait()
        for runner, beat in (await leases.beats({})).items():
            await leases.reap(runner, beat, first.clock.utc())
        told = await other.stream(chat("again"))
        frozen.thaws.set()
        again = await other.stream(chat("more"))
    assert told.error is None
    assert isinstance(late.result().error, Interrupted)
    assert (await other.workflows.get("7")).status is Status.INPUT_REQUIRED
    said = [entry["content"] for entry in again.log()]
    assert said == ["go", "again", "in time", "more", "in time"]


async def test_a_client_that_comes_back_elsewhere_goes_on_at_once(database: Database) -> None:
    """The server that it left may live, and hold its session: whatever it does there is too late.

    The clocks of these two stand still: nobody is waited for, or counts as dead.
    """
    frozen, came = Frozen(database), ["action_memory=memory-1"]
    first = stand(database, ScriptedModels(say("late")), frozen)
    other = stand(database, ScriptedModels(say("in time")), SqlCheckpointStore(database))
    async with first.serving(), other.serving(), asyncio.TaskGroup() as group:
        late = group.create_task(first.stream(chat("go", clientCapabilities=came)))
        await frozen.stands.wait()
        told = await other.stream(chat("", clientCapabilities=came))
        frozen.thaws.set()
    assert told.error is None
    assert isinstance(late.result().error, Interrupted)
    assert [entry["content"] for entry in told.log()] == ["go", "in time"]


async def test_another_client_of_the_same_user_waits(database: Database) -> None:
    frozen = Frozen(database)
    first = stand(database, ScriptedModels(say("first")), frozen)
    other = stand(database, ScriptedModels(say("second")), SqlCheckpointStore(database))
    async with first.serving(), other.serving(), asyncio.TaskGroup() as group:
        running = group.create_task(
            first.stream(chat("go", clientCapabilities=["action_memory=memory-1"]))
        )
        await frozen.stands.wait()
        waiting = group.create_task(
            other.stream(chat("more", clientCapabilities=["action_memory=memory-2"]))
        )
        await asyncio.sleep(0.3)
        assert not waiting.done()
        frozen.thaws.set()
    assert running.result().error is None
    assert [entry["content"] for entry in waiting.result().log()][-2:] == ["more", "second"]
