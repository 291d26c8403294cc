"""Prune, over ten thousand random histories: what is kept reads as before, the rest is gone.

HISTORIES says how many, where that many were pruned already.
"""

import asyncio
import os
from collections.abc import Sequence
from random import Random

import pytest
from sqlalchemy import Connection, insert, select

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database, open_database
from isthmus.adapters.stores.tables import checkpoint_blobs, checkpoint_writes, checkpoints
from isthmus.core.checkpoint import CheckpointQuery, PendingWrites, StepKey
from isthmus.platform.checkpoints import values
from isthmus.platform.prune import Step, unreachable
from tests.support.histories import History, Row, rows
from tests.support.postgres import fresh_schema
from tests.support.servers import Server

TABLES = {table.name: table for table in (checkpoints, checkpoint_blobs, checkpoint_writes)}
HISTORIES = int(os.environ.get("HISTORIES", "10000"))
SEEDS = range(12)
OF_A_SEED = HISTORIES * 2 // 25
ON_POSTGRES = HISTORIES // 25
AT_ONCE = 50


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_is_pruned_the_rest_reads_as_before(seed: int) -> None:
    async with open_database("sqlite://") as database:
        await prune_many(database, seed, OF_A_SEED)


async def test_whatever_is_pruned_on_postgres_the_rest_reads_as_before(postgres: Server) -> None:
    async with fresh_schema(postgres) as url, open_database(url) as database:
        await prune_many(database, len(SEEDS), ON_POSTGRES)


async def prune_many(database: Database, seed: int, count: int) -> None:
    histories = [History(str(n), Random(f"{seed} {n}")) for n in range(count)]  # noqa: S311 - no secret
    for history in histories:
        history.grow(history.random.randint(1, 15))
    await fill(database, histories)
    store = SqlCheckpointStore(database)
    for begin in range(0, count, AT_ONCE):
        async with asyncio.TaskGroup() as group:
            for number, history in enumerate(histories[begin : begin + AT_ONCE]):
                group.create_task(prune_one(store, history, by_reach=number % 2 == 0))
    await check_rubbish(database, histories)


async def prune_one(store: SqlCheckpointStore, history: History, *, by_reach: bool) -> None:
    gone = unreachable(steps(history)) if by_reach else any_of(history)
    expected = history.take_out(gone)
    assert await store.prune(history.thread_id, gone) == expected
    if by_reach:
        check_reach(history)
        assert unreachable(steps(history)) == []
    await check(store, history)
    if history.random.random() < 0.2:
        await go_on(store, history)
        await check(store, history)


async def fill(database: Database, histories: Sequence[History]) -> None:
    def work(connection: Connection) -> None:
        found: dict[str, list[Row]] = {name: [] for name in TABLES}
        for history in histories:
            for name, row in rows(history):
                found[name].append(row)
        for name, table in TABLES.items():
            connection.execute(insert(table), found[name])

    await database.write(work)


def steps(history: History) -> list[Step]:
    return [
        Step(ns, step, history.parent(made), begins=made.source != "loop", waits=made.waits)
        for (ns, step), made in history.left().items()
    ]


def any_of(history: History) -> list[StepKey]:
    """Any of the checkpoints, the newest among them, and one that nobody ever wrote."""
    share = history.random.random()
    named = [key for key in history.made if history.random.random() < share]
    return [*named, ("", "unheard of")]


async def go_on(store: SqlCheckpointStore, history: History) -> None:
    """What comes after a prune is built upon what it left, and more may be pruned then."""
    for _ in range(2):
        ns = history.random.choice([ns for ns, _ in history.newest()])
        stored = history.step(ns).stored
        await store.put(stored)
        await store.put_writes(PendingWrites(stored.thread, stored.checkpoint_id, stored.writes))
    gone = any_of(history)
    history.take_out(gone)
    await store.prune(history.thread_id, gone)


async def check(store: SqlCheckpointStore, history: History) -> None:
    page = await store.page(CheckpointQuery(history.thread_id, None, limit=100))
    left = history.left()
    found = {(stored.thread.ns, stored.checkpoint_id): stored for stored in page.items}
    assert found.keys() == left.keys()
    for key, stored in found.items():
        made = left[key]
        assert values(stored) == made.state
        assert (stored.header, stored.metadata) == (made.stored.header, made.stored.metadata)
        assert stored.refs == made.stored.refs
        assert stored.parent_id == history.parent(made)
        assert sorted(stored.writes, key=repr) == sorted(made.stored.writes, key=repr)


def check_reach(history: History) -> None:
    """Every place that a user, or a recovery, may go back to is still there."""
    parents = {(ns, made.stored.parent_id) for (ns, _), made in history.made.items()}
    oldest = {ns: (ns, step) for ns, step in reversed(history.made)}.values()
    for (ns, step), made in history.made.items():
        if (ns, step) in oldest or (ns, step) not in parents or made.waits:
            assert (ns, step) not in history.out
        if made.source != "loop":
            assert not {(ns, step), (ns, made.stored.parent_id)} & history.out


async def check_rubbish(database: Database, histories: Sequence[History]) -> None:
    """Nothing is stored that nobody can read."""
    blob, write = checkpoint_blobs.c, checkpoint_writes.c
    blobs = select(blob.thread_id, blob.ns, blob.channel, blob.grp, blob.seq)
    writes = select(write.thread_id, write.ns, write.checkpoint_id).distinct()

    def work(connection: Connection) -> tuple[set[object], set[object]]:
        kept, pending = connection.execute(blobs).all(), connection.execute(writes).all()
        return set(map(tuple, kept)), set(map(tuple, pending))

    kept, pending = await database.read(work)
    assert kept == {key for history in histories for key in history.needed()}
    assert pending <= {(each.thread_id, *key) for each in histories for key in each.left()}
