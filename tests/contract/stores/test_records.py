"""The RecordStore and EventQueue ports, on each kind of database."""

import asyncio
import json
import zlib
from dataclasses import replace
from hashlib import sha256

import pytest
from sqlalchemy import Connection, func, select

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.events import QUEUE_LIMIT, SqlEventQueue
from isthmus.adapters.stores.record_rows import RECORD_BYTES
from isthmus.adapters.stores.record_tables import OF_WORKFLOW, flow_events, record_blobs, records
from isthmus.adapters.stores.records import SqlRecordStore
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.errors import Conflict, Failure, Invalid, LimitExceeded, NotFound, TooLarge
from isthmus.core.records import (
    FlowEvent,
    NewRecord,
    RecordBlob,
    RecordQuery,
    RecordWrite,
)
from isthmus.core.workflow import NewWorkflow, StatusEvent
from tests.support.clock import HandClock

MODEL = '{"provider":"gitlab", "name":"größe"}'
NEW = NewRecord(
    workflow_id="1",
    thread_ts="1f0b-01",
    parent_ts=None,
    ns="",
    current_thread=0,
    metadata=b'{ "step":-1 }',
    checkpoint='{"b":1,  "a":[1.0,1e3,"\\u00e4ä"]}'.encode(),
)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def workflows(database: Database, clock: HandClock) -> SqlWorkflowStore:
    """With workflows 1 and 2 of one project, and 3 of none."""
    store = SqlWorkflowStore(database, clock)
    for number, project_id in (("1", 7), ("2", 7), ("3", None)):
        await store.create(NewWorkflow("chat", " \n", "u1", number, project_id=project_id))
    return store


@pytest.fixture
def store(workflows: SqlWorkflowStore, database: Database, clock: HandClock) -> SqlRecordStore:
    assert workflows
    return SqlRecordStore(database, clock)


@pytest.fixture
def events(workflows: SqlWorkflowStore, database: Database) -> SqlEventQueue:
    assert workflows
    return SqlEventQueue(database)


def write(idx: int = 0, *, task: str = "t", data: str = "e30=") -> RecordWrite:
    return RecordWrite(task, idx, "__interrupt__", "json", data)


async def test_i7_12_a_checkpoint_comes_back_byte_for_byte(store: SqlRecordStore) -> None:
    made = await store.append(NEW, "first")
    assert (made.thread_ts, made.parent_ts, made.ns) == ("1f0b-01", None, "")
    assert (made.metadata, made.checkpoint) == (NEW.metadata, NEW.checkpoint)
    assert await store.get("1", made.id) == made
    page = await store.page(RecordQuery("1"))
    assert (page.items, page.total) == ((made,), 1)


async def test_what_is_stored_is_compressed(database: Database, store: SqlRecordStore) -> None:
    text = json.dumps(["the same again"] * 10_000).encode()
    await store.append(replace(NEW, checkpoint=text), "first")
    statement = select(records.c.checkpoint, records.c.size_bytes)
    packed, size = await database.read(lambda c: tuple(c.execute(statement).one()))
    assert zlib.decompress(packed) == text
    assert len(packed) < len(text) / 20
    assert size == len(text) + len(NEW.metadata)


async def test_a_checkpoint_is_appended_once(
    store: SqlRecordStore, workflows: SqlWorkflowStore, clock: HandClock
) -> None:
    made = await store.append(NEW, "every")
    record = await workflows.get("1")
    clock.advance(1)
    again = replace(NEW, metadata=b"{}", checkpoint=b"{}", model=MODEL, goal="g", flow="{}")
    assert await store.append(again, "every") == made
    assert await workflows.get("1") == record
    # Another lineage, or another workflow, is another checkpoint.
    sub = await store.append(replace(NEW, ns="sub:1"), "every")
    other = await store.append(replace(NEW, workflow_id="2"), "every")
    assert len({made.id, sub.id, other.id}) == 3


