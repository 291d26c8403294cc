"""What the instance does with workflow records: terms, changes, lists, removal, the sweep."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, func, select

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.columns import metadata
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.checkpoint import PendingWrites, Thread, Write
from isthmus.core.errors import Invalid, NotFound, Rejected
from isthmus.core.workflow import (
    NewWorkflow,
    Status,
    StatusEvent,
    Terms,
    ToolApproval,
    Workflow,
    WorkflowQuery,
)
from tests.contract.stores.samples import checkpoint
from tests.support.clock import HandClock

APPROVALS = "tool_call_approvals"
TERMS = Terms(
    privileges=(1, 3),
    preapproved=(3,),
    allow_agent_to_request_user=False,
    environment="chat",
    image="registry/image:1",
    source_branch="größe/\"'\\",
    issue_id=7,
    catalog_item_version_id=2**53,
    web_search=True,
    incremental_checkpoints=True,
    mcp=False,
)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(database: Database, clock: HandClock) -> SqlWorkflowStore:
    return SqlWorkflowStore(database, clock)


def changed(record: Workflow) -> Workflow:
    """Everything that may change, changed; and something that may not."""
    return replace(
        record,
        goal="another",
        owner="thief",
        title="A title",
        summary="What was done",
        flow='{"flow_id":"chat"}',
        job='{"id":"pid-1"}',
        deployment="eu-west",
        terms=TERMS,
        approvals={
            "run_command": ToolApproval(frozenset({"aa", "bb"}), ("git log *",)),
            "read_file": ToolApproval(),
        },
    )


async def test_terms_and_container_come_back_as_they_were_given(store: SqlWorkflowStore) -> None:
    given = NewWorkflow("chat", "goal", "u1", project_id=4, title="chat", terms=TERMS)
    made = await store.create(given)
    assert (made.terms, made.project_id, made.namespace_id, made.title) == (TERMS, 4, None, "chat")
    assert await store.get(made.workflow_id) == made
    in_namespace = await store.create(NewWorkflow("chat", "goal", namespace_id=9))
    assert (await store.get(in_namespace.workflow_id)).namespace_id == 9
    assert in_namespace.terms == Terms()


async def test_a_change_writes_what_may_change_and_nothing_else(
    store: SqlWorkflowStore, clock: HandClock
) -> None:
    made = await store.create(NewWorkflow("chat", "goal", "u1"))
    await store.pin(made.workflow_id, "{}")
    clock.advance(3)
    after = await store.change(made.workflow_id, changed)
    expected = changed(made)
    assert after == replace(expected, goal="goal", owner="u1", model="{}", updated_at=clock.utc())
    assert await store.get(made.workflow_id) == after
    await store.move(made.workflow_id, StatusEvent.START)
    assert (await store.get(made.workflow_id)).approvals == expected.approvals


async def test_a_change_that_raises_changes_nothing(store: SqlWorkflowStore) -> None:
    made = await store.create(NewWorkflow("chat", "goal"))

    def refuse(record: Workflow) -> Workflow:
        raise Rejected(f"not {record.workflow_id}")

    with pytest.raises(Rejected, match=made.workflow_id):
        await store.change(made.workflow_id, refuse)
    for unfit, field in (
        (replace(made, title="t" * 41), "title"),
        (replace(made, summary="s" * 1_025), "summary"),
        (replace(made, flow="f" * 1_025), "flow_metadata_json"),
        (replace(made, approvals={"t": ToolApproval(frozenset({"h" * 2**20}))}), APPROVALS),
        (replace(made, approvals={"\ud800": ToolApproval()}), APPROVALS),
    ):
        with pytest.raises(Invalid) as caught:
            await store.change(made.workflow_id, lambda _, unfit=unfit: unfit)
        assert caught.value.fields[0].field == field
    assert await store.get(made.workflow_id) == made
    with pytest.raises(NotFound):
        await store.change("404", lambda record: record)


async def test_of_many_changes_at_once_none_is_lost(store: SqlWorkflowStore) -> None:
    workflow_id = (await store.create(NewWorkflow("chat", "goal"))).workflow_id

    def approve(call: str) -> Callable[[Workflow], Workflow]:
        def apply(record: Workflow) -> Workflow:
            calls = record.approvals.get("run_command", ToolApproval()).calls
            approvals = {"run_command": ToolApproval(calls | {call})}
            return replace(record, approvals=approvals)

        return apply

    async with asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(store.change(workflow_id, approve(str(number))))
    found = (await store.get(workflow_id)).approvals["run_command"].calls
    assert found == frozenset(str(number) for number in range(30))


async def ids(store: SqlWorkflowStore, query: WorkflowQuery) -> list[str]:
    return [item.workflow_id for item in (await store.page(query)).items]


async def test_lists_are_narrowed_by_every_part_of_a_query(
    store: SqlWorkflowStore, clock: HandClock
) -> None:
    chat = Terms(environment="chat")
    for new in (
        NewWorkflow("chat", "Fix 100% of_it", "a", "1", project_id=5, terms=chat),
        NewWorkflow("developer/v1", "fix It too", "a", "2", project_id=5),
        NewWorkflow("chat", "other", "a", "3", namespace_id=5, title="The FIX", terms=chat),
        NewWorkflow("chat", "fix", "b", "4", project_id=6),
    ):
        await store.create(new)
        clock.advance(1)
    start = clock.utc()
    clock.advance(1)
    await store.change("2", lambda record: replace(record, summary="s"))
    for query, expected in (
        (WorkflowQuery(project_id=5), ["2", "1"]),
        (WorkflowQuery(definitions=("chat", "other")), ["4", "3", "1"]),
        (WorkflowQuery(excluded=("chat",)), ["2"]),
        (WorkflowQuery(owner="a", environment="chat"), ["3", "1"]),
        (WorkflowQuery(ids=("4", "2", "77")), ["4", "2"]),
        (WorkflowQuery(owner="a", search="fix"), ["3", "2", "1"]),
        (WorkflowQuery(search="100%"), ["1"]),
        (WorkflowQuery(search="x_1"), []),
        (WorkflowQuery(search="%"), ["1"]),
        (WorkflowQuery(updated_after=start), ["2"]),
        (WorkflowQuery(oldest_first=True), ["1", "2", "3", "4"]),
        (WorkflowQuery(oldest_first=True, after_id="2", limit=1), ["3"]),
        (WorkflowQuery(after_id="2"), ["1"]),
        (WorkflowQuery(statuses=(Status.CREATED, Status.RUNNING), owner="b"), ["4"]),
    ):
        assert await ids(store, query) == expected, query


async def test_a_list_of_equal_times_goes_on_where_it_ended(store: SqlWorkflowStore) -> None:
    for number in ("9", "7", "8"):
        await store.create(NewWorkflow("chat", "goal", "a", number))
    for oldest_first, order in ((True, ["7", "8", "9"]), (False, ["9", "8", "7"])):
        seen: list[str] = []
        while True:
            after_id = seen[-1] if seen else None
            query = WorkflowQuery(oldest_first=oldest_first, after_id=after_id, limit=1)
            page = await store.page(query)
            seen += [item.workflow_id for item in page.items]
            if not page.more:
                break
        assert seen == order


async def test_a_query_that_is_too_large_is_refused(store: SqlWorkflowStore) -> None:
    for query in (
        WorkflowQuery(search="s" * 256),
        WorkflowQuery(search="\0"),
        WorkflowQuery(ids=("1",) * 101),
        WorkflowQuery(ids=("x",)),
        WorkflowQuery(definitions=("d",) * 101),
        WorkflowQuery(environment="\0"),
    ):
        with pytest.raises(Invalid):
            await store.page(query)


async def test_removing_a_record_removes_what_hangs_on_it_alone(
    database: Database, store: SqlWorkflowStore
) -> None:
    checkpoints = SqlCheckpointStore(database)
    for number in ("7", "70"):
        await store.create(NewWorkflow("chat", "goal", "a", number))
        for ns in ("", "sub"):
            thread = Thread(number, ns)
            await checkpoints.put(checkpoint(0, thread=thread))
            write = Write("task", 0, "channel", b"data")
            await checkpoints.put_writes(PendingWrites(thread, "id", (write,)))
    await store.delete("7")
    with pytest.raises(NotFound):
        await store.get("7")
    with pytest.raises(NotFound):
        await store.delete("7")
    assert (await store.get("70")).workflow_id == "70"
    assert await checkpoints.get(Thread("70", "sub"), None) is not None

    def left(connection: Connection) -> dict[str, int]:
        tables = [table for table in metadata.tables.values() if "thread_id" in table.c]
        return {
            table.name: connection.execute(
                select(func.count()).select_from(table).where(table.c.thread_id == "7")
            ).scalar_one()
            for table in tables
        }

    assert set((await database.read(left)).values()) == {0}


async def test_an_automatic_id_is_not_given_again(store: SqlWorkflowStore) -> None:
    first = (await store.create(NewWorkflow("chat", "goal"))).workflow_id
    await store.delete(first)
    assert (await store.create(NewWorkflow("chat", "goal"))).workflow_id != first


def uuid_at(at: datetime) -> str:
    """A UUID of version 6 as the engine makes them, of that time."""
    ticks = int(at.timestamp()) * 10_000_000 + 0x01B21DD213814000
    bits = (ticks >> 12) << 80 | 6 << 76 | (ticks & 0xFFF) << 64 | 2 << 62 | 12345
    return str(UUID(int=bits))


async def test_the_sweep_finds_what_nothing_has_touched(
    database: Database, store: SqlWorkflowStore, clock: HandClock
) -> None:
    for number in ("1", "2", "3", "4", "5"):
        await store.create(NewWorkflow("chat", "goal", "a", number))
        clock.advance(1)
    await store.move("2", StatusEvent.START)
    await store.move("3", StatusEvent.START)
    await store.move("3", StatusEvent.REQUIRE_INPUT)
    long_ago = clock.utc() + timedelta(seconds=1)
    clock.advance(60)
    await store.pin("1", "{}")
    # 4 has a checkpoint of just now, 5 one of before.
    checkpoints = SqlCheckpointStore(database)
    for number, at in (("4", clock.utc()), ("5", long_ago - timedelta(seconds=9))):
        put = checkpoint(0, thread=Thread(number))
        await checkpoints.put(replace(put, checkpoint_id=uuid_at(at)))
    assert await store.stuck(long_ago) == ["5", "2"]
    assert await store.stuck(long_ago, limit=1) == ["5"]
    assert await store.stuck(clock.utc() + timedelta(seconds=1)) == ["4", "5", "2", "1"]
