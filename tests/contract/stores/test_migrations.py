"""The schema's steps: in two phases, each with its promise, and who can work on what."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, inspect, text

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import (
    Database,
    connect_database,
    migrate_database,
    open_database,
    read_version,
)
from isthmus.adapters.stores.schema import OURS, Fit, Schema, fit, is_post
from isthmus.adapters.stores.steps import MIGRATIONS, Steps
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.errors import Rejected, Unavailable
from isthmus.core.workflow import NewWorkflow
from tests.contract.stores.samples import THREAD, checkpoint, whole
from tests.support.clock import HandClock
from tests.support.next_release import NEXT, POST, steps_of_the_next


@pytest.fixture
def next_release(tmp_path: Path) -> Steps:
    return steps_of_the_next(tmp_path)


async def test_the_two_phases_of_the_next_release(database: Database, next_release: Steps) -> None:
    assert next_release.schema == Schema(NEXT, POST)
    with pytest.raises(Rejected, match=NEXT):
        await database.write(lambda c: next_release.apply(c, "post"))
    assert await database.write(lambda c: next_release.apply(c, "pre")) == [NEXT]
    assert await database.write(lambda c: next_release.apply(c, "pre")) == []
    assert await read_version(database) == Schema(NEXT, OURS.post)
    assert await database.write(lambda c: next_release.apply(c, "post")) == [POST]
    assert await read_version(database) == Schema(NEXT, POST)
    assert await database.write(lambda c: next_release.apply(c, "all")) == []


async def test_this_release_works_on_what_the_next_one_added(
    database_url: str, next_release: Steps
) -> None:
    async with open_database(database_url, pool_size=2) as database:
        await database.write(lambda c: next_release.apply(c, "pre"))
        # The server that runs, and one that starts: going back needs nothing else.
        await _works(database)
    for migrate in (True, False):
        async with open_database(database_url, migrate=migrate) as database:
            await _works(database)
            assert fit(await read_version(database)) is Fit.AHEAD


@pytest.mark.parametrize("migrate", [True, False])
async def test_this_release_refuses_what_the_next_one_took_away_and_tells_what_mends_it(
    database_url: str, next_release: Steps, migrate: bool
) -> None:
    async with open_database(database_url) as database:
        await database.write(next_release.apply)
    with pytest.raises(Unavailable, match=rf"(?s)schema {NEXT} or newer.*isthmus db restore"):
        async with open_database(database_url, migrate=migrate):
            pass


async def _works(database: Database) -> None:
    made = await SqlWorkflowStore(database, HandClock()).create(NewWorkflow("chat", "g", "u"))
    assert (await SqlWorkflowStore(database, HandClock()).get(made.workflow_id)).goal == "g"
    await SqlCheckpointStore(database).put(checkpoint(0))
    assert await SqlCheckpointStore(database).get(THREAD, None) == whole(0)


async def test_without_migrations_an_old_schema_is_refused_with_what_mends_it(
    database_url: str,
) -> None:
    with pytest.raises(Unavailable, match=r"database\.migrate.*isthmus db migrate --phase pre"):
        async with open_database(database_url, migrate=False):
            pass
    assert await migrate_database(database_url, "pre")
    async with open_database(database_url, migrate=False) as database:
        await _works(database)
    assert await migrate_database(database_url, "pre") == []


async def test_a_database_is_connected_whatever_its_schema(database_url: str) -> None:
    async with connect_database(database_url) as database:
        assert await read_version(database) == Schema()
        assert fit(await read_version(database)) is Fit.BEHIND


OLD: Final = Schema("0006", "p0002_0005")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Schema(), Fit.BEHIND),
        (Schema("0005", "p0001_0004"), Fit.BEHIND),
        (Schema("0006", "p0001_0004"), Fit.UNFINISHED),
        (Schema("0006"), Fit.UNFINISHED),
        (OLD, Fit.CURRENT),
        (Schema("0007", "p0002_0005"), Fit.AHEAD),
        (Schema("0007", "p0003_0006"), Fit.AHEAD),
        (Schema("0007", "p0001_0004"), Fit.AHEAD),
        (Schema("0007", "p0003_0007"), Fit.TOO_NEW),
    ],
)
def test_which_schema_suits_a_release(found: Schema, expected: Fit) -> None:
    assert fit(found, OLD) is expected
    assert expected.works == (expected not in {Fit.BEHIND, Fit.TOO_NEW})


async def test_a_table_that_is_in_use_is_waited_for(database_url: str, next_release: Steps) -> None:
    """SQLite waits by itself; on PostgreSQL the lock is given up, so that others go on."""
    async with open_database(database_url, pool_size=2) as database:
        begun, release = asyncio.Event(), asyncio.Event()
        if database.dialect == "sqlite":
            assert await database.write(next_release.apply)
            return

        def held(connection: Connection) -> None:
            connection.execute(text("LOCK TABLE workflows IN ACCESS SHARE MODE"))
            begun.set()
            connection.execute(text("SELECT pg_sleep(4)"))
            release.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(database.write(held))
            await begun.wait()
            with pytest.raises(Unavailable):
                await database.write(next_release.apply)
            assert not release.is_set(), "it waited to the end"
        assert await database.write(next_release.apply)


def test_every_step_is_numbered_and_promises_what_its_line_does() -> None:
    steps = Steps()
    assert steps.schema == OURS
    ids = steps.missing(Schema())
    pre = [step for step in ids if not is_post(step)]
    post = [step for step in ids if is_post(step)]
    assert pre == [f"{number:04d}" for number in range(1, len(pre) + 1)]
    assert [step[:5] for step in post] == [f"p{number:04d}" for number in range(1, len(post) + 1)]
    for step in post:
        assert step.partition("_")[2] in pre, "which schema a release must know to live with it"
    names = sorted(path.name for path in (MIGRATIONS / "versions").glob("r*.py"))
    assert [name[1 : len(step) + 1] for name, step in zip(names, ids, strict=True)] == list(ids)
    for name in names:
        text_ = (MIGRATIONS / "versions" / name).read_text(encoding="utf-8")
        assert "def downgrade" not in text_, "migrations go forward only"


Shape = Mapping[str, Mapping[str, object]]


async def test_a_pre_step_only_adds(database_url: str) -> None:
    """What the release before reads and writes is all there, and takes what it writes."""
    steps = await asyncio.to_thread(Steps)
    async with connect_database(database_url) as database:
        before: Shape = {}
        for number in range(1, int(OURS.pre) + 1):
            await database.write(_to(steps, f"{number:04d}"))
            after = await database.read(_shape)
            for table, shape in before.items():
                assert shape.items() <= after[table].items(), f"step {number} changes {table}"
                added = {name: after[table][name] for name in after[table].keys() - shape.keys()}
                assert all(added.values()), f"step {number} asks too much of {table}: {added}"
            before = after


def _to(steps: Steps, step: str) -> Callable[[Connection], object]:
    def work(connection: Connection) -> None:
        if step == "0001":
            steps.build(connection, Schema(step))
        else:
            steps.run(connection, Schema(f"{int(step) - 1:04d}"), [step])

    return work


def _shape(connection: Connection) -> Shape:
    """Of each table: its columns and indexes; what is false would refuse an older writer's rows."""
    found = inspect(connection)
    shapes: dict[str, dict[str, object]] = {}
    for table in found.get_table_names():
        shape: dict[str, object] = {}
        for column in found.get_columns(table):
            optional = column["nullable"] or column["default"] is not None
            shape[f"column {column['name']} {column['type']}"] = optional
        for index in found.get_indexes(table):
            shape[f"index {index['name']} {index['column_names']}"] = not index["unique"]
        shapes[table] = shape
    return shapes