async def test_of_many_who_append_at_once_all_see_the_same(store: SqlRecordStore) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(store.append(NEW, "first")) for _ in range(20)]
    assert len({task.result().id for task in tasks}) == 1
    assert (await store.page(RecordQuery("1"))).total == 1


async def test_i7_14_checkpoints_are_paged_newest_first(store: SqlRecordStore) -> None:
    for step in (3, 1, 5, 2, 4):
        ns = "" if step % 2 else "sub"
        await store.append(replace(NEW, thread_ts=f"1f0b-0{step}", ns=ns), "first")
    await store.append(replace(NEW, workflow_id="2", thread_ts="9"), "first")

    async def steps(query: RecordQuery) -> tuple[list[str], int]:
        page = await store.page(query)
        return [item.thread_ts[-1] for item in page.items], page.total

    assert await steps(RecordQuery("1")) == (["5", "4", "3", "2", "1"], 5)
    assert await steps(RecordQuery("1", per_page=1)) == (["5"], 5)
    assert await steps(RecordQuery("1", page=2, per_page=2)) == (["3", "2"], 5)
    assert await steps(RecordQuery("1", page=4, per_page=2)) == ([], 5)
    assert await steps(RecordQuery("1", ns="")) == (["5", "3", "1"], 3)
    assert await steps(RecordQuery("1", ns="sub", page=2, per_page=1)) == (["2"], 2)
    assert await steps(RecordQuery("1", thread_ts="1f0b-04")) == (["4"], 1)
    assert await steps(RecordQuery("1", thread_ts="nothing")) == ([], 0)
    assert await steps(RecordQuery("3")) == ([], 0)
    for wrong in (RecordQuery("1", page=0), RecordQuery("1", per_page=0), RecordQuery("x")):
        with pytest.raises(Invalid):
            await store.page(wrong)


async def test_a_checkpoint_of_another_workflow_is_not_found(store: SqlRecordStore) -> None:
    made = await store.append(NEW, "first")
    for workflow_id, record_id in (("2", made.id), ("1", made.id + 1), ("1", 0), ("1", 2**70)):
        with pytest.raises(NotFound):
            await store.get(workflow_id, record_id)


async def test_the_longest_namespace_is_kept(store: SqlRecordStore) -> None:
    # Noise, so that no index can shorten it.
    noise = (sha256(b"%d" % number).digest() for number in range(4_096))
    ns = "".join(chr(0x4E00 + digest[0] * 64 + digest[1] % 64) for digest in noise)
    one = await store.append(replace(NEW, ns=ns), "first")
    two = await store.append(replace(NEW, ns=ns[:-1]), "first")
    assert (await store.page(RecordQuery("1", ns=ns))).items == (one,)
    assert (await store.page(RecordQuery("1", ns=ns[:-1]))).items == (two,)


async def test_i7_16_the_first_model_is_kept_and_the_record_touched(
    store: SqlRecordStore, workflows: SqlWorkflowStore, clock: HandClock
) -> None:
    clock.advance(1)
    await store.append(replace(NEW, model=MODEL), "first")
    first = await workflows.get("1")
    assert first.model == MODEL
    assert first.updated_at == clock.utc()
    for step, model in enumerate(('{"name":"other"}', "", "  \n")):
        clock.advance(1)
        await store.append(replace(NEW, thread_ts=f"2-{step}", model=model), "first")
        assert await workflows.get("1") == replace(first, updated_at=clock.utc())


async def test_i7_17_every_model_replaces_the_last_but_a_blank_one(
    store: SqlRecordStore, workflows: SqlWorkflowStore
) -> None:
    for step, (model, kept) in enumerate(
        ((MODEL, MODEL), ("", MODEL), (" ", MODEL), ("{}", "{}"), ("\t", "{}"))
    ):
        await store.append(replace(NEW, thread_ts=str(step), model=model), "every")
        assert (await workflows.get("1")).model == kept


