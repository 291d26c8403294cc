"""The WorkflowStore port, on each kind of database."""

import asyncio
from datetime import timedelta
from itertools import product

import pytest

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.workflow_rows import GOAL_LIMIT
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.errors import Conflict, Invalid, NotFound
from isthmus.core.workflow import (
    MOVES,
    NewWorkflow,
    Status,
    StatusEvent,
    Terms,
    Workflow,
    WorkflowQuery,
)
from tests.support.clock import HandClock

# One event that leads from `created` to each status, or two.
PATHS: dict[Status, tuple[StatusEvent, ...]] = {
    Status.CREATED: (),
    Status.RUNNING: (StatusEvent.START,),
    Status.PAUSED: (StatusEvent.START, StatusEvent.PAUSE),
    Status.FINISHED: (StatusEvent.START, StatusEvent.FINISH),
    Status.FAILED: (StatusEvent.DROP,),
    Status.STOPPED: (StatusEvent.STOP,),
    Status.INPUT_REQUIRED: (StatusEvent.START, StatusEvent.REQUIRE_INPUT),
    Status.PLAN_APPROVAL_REQUIRED: (StatusEvent.START, StatusEvent.REQUIRE_PLAN_APPROVAL),
    Status.TOOL_CALL_APPROVAL_REQUIRED: (
        StatusEvent.START,
        StatusEvent.REQUIRE_TOOL_CALL_APPROVAL,
    ),
}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(database: Database, clock: HandClock) -> SqlWorkflowStore:
    return SqlWorkflowStore(database, clock)


def new(workflow_id: str = "", *, goal: str = "Fix it", owner: str = "u1") -> NewWorkflow:
    return NewWorkflow("chat", goal, owner, workflow_id)


async def test_a_new_record_comes_back_as_it_was_made(
    store: SqlWorkflowStore, clock: HandClock
) -> None:
    made = await store.create(new("9223372036854775807", goal="Grüße 日本 '\"\\"))
    assert made == Workflow(
        workflow_id="9223372036854775807",
        definition="chat",
        goal="Grüße 日本 '\"\\",
        owner="u1",
        status=Status.CREATED,
        model="",
        created_at=clock.utc(),
        updated_at=clock.utc(),
    )
    assert await store.get("9223372036854775807") == made
    assert made.created_at.tzinfo is not None


async def test_an_id_is_taken_once(store: SqlWorkflowStore) -> None:
    await store.create(new("5", goal="first"))
    with pytest.raises(Conflict):
        await store.create(new("5", goal="second"))
    assert (await store.get("5")).goal == "first"


async def test_the_store_counts_ids_up_and_steps_over_taken_ones(store: SqlWorkflowStore) -> None:
    await store.create(new("9223372036854775807"))
    for taken in ("2", "3", "4", "6"):
        await store.create(new(taken))
    chosen = [(await store.create(new())).workflow_id for _ in range(4)]
    assert chosen == ["1", "5", "7", "8"]


async def test_many_creations_at_once_get_different_ids(store: SqlWorkflowStore) -> None:
    await store.create(new("10"))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(store.create(new())) for _ in range(30)]
    assert len({task.result().workflow_id for task in tasks}) == 30


WRONG_IDS = (
    "0",
    "-1",
    "+1",
    "007",
    "1.0",
    "1e3",
    "abc",
    "9223372036854775808",
    "9" * 10_000,
    "1\0",
)


async def test_an_id_that_is_no_number_is_named(store: SqlWorkflowStore) -> None:
    for workflow_id in (*WRONG_IDS, "1\n", "\u0661", "1 OR 1=1", "'", "\ud800"):
        with pytest.raises(Invalid) as caught:
            await store.create(new(workflow_id))
        assert caught.value.fields[0].field == "workflowID"
        assert len(caught.value.detail) < 200
        for call in (
            store.get(workflow_id),
            store.move(workflow_id, StatusEvent.START),
            store.pin(workflow_id, "{}"),
            store.page(WorkflowQuery(after_id=workflow_id)),
        ):
            with pytest.raises(Invalid):
                await call


async def test_an_empty_id_finds_nothing(store: SqlWorkflowStore) -> None:
    with pytest.raises(Invalid):
        await store.get("")


UNFIT = (
    (NewWorkflow("chat", "x" * (GOAL_LIMIT + 1)), "goal"),
    (NewWorkflow("chat", "a\0b"), "goal"),
    (NewWorkflow("chat", "\udfff"), "goal"),
    (NewWorkflow("d" * 256, "goal"), "workflowDefinition"),
    (NewWorkflow("chat", "goal", title="t" * 41), "title"),
    (NewWorkflow("chat", "goal", project_id=1, namespace_id=1), "namespace_id"),
    (NewWorkflow("chat", "goal", project_id=2**63), "project_id"),
    (NewWorkflow("chat", "goal", namespace_id=0), "namespace_id"),
    (NewWorkflow("chat", "goal", terms=Terms(image="i" * 2_049)), "image"),
    (NewWorkflow("chat", "goal", terms=Terms(environment="a\0b")), "environment"),
    (NewWorkflow("chat", "goal", terms=Terms(privileges=(1,) * 20_000)), "terms"),
    (NewWorkflow("chat", "goal", owner="o" * 10_000), "owner"),
)


