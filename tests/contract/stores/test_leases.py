"""Leases: one holder at a time, and nothing written by whoever comes too late."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, insert

from isthmus.adapters.stores import tables
from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.leases import SqlLeases
from isthmus.adapters.stores.ledger import SqlLedger
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.checkpoint import PendingWrites, Write
from isthmus.core.errors import Interrupted, Unavailable
from isthmus.core.lease import Lease
from isthmus.core.ledger import Sent
from isthmus.core.workflow import NewWorkflow, Status, StatusEvent
from tests.contract.stores.samples import THREAD, checkpoint, stolen, whole
from tests.support.clock import HandClock

AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
SENT = Sent("call-1", 0, "request-1", "runCommand", "client-1")


async def test_one_runner_holds_a_session_until_it_lets_go(database: Database) -> None:
    leases = SqlLeases(database)
    first = await leases.take("7", "a")
    with pytest.raises(Unavailable, match="another server"):
        await leases.take("7", "b")
    other = await leases.take("8", "b")
    await leases.release(first)
    second = await leases.take("7", "b")
    assert (first.fence, second.fence, other.fence) == (1, 2, 1)
    await leases.release(first)
    with pytest.raises(Unavailable):
        await leases.take("7", "a")


async def test_a_client_that_comes_back_takes_its_session_along(database: Database) -> None:
    leases = SqlLeases(database)
    await leases.beats({"a": 1})
    first = await leases.take("7", "a", "laptop")
    for other in ("phone", ""):
        with pytest.raises(Unavailable):
            await leases.take("7", "b", other)
    again = await leases.take("7", "b", "laptop")
    assert again.fence == first.fence + 1
    await leases.release(first)
    assert await leases.reap("a", 1, AT) == []
    with pytest.raises(Unavailable):
        await leases.take("7", "c", "phone")


async def test_a_client_without_a_name_is_no_other_one_without_a_name(database: Database) -> None:
    leases = SqlLeases(database)
    await leases.release(await leases.take("7", "a", "laptop"))
    await leases.take("7", "a")
    for name in ("laptop", ""):
        with pytest.raises(Unavailable):
            await leases.take("7", "b", name)


async def test_the_lapsed_and_the_unknown_lose_what_they_hold(database: Database) -> None:
    leases = SqlLeases(database)
    await leases.take("7", "a")
    assert (await stolen(leases, "7", "a", "b")).fence == 2
    await leases.beats({"a": 5})
    assert await leases.reap("b", 0, AT) == []
    assert set(await leases.beats({})) == {"a"}
    assert (await leases.take("7", "a")).fence == 4


async def test_of_many_who_take_a_session_at_once_one_gets_it(database: Database) -> None:
    leases = SqlLeases(database)
    names = [f"runner-{number}" for number in range(8)]
    takes = (leases.take("7", name) for name in names)
    found = await asyncio.gather(*takes, return_exceptions=True)
    assert [lease for lease in found if isinstance(lease, Lease)] == [
        lease for lease in found if not isinstance(lease, Unavailable)
    ]
    assert sum(isinstance(lease, Lease) for lease in found) == 1


async def test_of_two_who_reap_a_dead_runner_one_is_told(database: Database) -> None:
    leases, workflows = SqlLeases(database), SqlWorkflowStore(database, HandClock())
    # The last ones are no numbers of records here.
    for name in ("1", "2", "3", "4", "9" * 19, "somebody/1"):
        lease = await leases.take(name, "dead")
        if name in {"1", "2", "3"}:
            await workflows.create(NewWorkflow("chat", "g", "u", name))
        if name in {"1", "2"}:
            await workflows.move(name, StatusEvent.START, lease)
    told = await asyncio.gather(leases.reap("dead", 0, AT), leases.reap("dead", 0, AT))
    assert sorted(name for names in told for name in names) == ["1", "2"]
    paused = await workflows.get("1")
    assert (paused.status, paused.updated_at) == (Status.PAUSED, AT)
    assert (await workflows.get("3")).status is Status.CREATED
    with pytest.raises(Interrupted):
        await workflows.move("2", StatusEvent.RESUME, Lease("2", "dead", 1))
    for name in ("1", "4", "9" * 19, "somebody/1"):
        assert (await leases.take(name, "b")).fence == 3


async def test_a_server_may_die_that_held_more_than_one_statement_can_name(
    database: Database,
) -> None:
    held, running = SqlLeases(database), SqlWorkflowStore(database, HandClock())
    await held.take("1", "dead")
    rows = [{"thread_id": str(n), "runner": "dead", "fence": 1} for n in range(2, 40_000)]

    def fill(connection: Connection) -> None:
        connection.execute(insert(tables.leases), rows)

    await database.write(fill)
    await running.create(NewWorkflow("chat", "g", "u", "39999"))
    await running.move("39999", StatusEvent.START)
    assert await held.reap("dead", 0, AT) == ["39999"]


async def test_who_beats_again_is_not_dead(database: Database) -> None:
    leases = SqlLeases(database)
    await leases.beats({"a": 3})
    await leases.take("7", "a")
    assert await leases.reap("a", 2, AT) == ()
    with pytest.raises(Unavailable):
        await leases.take("7", "b")
    await leases.reap("a", 3, AT)
    await leases.take("7", "b")


async def test_beats_are_seen_by_all_and_end_with_the_runner(database: Database) -> None:
    leases = SqlLeases(database)
    assert await leases.beats({}) == {}
    assert await leases.beats({"a": 3}) == {"a": 3}
    assert await leases.beats({"b": 1}) == {"a": 3, "b": 1}
    held = await leases.take("7", "a")
    await leases.leave("a")
    assert await leases.beats({}) == {"b": 1}
    assert (await leases.take("7", "b")).fence == held.fence + 1


async def test_a_late_runner_writes_nothing(database: Database) -> None:
    leases, checkpoints = SqlLeases(database), SqlCheckpointStore(database)
    workflows, ledger = SqlWorkflowStore(database, HandClock()), SqlLedger(database)
    thread = THREAD.thread_id
    await workflows.create(NewWorkflow("chat", "g", "u", "7"))
    late = await leases.take(thread, "a")
    await checkpoints.put(checkpoint(0), late)
    stands = await stolen(leases, thread, "a", "b")
    pending = PendingWrites(THREAD, checkpoint(0).checkpoint_id, (Write("t", 0, "c", b"x"),))
    for attempt in (
        checkpoints.put(checkpoint(1), late),
        checkpoints.put_writes(pending, late),
        ledger.write(late, [SENT]),
        ledger.forget(late, ["call-1"]),
        workflows.move("7", StatusEvent.START, Lease("7", "a", 1)),
    ):
        with pytest.raises(Interrupted, match="another server"):
            await attempt
    assert await checkpoints.get(THREAD, None) == whole(0)
    assert await ledger.read(thread) == []
    assert (await workflows.get("7")).status is Status.CREATED
    await checkpoints.put(checkpoint(1), stands)
    assert await checkpoints.get(THREAD, None) == whole(1)


async def test_a_change_of_hands_waits_for_the_write_that_began_before_it(
    database: Database,
) -> None:
    """Whatever the order in which they meet: never is the newest state behind the new hands."""
    leases, checkpoints = SqlLeases(database), SqlCheckpointStore(database)
    thread = THREAD.thread_id
    lease = await leases.take(thread, "a")
    for number in range(20):
        other = "b" if lease.runner == "a" else "a"
        taken, put = await asyncio.gather(
            stolen(leases, thread, lease.runner, other),
            checkpoints.put(checkpoint(number), lease),
            return_exceptions=True,
        )
        assert isinstance(taken, Lease)
        seen = await checkpoints.get(THREAD, checkpoint(number).checkpoint_id)
        assert (seen is None) == isinstance(put, Interrupted)
        lease = taken


async def test_the_ledger_keeps_what_was_sent_until_a_checkpoint_answers_it(
    database: Database,
) -> None:
    leases, ledger = SqlLeases(database), SqlLedger(database)
    checkpoints = SqlCheckpointStore(database)
    thread = THREAD.thread_id
    lease = await leases.take(thread, "a")
    other = Sent("call-2", 0, "request-2", "mkdir")
    await ledger.write(lease, [SENT, other])
    settled = Sent("call-1", 0, "request-1", "runCommand", "client-1", b"\x00answer")
    await ledger.write(lease, [settled])
    assert await ledger.read(thread) == [settled, other]
    await checkpoints.put(checkpoint(0), lease, ["call-1"])
    assert await ledger.read(thread) == [other]
    await ledger.forget(lease, ["call-2"])
    assert await ledger.read(thread) == []