async def test_flow_and_goal_are_filled(store: SqlRecordStore, workflows: SqlWorkflowStore) -> None:
    for step, (flow, goal, expected) in enumerate(
        (
            ("", " ", ("", " \n")),
            ('{"flow_id":"a"}', "", ('{"flow_id":"a"}', " \n")),
            (" ", "Fix it", ('{"flow_id":"a"}', "Fix it")),
            ('{"flow_id":"b"}', "another", ('{"flow_id":"b"}', "Fix it")),
        )
    ):
        await store.append(replace(NEW, thread_ts=str(step), flow=flow, goal=goal), "first")
        record = await workflows.get("1")
        assert (record.flow, record.goal) == expected


async def test_appending_loses_no_other_change(
    store: SqlRecordStore, workflows: SqlWorkflowStore
) -> None:
    async with asyncio.TaskGroup() as group:
        for step in range(10):
            new = replace(NEW, thread_ts=str(step), model=MODEL, flow="{}", goal="g")
            group.create_task(store.append(new, "every"))
        group.create_task(workflows.change("1", lambda record: replace(record, title="T")))
        group.create_task(workflows.move("1", StatusEvent.START))
    record = await workflows.get("1")
    assert (record.title, record.status, record.model) == ("T", "running", MODEL)


BLOB = RecordBlob("messages", "0001", "json", "conversation", b"[1]")


async def test_blobs_are_stored_once_a_thread_channel_and_version(
    database: Database, store: SqlRecordStore
) -> None:
    for step, new in enumerate(
        (
            replace(NEW, blobs=(BLOB, replace(BLOB, channel="plan"))),
            replace(NEW, blobs=(replace(BLOB, data=b"[2]"), replace(BLOB, version="0002"))),
            replace(NEW, blobs=(BLOB,), current_thread=1),
            replace(NEW, blobs=(BLOB,), workflow_id="2"),
            replace(NEW, blobs=(replace(BLOB, channel="ä" * 255, version="本" * 255),)),
        )
    ):
        await store.append(replace(new, thread_ts=str(step)), "first")
    table = record_blobs.c
    statement = (
        select(table.current_thread, table.channel, table.version, table.data)
        .where(table.workflow_id == 1)
        .order_by(table.current_thread, table.channel, table.version)
    )
    found = await database.read(lambda c: [tuple(row) for row in c.execute(statement)])
    assert found == [
        (0, "messages", "0001", b"[1]"),
        (0, "messages", "0002", b"[1]"),
        (0, "plan", "0001", b"[1]"),
        (0, "ä" * 255, "本" * 255, b"[1]"),
        (1, "messages", "0001", b"[1]"),
    ]


UNFIT: tuple[tuple[NewRecord, str], ...] = (
    (replace(NEW, model="m" * 1_025), "model_metadata_json"),
    (replace(NEW, model="a\0b"), "model_metadata_json"),
    (replace(NEW, flow="f" * 1_025), "flow_metadata_json"),
    (replace(NEW, goal="g" * 16_385), "goal"),
    (replace(NEW, thread_ts="t" * 256), "thread_ts"),
    (replace(NEW, parent_ts="\ud800"), "parent_ts"),
    (replace(NEW, ns="n" * 4_097), "checkpoint_ns"),
    (replace(NEW, current_thread=-1), "current_thread"),
    (replace(NEW, current_thread=2**63), "current_thread"),
    (replace(NEW, blobs=(BLOB,) * 101), "channel_blobs"),
    (replace(NEW, blobs=(replace(BLOB, data=b"x" * (2**20 + 1)),)), "channel_blobs"),
    (replace(NEW, blobs=(replace(BLOB, channel="c" * 256),)), "channel_blobs"),
    (replace(NEW, blobs=(replace(BLOB, version="🦊" * 256),)), "channel_blobs"),
)


