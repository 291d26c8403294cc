"""Prune of the CheckpointStore port, on each kind of database: long threads, cuts, company."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.leases import SqlLeases
from isthmus.adapters.stores.prune import BATCH
from isthmus.core.checkpoint import CheckpointQuery, StoredCheckpoint, Thread
from isthmus.core.errors import Interrupted, Unavailable
from tests.contract.stores.samples import THREAD, checkpoint, step_id, stolen, whole

Result = TypeVar("Result")
LONG = 2 * BATCH + 50


class Frail(Database):
    """A database that goes down after so many transactions."""

    def __init__(self, database: Database, lasts: int) -> None:
        super().__init__(database._driver)
        self._lasts = lasts

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        self._lasts -= 1
        if self._lasts < 0:
            raise Unavailable("down")
        return await super().write(work)


async def put(store: SqlCheckpointStore, steps: int, thread: Thread = THREAD) -> None:
    for step in range(steps):
        await store.put(checkpoint(step, thread=thread))


async def every(store: SqlCheckpointStore) -> list[StoredCheckpoint]:
    found: list[StoredCheckpoint] = []
    query = CheckpointQuery("7", None, limit=100)
    while True:
        page = await store.page(query)
        found += page.items
        if not page.more:
            return found
        query = replace(query, before_id=found[-1].checkpoint_id)


def but(*kept: int, of: int = LONG) -> list[tuple[str, str]]:
    return [("", step_id(step)) for step in range(of) if step not in kept]


async def test_a_long_thread_is_pruned_in_parts_and_its_links_lead_over_them_all(
    database: Database,
) -> None:
    store = SqlCheckpointStore(database)
    await put(store, LONG)
    assert await store.prune("7", but(0, 3)) == LONG - 3
    last = LONG - 1
    assert await every(store) == [
        replace(whole(last), parent_id=step_id(3)),
        replace(whole(3), parent_id=step_id(0)),
        whole(0),
    ]
    assert await store.prune("7", but(0, 3)) == 0


async def test_a_prune_that_is_cut_short_has_damaged_nothing(database: Database) -> None:
    store = SqlCheckpointStore(database)
    await put(store, LONG)
    with pytest.raises(Unavailable):
        await SqlCheckpointStore(Frail(database, 1)).prune("7", but(0))
    left = await every(store)
    assert [each.checkpoint_id for each in left] == [
        step_id(step) for step in (*range(LONG - 1, BATCH, -1), 0)
    ]
    for each, step in zip(left, (*range(LONG - 1, BATCH, -1), 0), strict=True):
        assert (each.refs, each.blobs) == (whole(step).refs, whole(step).blobs)
    parents = [each.parent_id for each in left]
    assert parents == [*(each.checkpoint_id for each in left[1:]), None]
    assert await store.prune("7", but(0)) == LONG - 2 - BATCH


async def test_a_writer_goes_on_while_its_thread_is_pruned(database: Database) -> None:
    store = SqlCheckpointStore(database)
    await put(store, LONG)

    async def go_on() -> None:
        for step in range(LONG, LONG + 40):
            await store.put(checkpoint(step))

    _, went = await asyncio.gather(go_on(), store.prune("7", but(0)))
    assert went in (LONG - 2, LONG - 1)
    found = await every(store)
    assert found[0] == whole(LONG + 39)
    for each, step in zip(found, range(LONG + 39, LONG - 1, -1), strict=False):
        assert each.blobs == whole(step).blobs


async def test_who_lost_the_session_prunes_nothing(database: Database) -> None:
    store, leases = SqlCheckpointStore(database), SqlLeases(database)
    await put(store, 4)
    late = await leases.take("7", "a")
    stands = await stolen(leases, "7", "a", "b")
    with pytest.raises(Interrupted):
        await store.prune("7", but(0, of=4), late)
    assert len(await every(store)) == 4
    assert await store.prune("7", but(0, of=4), stands) == 2


async def test_other_threads_and_namespaces_are_left_alone(database: Database) -> None:
    store = SqlCheckpointStore(database)
    inner, other = Thread("7", "agent:1"), Thread("70")
    for thread in (THREAD, inner, other):
        await put(store, 5, thread)
    assert await store.prune("7", but(of=5)) == 4
    assert [each.thread.ns for each in await every(store)] == ["", *["agent:1"] * 5]
    assert await store.get(inner, step_id(2)) == whole(2, thread=inner)
    assert await store.get(other, step_id(3)) == whole(3, thread=other)
    assert await store.prune("700", but(of=5)) == 0


async def test_parents_that_stand_in_a_circle_have_an_end(database: Database) -> None:
    store = SqlCheckpointStore(database)
    await put(store, 4)
    await store.put(replace(checkpoint(9), parent_id=step_id(8)))
    await store.put(replace(checkpoint(8), parent_id=step_id(9)))
    await store.put(replace(checkpoint(10), parent_id=step_id(8)))
    assert await store.prune("7", but(0, of=10)) == 5
    found = await store.get(THREAD, None)
    assert found is not None
    assert found.checkpoint_id == step_id(10)
