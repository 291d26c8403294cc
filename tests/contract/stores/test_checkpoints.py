"""The CheckpointStore port, on each kind of database."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select

from isthmus.adapters.stores.assemble import assemble, headers
from isthmus.adapters.stores.checkpoints import DATA_LIMIT_BYTES, SqlCheckpointStore
from isthmus.adapters.stores.database import Database, open_database, sqlite_url
from isthmus.adapters.stores.tables import checkpoint_blobs, checkpoint_writes, checkpoints
from isthmus.core.checkpoint import (
    Blob,
    BlobRef,
    CheckpointQuery,
    PendingWrites,
    StoredCheckpoint,
    Thread,
    Write,
)
from isthmus.core.errors import Invalid, TooLarge
from tests.contract.stores.samples import THREAD, checkpoint, step_id, whole


@pytest.fixture
def store(database: Database) -> SqlCheckpointStore:
    return SqlCheckpointStore(database)


async def count_rows(database: Database) -> int:
    def work(connection: Connection) -> int:
        tables = (checkpoints, checkpoint_blobs, checkpoint_writes)
        counts = [select(func.count()).select_from(table) for table in tables]
        return sum(connection.execute(count).scalar_one() for count in counts)

    return await database.read(work)


async def count_bytes(database: Database) -> int:
    """Bytes of content in all rows; keys are of one length."""

    def work(connection: Connection) -> int:
        header = checkpoints.c.header, checkpoints.c.metadata, checkpoints.c.refs
        blob = (checkpoint_blobs.c.data,)
        lengths = [func.coalesce(func.sum(func.length(column)), 0) for column in (*header, *blob)]
        return sum(connection.execute(select(length)).scalar_one() for length in lengths)

    return await database.read(work)


async def test_nothing_is_found_where_nothing_was_put(store: SqlCheckpointStore) -> None:
    assert await store.get(THREAD, None) is None
    assert await store.get(THREAD, step_id(1)) is None
    assert (await store.page(CheckpointQuery("7"))).items == ()


async def test_a_checkpoint_may_be_put_twice(store: SqlCheckpointStore, database: Database) -> None:
    await store.put(checkpoint(0))
    before = await count_rows(database)
    await store.put(checkpoint(0))
    assert await count_rows(database) == before
    page = await store.page(CheckpointQuery("7"))
    assert page.items == (whole(0),)
    assert not page.more


async def test_the_first_put_of_an_id_stays(store: SqlCheckpointStore) -> None:
    await store.put(checkpoint(0))
    await store.put(replace(checkpoint(0, data=b"other"), header=b"other"))
    assert await store.get(THREAD, None) == whole(0)


async def test_the_latest_is_the_one_whose_id_sorts_last(store: SqlCheckpointStore) -> None:
    for step in (0, 2, 1):
        await store.put(checkpoint(step))
    assert await store.get(THREAD, None) == whole(2)


async def test_an_older_checkpoint_sees_only_the_blobs_up_to_its_own(
    store: SqlCheckpointStore,
) -> None:
    for step in range(4):
        await store.put(checkpoint(step))
    assert await store.get(THREAD, step_id(1)) == whole(1)
    assert await store.get(THREAD, step_id(9)) is None


async def test_a_new_group_leaves_the_old_one_behind(store: SqlCheckpointStore) -> None:
    for step in range(3):
        await store.put(checkpoint(step))
    ref = BlobRef("messages", 2, 0)
    await store.put(replace(checkpoint(3), refs=(ref,), blobs=(Blob(ref, b"summary"),)))
    found = await store.get(THREAD, None)
    assert found is not None
    assert found.blobs == (Blob(ref, b"summary"),)
    assert await store.get(THREAD, step_id(2)) == whole(2)


async def test_a_checkpoint_without_channels_is_kept(store: SqlCheckpointStore) -> None:
    bare = replace(checkpoint(0), refs=(), blobs=())
    await store.put(bare)
    assert await store.get(THREAD, None) == bare


async def test_pages_are_newest_first_and_follow_each_other(store: SqlCheckpointStore) -> None:
    for step in range(7):
        await store.put(checkpoint(step))
    first = await store.page(CheckpointQuery("7", limit=3))
    assert first.items == (whole(6), whole(5), whole(4))
    assert first.more
    second = await store.page(CheckpointQuery("7", limit=3, before_id=step_id(4)))
    assert second.items == (whole(3), whole(2), whole(1))
    assert second.more
    last = await store.page(CheckpointQuery("7", limit=3, before_id=step_id(1)))
    assert last.items == (whole(0),)
    assert not last.more


async def test_a_page_without_blobs_still_names_them(store: SqlCheckpointStore) -> None:
    await store.put(checkpoint(0))
    page = await store.page(CheckpointQuery("7", with_blobs=False))
    assert page.items == (replace(whole(0), blobs=()),)


async def test_a_page_is_at_most_a_hundred(store: SqlCheckpointStore) -> None:
    for step in range(101):
        await store.put(replace(checkpoint(step), refs=(), blobs=()))
    page = await store.page(CheckpointQuery("7", limit=10_000))
    assert len(page.items) == 100
    assert page.more
    with pytest.raises(Invalid):
        await store.page(CheckpointQuery("7", limit=0))


async def test_threads_and_namespaces_do_not_mix(store: SqlCheckpointStore) -> None:
    others = [Thread("8"), Thread("7", "child:1"), Thread("7", "child:2")]
    await store.put(checkpoint(0))
    for number, thread in enumerate(others, start=1):
        await store.put(checkpoint(number, thread=thread, data=b"of another"))
        writes = (Write("t", 0, "c", b"of another"),)
        await store.put_writes(PendingWrites(thread, step_id(0), writes))
    assert await store.get(THREAD, None) == whole(0)
    assert (await store.page(CheckpointQuery("7"))).items == (whole(0),)
    everywhere = await store.page(CheckpointQuery("7", ns=None))
    assert [item.thread.ns for item in everywhere.items] == ["child:2", "child:1", ""]
    assert everywhere.items[2] == whole(0)
    child = await store.get(others[1], None)
    assert child is not None
    assert child.blobs[0].data == b"of another"


async def test_writes_are_replaced_by_task_and_index(store: SqlCheckpointStore) -> None:
    await store.put(checkpoint(0))
    old = Write("task", 0, "messages", b"old")
    other = Write("task", -1, "__error__", b"error")
    await store.put_writes(PendingWrites(THREAD, step_id(0), (old, other)))
    new = Write("task", 0, "status", b"new", task_path="~pull")
    await store.put_writes(PendingWrites(THREAD, step_id(0), (new,)))
    await store.put_writes(PendingWrites(THREAD, step_id(0), ()))
    found = await store.get(THREAD, None)
    assert found is not None
    assert found.writes == (other, new)
    page = await store.page(CheckpointQuery("7"))
    assert page.items[0].writes == (other, new)


async def test_writes_come_by_path_then_task_then_index(store: SqlCheckpointStore) -> None:
    writes = tuple(
        Write(task, index, "c", b"", task_path=path)
        for path, tasks in (("a", "34"), ("b", "12"))
        for task in tasks
        for index in range(3)
    )
    await store.put(checkpoint(0))
    await store.put_writes(PendingWrites(THREAD, step_id(0), writes[::-1]))
    found = await store.get(THREAD, None)
    assert found is not None
    assert found.writes == writes


async def test_writes_may_come_before_their_checkpoint(store: SqlCheckpointStore) -> None:
    write = Write("task", 0, "c", b"early")
    await store.put_writes(PendingWrites(THREAD, step_id(0), (write,)))
    assert await store.get(THREAD, None) is None
    await store.put(checkpoint(0))
    found = await store.get(THREAD, step_id(0))
    assert found is not None
    assert found.writes == (write,)


async def test_delete_takes_a_thread_whole_and_nothing_else(
    store: SqlCheckpointStore, database: Database
) -> None:
    for thread in (THREAD, Thread("7", "child"), Thread("70")):
        await store.put(checkpoint(0, thread=thread))
        await store.put_writes(PendingWrites(thread, step_id(0), (Write("t", 0, "c", b"x"),)))
    await store.delete("7")
    await store.delete("7")
    assert await store.get(THREAD, None) is None
    assert (await store.page(CheckpointQuery("7", ns=None))).items == ()
    left = await store.get(Thread("70"), None)
    assert left is not None
    assert len(left.writes) == 1
    assert await count_rows(database) == 4


async def test_a_blob_of_four_mebibytes_comes_back(store: SqlCheckpointStore) -> None:
    data = bytes(range(256)) * 16_384
    await store.put(checkpoint(0, data=data))
    found = await store.get(THREAD, None)
    assert found is not None
    assert found.blobs[0].data == data


async def test_more_than_the_limit_is_refused(store: SqlCheckpointStore) -> None:
    with pytest.raises(TooLarge):
        await store.put(checkpoint(0, data=bytes(DATA_LIMIT_BYTES)))
    assert await store.get(THREAD, None) is None


ODD_TEXTS = (
    "'; DROP TABLE checkpoints; --",
    '"',
    "\\",
    "%_",
    "日本語",
    "e\u0301",
    " a ",
    "🦊" * 30,
)


async def test_any_text_is_a_key(store: SqlCheckpointStore) -> None:
    for text in (*ODD_TEXTS, "\u202e\ufffd", "a" * 128):
        ref = BlobRef(text, 1, 0)
        write = Write(text, 0, text, b"\x00", task_path=text)
        odd = StoredCheckpoint(
            thread=Thread(text, text),
            checkpoint_id=text,
            parent_id=text,
            header=b"\x00\xff",
            metadata=b"",
            refs=(ref,),
            blobs=(Blob(ref, b"\x00"),),
        )
        await store.put(odd)
        await store.put_writes(PendingWrites(odd.thread, text, (write,)))
        assert await store.get(odd.thread, text) == replace(odd, writes=(write,))
        assert await store.get(odd.thread, None) == replace(odd, writes=(write,))
        assert await store.get(Thread("x" + text[1:], text), None) is None


@pytest.mark.parametrize("place", ["thread", "ns", "checkpoint", "parent", "channel", "task"])
async def test_text_that_no_key_can_hold_is_named(store: SqlCheckpointStore, place: str) -> None:
    good = checkpoint(0)
    for text in ("a\0b", "\ud800", "x" * 10_000, "日" * 400):
        writes = PendingWrites(THREAD, step_id(0), (Write(text, 0, "c", b""),))
        put = {
            "thread": replace(good, thread=Thread(text)),
            "ns": replace(good, thread=Thread("7", text)),
            "checkpoint": replace(good, checkpoint_id=text),
            "parent": replace(good, parent_id=text),
            "channel": replace(good, refs=(BlobRef(text, 1, 1),)),
        }.get(place)
        with pytest.raises(Invalid) as caught:
            await (store.put(put) if put else store.put_writes(writes))
        assert caught.value.fields
        assert place in caught.value.fields[0].field
        assert len(caught.value.detail) < 200


async def test_keys_of_the_full_length_are_stored(store: SqlCheckpointStore) -> None:
    # Random-looking, so that the database cannot compress them under its limit.
    def long(size: int) -> str:
        return "".join(chr(33 + (number * number * 7 + number * 31) % 90) for number in range(size))

    ref = BlobRef(long(1_020), 2**63 - 1, 2**63 - 1)
    full = StoredCheckpoint(
        thread=Thread(long(128), long(1_024)),
        checkpoint_id=long(128),
        parent_id=None,
        header=b"",
        metadata=b"",
        refs=(ref,),
        blobs=(Blob(ref, b"x"),),
    )
    write = Write(long(128), 2**63 - 1, long(1_020), b"", task_path="")
    await store.put(full)
    await store.put_writes(PendingWrites(full.thread, full.checkpoint_id, (write,)))
    assert await store.get(full.thread, None) == replace(full, writes=(write,))


async def test_numbers_past_63_bits_are_refused(store: SqlCheckpointStore) -> None:
    for ref in (BlobRef("c", 2**63, 0), BlobRef("c", 0, 2**63), BlobRef("c", -1, 0)):
        with pytest.raises(Invalid):
            await store.put(replace(checkpoint(0), refs=(ref,)))
    with pytest.raises(Invalid):
        await store.put_writes(PendingWrites(THREAD, step_id(0), (Write("t", 2**63, "c", b""),)))


async def test_what_a_step_writes_does_not_grow_with_history(
    store: SqlCheckpointStore, database: Database
) -> None:
    rows: list[int] = []
    sizes: list[int] = []
    for step in range(10, 70):
        rows_before, size_before = await count_rows(database), await count_bytes(database)
        await store.put(checkpoint(step, data=b"x" * 100))
        rows.append(await count_rows(database) - rows_before)
        sizes.append(await count_bytes(database) - size_before)
    assert set(rows) == {3}
    assert set(sizes) == {sizes[0]}
    found = await store.get(THREAD, None)
    assert found is not None
    assert len(found.blobs) == 61


async def test_a_page_costs_three_queries_however_long_it_is(
    store: SqlCheckpointStore, database: Database
) -> None:
    for step in range(12):
        await store.put(checkpoint(step))
    statements: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    def work(connection: Connection) -> int:
        event.listen(connection, "before_cursor_execute", note)
        rows = connection.execute(headers("7")).all()
        return len(assemble(connection, "7", rows, with_blobs=True))

    assert await database.read(work) == 12
    assert len(statements) == 3


async def test_blobs_are_looked_up_by_their_whole_key(tmp_path: Path) -> None:
    plans: list[str] = []

    def explain(connection: Connection, _cursor: object, statement: str, *rest: Any) -> None:
        if statement.startswith("WITH"):
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", rest[0])
            plans.append(" / ".join(row[3] for row in rows))

    def work(connection: Connection) -> None:
        event.listen(connection, "after_cursor_execute", explain)
        assemble(connection, "7", connection.execute(headers("7")).all(), with_blobs=True)

    async with open_database(sqlite_url(tmp_path / "x.db")) as database:
        await SqlCheckpointStore(database).put(checkpoint(0))
        await database.read(work)
    blobs, writes = plans
    assert "thread_id=? AND ns=? AND channel=? AND grp=? AND seq<?" in blobs
    assert "thread_id=? AND ns=? AND checkpoint_id=?" in writes


async def test_many_channels_come_back(store: SqlCheckpointStore) -> None:
    refs = tuple(BlobRef(f"channel {number:04d}", 1, 0) for number in range(1_000))
    for step in range(2):
        many = replace(
            checkpoint(step),
            refs=tuple(replace(ref, group=step) for ref in refs),
            blobs=tuple(Blob(replace(ref, group=step), b"x") for ref in refs),
        )
        await store.put(many)
    page = await store.page(CheckpointQuery("7"))
    assert [len(item.blobs) for item in page.items] == [1_000, 1_000]
    too_many = replace(checkpoint(3), refs=(*refs, BlobRef("one more", 1, 0)))
    with pytest.raises(Invalid):
        await store.put(too_many)


async def test_many_threads_write_at_once(store: SqlCheckpointStore) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            for step in range(5):
                group.create_task(store.put(checkpoint(step, thread=Thread(f"t{number}"))))
    for number in range(20):
        thread = Thread(f"t{number}")
        assert await store.get(thread, None) == whole(4, thread=thread)


async def test_the_same_checkpoint_from_many_tasks_is_one(
    store: SqlCheckpointStore, database: Database
) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(store.put(checkpoint(0)))
    assert await count_rows(database) == 3


async def test_a_cancelled_put_is_whole_or_absent(
    store: SqlCheckpointStore, database: Database
) -> None:
    for step in range(20):
        async with asyncio.TaskGroup() as group:
            put = group.create_task(store.put(checkpoint(step)))
            for _ in range(step % 7):
                await asyncio.sleep(0)
            put.cancel()
    await store.put(checkpoint(20))

    def halves(connection: Connection) -> tuple[int, int]:
        kept = select(func.count()).select_from(checkpoints)
        blobs = select(func.count()).select_from(checkpoint_blobs)
        return connection.execute(kept).scalar_one(), connection.execute(blobs).scalar_one()

    kept, blobs = await database.read(halves)
    assert blobs == 2 * kept