async def everything(database: Database) -> dict[str, int]:
    def count(connection: Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in OF_WORKFLOW
        }

    return await database.read(count)


async def test_i7_18_what_does_not_fit_is_named_and_nothing_is_written(
    database: Database, store: SqlRecordStore, workflows: SqlWorkflowStore, clock: HandClock
) -> None:
    before = await workflows.get("1")
    clock.advance(1)
    for new, field in UNFIT:
        with pytest.raises(Invalid) as caught:
            await store.append(new, "first")
        assert [fault.field for fault in caught.value.fields] == [field]
    with pytest.raises(TooLarge) as large:
        await store.append(replace(NEW, checkpoint=bytes(RECORD_BYTES)), "first")
    assert large.value.limit_bytes == RECORD_BYTES
    with pytest.raises(NotFound):
        await store.append(replace(NEW, workflow_id="404", blobs=(BLOB,)), "first")
    assert await workflows.get("1") == before
    assert set((await everything(database)).values()) == {0}


async def test_a_page_is_no_larger_than_can_be_held(store: SqlRecordStore) -> None:
    large = bytes(RECORD_BYTES - 64)
    for step in range(3):
        await store.append(replace(NEW, thread_ts=str(step), checkpoint=large), "first")
    with pytest.raises(TooLarge):
        await store.page(RecordQuery("1"))
    assert len((await store.page(RecordQuery("1", per_page=1))).items) == 1


async def test_writes_come_with_their_checkpoint(
    store: SqlRecordStore, workflows: SqlWorkflowStore, clock: HandClock
) -> None:
    made = await store.append(NEW, "first")
    await store.append(replace(NEW, thread_ts="other"), "first")
    clock.advance(1)
    await store.put_writes("1", NEW.thread_ts, (write(1), write(0), write(0, task="a")))
    assert (await workflows.get("1")).updated_at == clock.utc()
    found = (await store.get("1", made.id)).writes
    assert [(each.task, each.idx) for each in found] == [("a", 0), ("t", 0), ("t", 1)]
    assert all(each.id > 0 for each in found)
    await store.put_writes("1", NEW.thread_ts, (write(0, data="bmV3"),))
    again = (await store.get("1", made.id)).writes
    assert [(each.id, each.data) for each in again] == [
        (found[0].id, "e30="),
        (found[1].id, "bmV3"),
        (found[2].id, "e30="),
    ]
    pages = (await store.page(RecordQuery("1"))).items
    assert {item.thread_ts: len(item.writes) for item in pages} == {NEW.thread_ts: 3, "other": 0}


async def test_writes_that_do_not_fit_are_refused(
    database: Database, store: SqlRecordStore
) -> None:
    made = await store.append(NEW, "first")
    for wrong in (
        (write(data="d" * 10_001),),
        (write(task="\0"),),
        (write(2**63),),
        (replace(write(), channel="c" * 256),),
        tuple(write(number) for number in range(1_001)),
    ):
        with pytest.raises(Invalid):
            await store.put_writes("1", NEW.thread_ts, wrong)
    with pytest.raises(NotFound):
        await store.put_writes("404", NEW.thread_ts, (write(),))
    assert (await everything(database))["record_writes"] == 0
    many = tuple(write(number) for number in range(1_000))
    await store.put_writes("1", NEW.thread_ts, many)
    with pytest.raises(Invalid):
        await store.put_writes("1", NEW.thread_ts, (write(1_000),))
    assert len((await store.get("1", made.id)).writes) == 1_000


async def test_removing_a_workflow_removes_its_records_and_no_others(
    database: Database, store: SqlRecordStore, events: SqlEventQueue, workflows: SqlWorkflowStore
) -> None:
    for workflow_id in ("1", "2"):
        await store.append(replace(NEW, workflow_id=workflow_id, blobs=(BLOB,)), "first")
        await store.put_writes(workflow_id, NEW.thread_ts, (write(),))
        await events.add(FlowEvent(workflow_id, "message", "hi"))
    await workflows.delete("1")
    assert set((await everything(database)).values()) == {1}
    await workflows.delete("2")
    assert set((await everything(database)).values()) == {0}


