"""What a session asks of its stores, on each home that its records may have."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import open_database, sqlite_url
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.checkpoint import CheckpointQuery, PendingWrites, StoredCheckpoint, Thread
from isthmus.core.errors import Conflict, NotFound
from isthmus.core.workflow import NewWorkflow, Status, StatusEvent, Terms
from isthmus.platform import checkpoints
from isthmus.platform.checkpoints import Known, Step
from isthmus.platform.instance_checkpoints import InstanceCheckpoints
from isthmus.platform.instance_store import Bond, InstanceWorkflows
from isthmus.platform.stores import SessionStores
from tests.contract.stores.samples import step_id
from tests.support.clock import HandClock
from tests.support.instance_client import InstanceClient
from tests.support.instance_stand import open_instance, prepare
from tests.support.postgres import fresh_schema
from tests.support.servers import Server

CHAIN: tuple[dict[str, Any], ...] = (
    {"__start__": {"goal": "x"}},
    {"ui_chat_log": [{"content": "a"}], "status": "Execution", "histories": {"chat": [1]}},
    {
        "ui_chat_log": [{"content": "a"}, {"content": "b"}],
        "status": "Execution",
        "histories": {"chat": [1, 2], "other": [3]},
        "branch:to:x": None,
    },
    {
        "ui_chat_log": [{"content": "a"}, {"content": "b"}],
        "status": "input_required",
        "histories": {"chat": [1, 2], "other": [3]},
        "context": {"goal": "é", "n": [1.5, None]},
    },
    {"ui_chat_log": [{"content": "c"}], "status": "input_required", "histories": {}},
)
"""The state of a session, step by step: lists that grow, that stay, and one that shrinks."""
HOMES = ("sqlite", "postgres", "instance", "instance-incremental", "instance-old")


@pytest.fixture(scope="session", autouse=True)
def what_a_start_reads_is_read() -> None:
    prepare()


@dataclass
class Home:
    """Stores with one workflow in them. `again` opens them as the next stream would."""

    workflow_id: str
    stores: SessionStores
    again: Callable[[], SessionStores]


@pytest.fixture(params=HOMES)
def place(request: pytest.FixtureRequest) -> tuple[str, Server | None]:
    """A kind of home, and the server that it needs."""
    kind = str(request.param)
    return kind, request.getfixturevalue("postgres") if kind == "postgres" else None


@pytest.fixture(name="home")
async def _home(place: tuple[str, Server | None], tmp_path: Path) -> AsyncIterator[Home]:
    kind, server = place
    if kind.startswith("instance"):
        async with _at_instance(kind, tmp_path) as home:
            yield home
        return
    if server is None:
        async with _embedded(sqlite_url(tmp_path / "isthmus.db")) as home:
            yield home
        return
    async with fresh_schema(server) as url, _embedded(url) as home:
        yield home


@asynccontextmanager
async def _embedded(url: str) -> AsyncIterator[Home]:
    async with open_database(url, pool_size=4) as database:
        clock = HandClock()

        def again() -> SessionStores:
            return SessionStores(SqlWorkflowStore(database, clock), SqlCheckpointStore(database))

        stores = again()
        await stores.workflows.create(NewWorkflow("chat", "g", workflow_id="7"))
        yield Home("7", stores, again)


@asynccontextmanager
async def _at_instance(kind: str, directory: Path) -> AsyncIterator[Home]:
    async with open_instance(directory) as stand, stand.client(relayed=True) as http:
        terms = Terms(incremental_checkpoints=kind == "instance-incremental")
        owner = stand.alice.user.global_id
        made = await stand.stores.workflows.create(NewWorkflow("chat", "g", owner, terms=terms))
        client = InstanceClient(http)
        version = "18.2.0" if kind == "instance-old" else "19.3.0-ee"
        bond = Bond("thread", made.workflow_id, "chat", "me", version)

        def again() -> SessionStores:
            workflows = InstanceWorkflows(client, bond)
            return SessionStores(workflows, InstanceCheckpoints(workflows))

        stores = again()
        await stores.workflows.get("thread")
        yield Home("thread", stores, again)


class Writer:
    """Writes checkpoints as a session does: differences to the last one only."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.known: Known | None = None
        self.step = 0
        self.put: list[StoredCheckpoint] = []

    async def write(self, values: Mapping[str, Any], parent: int | None = None) -> None:
        number = self.step
        self.step += 1
        before = number - 1 if parent is None else parent
        stored, self.known = checkpoints.encode(
            Step(
                thread=Thread(self.home.workflow_id),
                checkpoint_id=step_id(number),
                parent_id=step_id(before) if number else None,
                header={
                    "v": 4,
                    "id": step_id(number),
                    "channel_versions": dict.fromkeys(values, 1),
                },
                metadata={"source": "loop", "step": number},
                values=values,
                changed=tuple(values),
            ),
            self.known,
        )
        await self.home.stores.checkpoints.put(stored)
        self.put.append(stored)


def told(stored: StoredCheckpoint | None) -> tuple[object, ...]:
    """What a session reads of a checkpoint; how it is cut into blobs is the store's business."""
    assert stored is not None
    return (
        stored.thread,
        stored.checkpoint_id,
        stored.parent_id,
        checkpoints.loads(stored.header),
        checkpoints.loads(stored.metadata),
        checkpoints.values(stored),
        stored.writes,
    )