async def test_text_that_does_not_fit_is_named(store: SqlWorkflowStore) -> None:
    for record, field in UNFIT:
        with pytest.raises(Invalid) as caught:
            await store.create(record)
        assert [fault.field for fault in caught.value.fields] == [field]


async def test_a_goal_of_the_full_length_is_kept(store: SqlWorkflowStore) -> None:
    goal = "🦊" * GOAL_LIMIT
    made = await store.create(new(goal=goal))
    assert (await store.get(made.workflow_id)).goal == goal


async def test_every_move_is_by_the_table(store: SqlWorkflowStore) -> None:
    for event, (status, path) in product(StatusEvent, PATHS.items()):
        sources, target = MOVES[event]
        workflow_id = (await store.create(new())).workflow_id
        for step in path:
            await store.move(workflow_id, step)
        assert (await store.get(workflow_id)).status is status
        if status in sources:
            assert (await store.move(workflow_id, event)).status is target
            assert (await store.get(workflow_id)).status is target
        else:
            with pytest.raises(Conflict):
                await store.move(workflow_id, event)
            assert (await store.get(workflow_id)).status is status


async def test_a_move_tells_the_time_and_a_refused_one_does_not(
    store: SqlWorkflowStore, clock: HandClock
) -> None:
    made = await store.create(new())
    clock.advance(1.5)
    moved = await store.move(made.workflow_id, StatusEvent.START)
    assert moved.updated_at - made.created_at == timedelta(seconds=1.5)
    assert moved.created_at == made.created_at
    clock.advance(1)
    with pytest.raises(Conflict):
        await store.move(made.workflow_id, StatusEvent.START)
    assert await store.get(made.workflow_id) == moved


async def test_nothing_can_be_done_with_a_record_that_is_not_there(
    store: SqlWorkflowStore,
) -> None:
    for call in (store.get("1"), store.move("1", StatusEvent.START), store.pin("1", "{}")):
        with pytest.raises(NotFound):
            await call
    with pytest.raises(NotFound):
        await store.pin("1", "")


async def test_of_fifty_moves_at_once_exactly_one_wins(store: SqlWorkflowStore) -> None:
    workflow_id = (await store.create(new())).workflow_id

    async def attempt(event: StatusEvent) -> bool:
        try:
            await store.move(workflow_id, event)
        except Conflict:
            return False
        return True

    for event in (StatusEvent.START, StatusEvent.PAUSE, StatusEvent.RESUME, StatusEvent.FINISH):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(attempt(event)) for _ in range(50)]
        assert sum(task.result() for task in tasks) == 1, event
    assert (await store.get(workflow_id)).status is Status.FINISHED


async def test_a_model_is_pinned_and_a_blank_never_clears_it(store: SqlWorkflowStore) -> None:
    workflow_id = (await store.create(new())).workflow_id
    pinned = await store.pin(workflow_id, '{"id":"m"}')
    assert pinned.model == '{"id":"m"}'
    assert pinned.status is Status.CREATED
    for blank in ("", "  "):
        assert (await store.pin(workflow_id, blank)).model == '{"id":"m"}'
    assert (await store.pin(workflow_id, '{"id":"n"}')).model == '{"id":"n"}'
    with pytest.raises(Invalid) as caught:
        await store.pin(workflow_id, "x" * 1_025)
    assert caught.value.fields[0].field == "model_metadata_json"
    assert (await store.get(workflow_id)).model == '{"id":"n"}'


async def test_pages_are_newest_first_by_time_then_id(
    store: SqlWorkflowStore, clock: HandClock
) -> None:
    for number in ("50", "3", "20"):
        await store.create(new(number))
        clock.advance(1)
    for number in ("7", "9", "8"):
        await store.create(new(number))
    order = ["9", "8", "7", "20", "3", "50"]
    seen: list[str] = []
    before: str | None = None
    while True:
        page = await store.page(WorkflowQuery(after_id=before, limit=2))
        seen += [item.workflow_id for item in page.items]
        if not page.more:
            break
        before = seen[-1]
    assert seen == order
    assert (await store.page(WorkflowQuery(after_id="404"))).items == ()
    with pytest.raises(Invalid):
        await store.page(WorkflowQuery(limit=0))


async def test_pages_show_one_owner_and_one_status(store: SqlWorkflowStore) -> None:
    await store.create(new("1", owner="a"))
    await store.create(new("2", owner="b"))
    await store.create(new("3", owner="a"))
    await store.move("3", StatusEvent.START)

    async def ids(query: WorkflowQuery) -> list[str]:
        return [item.workflow_id for item in (await store.page(query)).items]

    assert await ids(WorkflowQuery(owner="a")) == ["3", "1"]
    assert await ids(WorkflowQuery(owner="a", statuses=(Status.RUNNING,))) == ["3"]
    assert await ids(WorkflowQuery(statuses=(Status.CREATED,))) == ["2", "1"]
    assert await ids(WorkflowQuery(owner="' OR 1=1 --")) == []
    assert await ids(WorkflowQuery(owner="a", after_id="3")) == ["1"]