async def test_appending_to_a_workflow_that_goes_leaves_nothing(
    database: Database, store: SqlRecordStore, workflows: SqlWorkflowStore
) -> None:
    async def attempt(step: int) -> None:
        try:
            await store.append(replace(NEW, thread_ts=str(step)), "first")
        except NotFound:
            return

    async with asyncio.TaskGroup() as group:
        for step in range(10):
            group.create_task(attempt(step))
            if step == 5:
                group.create_task(workflows.delete("1"))
    assert (await everything(database))["records"] == 0


async def test_events_are_queued_and_delivered(events: SqlEventQueue) -> None:
    hello = FlowEvent("1", "message", "Grüße\n", "11111111-1111-4111-8111-111111111111")
    first = await events.add(hello)
    assert first == replace(hello, id=first.id)
    second = await events.add(FlowEvent("1", "stop", "stop"))
    third = await events.add(FlowEvent("1", "pause", "pause"))
    await events.add(FlowEvent("2", "pause", "pause"))
    page = await events.page("1", 1, 20)
    assert (page.items, page.total) == ((first, second, third), 3)
    page = await events.page("1", 2, 2)
    assert (page.items, page.total) == ((third,), 3)
    done = await events.mark("1", first.id, "delivered")
    assert done == replace(first, status="delivered")
    assert (await events.page("1", 1, 1)).items == (second,)
    assert (await events.page("404", 1, 20)).total == 0
    assert await events.mark("1", first.id, "queued") == first


async def test_an_event_that_does_not_fit_is_refused(events: SqlEventQueue) -> None:
    queued = await events.add(FlowEvent("1", "message", "hi"))
    refused: tuple[tuple[FlowEvent, type[Failure]], ...] = (
        (FlowEvent("404", "message", "hi"), NotFound),
        (FlowEvent("1", "message", "m" * 16_385), Invalid),
        (FlowEvent("1", "t" * 65, "hi"), Invalid),
        (FlowEvent("1", "message", "hi", "c" * 256), Invalid),
    )
    for event, failure in refused:
        with pytest.raises(failure):
            await events.add(event)
    for workflow_id, event_id in (("2", queued.id), ("1", 404), ("1", 2**70)):
        with pytest.raises(NotFound):
            await events.mark(workflow_id, event_id, "delivered")
    with pytest.raises(Invalid):
        await events.mark("1", queued.id, "lost")
    with pytest.raises(Invalid):
        await events.page("1", 0, 20)


async def test_a_correlation_id_is_used_once_in_a_project(events: SqlEventQueue) -> None:
    async def attempt(workflow_id: str) -> bool:
        try:
            await events.add(FlowEvent(workflow_id, "message", "hi", "once"))
        except Conflict:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(workflow_id)) for workflow_id in ("1", "2") * 5]
    assert sum(task.result() for task in tasks) == 1
    # Workflow 3 is of no project: it is a place of its own.
    assert await attempt("3")
    assert not await attempt("3")


async def test_a_queue_has_an_end(database: Database, events: SqlEventQueue) -> None:
    row = (await events.add(FlowEvent("1", "message", "hi"))).id
    assert row
    rows = [
        {"workflow_id": 1, "scope": "s", "event_type": "message", "status": "queued", "message": ""}
        for _ in range(QUEUE_LIMIT - 1)
    ]
    await database.write(lambda c: c.execute(flow_events.insert(), rows))
    with pytest.raises(LimitExceeded):
        await events.add(FlowEvent("1", "message", "hi"))
    await events.mark("1", row, "delivered")
    await events.add(FlowEvent("1", "message", "hi"))