async def test_every_step_is_read_back_as_it_was(home: Home) -> None:
    writer = Writer(home)
    for values in CHAIN:
        await writer.write(values)
        latest = await home.stores.checkpoints.get(Thread(home.workflow_id), None)
        assert told(latest)[5] == values
    fresh = home.again()
    await fresh.workflows.get(home.workflow_id)
    for number, values in enumerate(CHAIN):
        found = await fresh.checkpoints.get(Thread(home.workflow_id), step_id(number))
        assert told(found) == (
            Thread(home.workflow_id),
            step_id(number),
            step_id(number - 1) if number else None,
            checkpoints.loads(writer.put[number].header),
            {"source": "loop", "step": number},
            values,
            (),
        )
    assert await fresh.checkpoints.get(Thread(home.workflow_id), step_id(99)) is None
    assert await fresh.checkpoints.get(Thread("other"), None) is None


async def test_a_new_stream_goes_on_with_the_groups_that_it_read(home: Home) -> None:
    writer = Writer(home)
    for values in CHAIN[:3]:
        await writer.write(values)
    home.stores = home.again()
    await home.stores.workflows.get(home.workflow_id)
    latest = await home.stores.checkpoints.get(Thread(home.workflow_id), None)
    assert latest is not None
    writer.known = checkpoints.known(latest, checkpoints.values(latest))
    for values in CHAIN[3:]:
        await writer.write(values)
    after = home.again()
    await after.workflows.get(home.workflow_id)
    assert told(await after.checkpoints.get(Thread(home.workflow_id), None))[5] == CHAIN[4]
    assert told(await after.checkpoints.get(Thread(home.workflow_id), step_id(3)))[5] == CHAIN[3]


async def test_a_fork_leaves_the_line_that_it_left(home: Home) -> None:
    writer = Writer(home)
    for values in CHAIN[:3]:
        await writer.write(values)
    writer.known = None
    await writer.write({"ui_chat_log": ["forked"]}, parent=1)
    found = await home.stores.checkpoints.get(Thread(home.workflow_id), None)
    assert told(found)[2] == step_id(1)
    assert told(found)[5] == {"ui_chat_log": ["forked"]}
    left = await home.stores.checkpoints.get(Thread(home.workflow_id), step_id(2))
    assert told(left)[5] == CHAIN[2]


async def test_pages_are_newest_first_and_follow_each_other(home: Home) -> None:
    writer = Writer(home)
    for number in range(45):
        await writer.write({"n": number})
    seen: list[str] = []
    query = CheckpointQuery(home.workflow_id, limit=7)
    while True:
        page = await home.stores.checkpoints.page(query)
        seen += [item.checkpoint_id for item in page.items]
        for item in page.items:
            metadata = {"source": "loop", "step": checkpoints.values(item)["n"]}
            assert checkpoints.loads(item.metadata) == metadata
        if not page.more:
            break
        query = replace(query, before_id=page.items[-1].checkpoint_id)
    assert seen == [step_id(number) for number in reversed(range(45))]


async def test_a_pause_is_kept_with_its_checkpoint(home: Home) -> None:
    writer = Writer(home)
    await writer.write(CHAIN[1])
    asked = {"$interrupts": [{"value": {"tool_calls": ["a"]}, "id": "i-1"}]}
    write = checkpoints.write(("task", ""), -3, "__interrupt__", asked)
    thread = Thread(home.workflow_id)
    await home.stores.checkpoints.put_writes(PendingWrites(thread, step_id(0), (write,)))
    found = await home.stores.checkpoints.get(thread, None)
    assert found is not None
    (kept,) = found.writes
    assert (kept.task_id, kept.index, kept.channel) == ("task", -3, "__interrupt__")
    assert checkpoints.unpack(kept.data) == asked


async def test_a_record_moves_by_the_table_alone(home: Home) -> None:
    workflows = home.stores.workflows
    assert (await workflows.get(home.workflow_id)).status is Status.CREATED
    with pytest.raises(Conflict):
        await workflows.move(home.workflow_id, StatusEvent.RESUME)
    for event, status in (
        (StatusEvent.START, Status.RUNNING),
        (StatusEvent.REQUIRE_INPUT, Status.INPUT_REQUIRED),
        (StatusEvent.RESUME, Status.RUNNING),
        (StatusEvent.FINISH, Status.FINISHED),
    ):
        assert (await workflows.move(home.workflow_id, event)).status is status
        assert (await home.again().workflows.get(home.workflow_id)).status is status
    for call in (workflows.get("404"), workflows.move("404", StatusEvent.START)):
        with pytest.raises(NotFound):
            await call


async def test_a_model_stays_for_the_stream(home: Home) -> None:
    workflows = home.stores.workflows
    assert (await workflows.pin(home.workflow_id, '{"name":"m"}')).model == '{"name":"m"}'
    assert (await workflows.pin(home.workflow_id, "")).model == '{"name":"m"}'
    changed = await workflows.change(
        home.workflow_id, lambda record: replace(record, deployment="there")
    )
    assert (changed.deployment, changed.model) == ("there", '{"name":"m"}')


async def test_the_record_tells_what_its_agent_may_do(home: Home) -> None:
    assert (await home.stores.workflows.get(home.workflow_id)).terms.privileges == (
        1,
        2,
        3,
        4,
        5,
        6,
    )


async def test_an_instance_forgets_no_steps_for_us(home: Home) -> None:
    writer = Writer(home)
    for values in CHAIN:
        await writer.write(values)
    store, gone = home.stores.checkpoints, [("", step_id(number)) for number in range(5)]
    if isinstance(store, InstanceCheckpoints):
        with pytest.raises(Conflict, match="instance keeps"):
            await store.prune(home.workflow_id, gone)
    else:
        assert await store.prune(home.workflow_id, gone) == 4
    latest = await home.again().checkpoints.get(Thread(home.workflow_id), None)
    assert latest is not None
    assert checkpoints.values(latest) == CHAIN[-1]
