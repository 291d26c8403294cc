"""Opening databases, their schema, and what becomes of a driver's errors."""

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, insert, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from isthmus.adapters.stores.account_tables import users
from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.columns import metadata
from isthmus.adapters.stores.database import Database, open_database, sqlite_url
from isthmus.adapters.stores.failures import CommitUnsure
from isthmus.adapters.stores.record_tables import records
from isthmus.adapters.stores.tables import counters, workflows
from isthmus.adapters.stores.usage_tables import usage
from isthmus.adapters.stores.users import SqlUserStore
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.errors import Conflict, Failure, Invalid, StoreDown, Unavailable
from isthmus.core.workflow import Terms
from tests.contract.stores.samples import THREAD, checkpoint, whole
from tests.support.clock import HandClock
from tests.support.ports import free_port
from tests.support.servers import Server

Result = TypeVar("Result")
SECRET = "hunter2-hunter2"
WRONG_URLS = (
    "",
    "nonsense",
    "postgresql",
    "sqlite",
    "://",
    "http://h",
    f"mysql://u:{SECRET}@h/d",
    f"postgresql+psycopg://u:{SECRET}@h/d",
    f"postgresql://u:{SECRET}/@h:port/d",
    f"postgresql://u:{SECRET}@h:{SECRET}/d",
)


async def test_the_migrations_lead_to_the_tables(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    # Importing a table adds it to the metadata.
    assert {"users", "records", "workflows"} <= metadata.tables.keys()
    assert users.metadata is records.metadata is counters.metadata is usage.metadata is metadata
    assert await database.write(differences) == []


async def test_keys_sort_as_bytes(database: Database) -> None:
    def work(connection: Connection) -> list[str]:
        rows = [{"name": name, "value": 0} for name in ("b", "B", "a", "_", "é", "10", "9")]
        connection.execute(insert(counters), rows)
        found = connection.execute(counters.select().order_by(counters.c.name))
        return [row.name for row in found if row.name != "workflow"]

    assert await database.write(work) == ["10", "9", "B", "_", "a", "b", "é"]


async def test_a_second_start_finds_nothing_to_do(database_url: str) -> None:
    async with open_database(database_url) as database:
        await SqlCheckpointStore(database).put(checkpoint(0))
    async with open_database(database_url, migrate=False) as database:
        assert await SqlCheckpointStore(database).get(THREAD, None) == whole(0)


async def test_starts_at_the_same_time_migrate_once(database_url: str) -> None:
    async def start() -> None:
        async with open_database(database_url, pool_size=1) as database:
            await database.ping()

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(start())
    async with open_database(database_url, migrate=False) as database:
        counted = await database.read(lambda c: c.execute(counters.select()).all())
        assert [tuple(row) for row in counted] == [("workflow", 0)]


FIRST = {"workflows", "counters", "checkpoints", "checkpoint_blobs", "checkpoint_writes"}
WIDENED = {"project_id", "namespace_id"} | {
    column.name for column in workflows.columns if column.server_default is not None
}
OLD_INSERT = text(
    "INSERT INTO workflows (id, definition, goal, owner, status, model, created_at_us,"
    " updated_at_us) VALUES (:id, 'chat', 'g', 'u', 1, '', 5, 5)"
)


def back_to_the_first(connection: Connection) -> None:
    """The schema as revision 0001 left it."""
    for name in metadata.tables.keys() - FIRST:
        connection.execute(text(f"DROP TABLE {name}"))
    for name in ("project_id_created_at_us_id", "status_updated_at_us"):
        connection.execute(text(f"DROP INDEX workflows_{name}_idx"))
    for name in WIDENED:
        connection.execute(text(f"ALTER TABLE workflows DROP COLUMN {name}"))
    connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))


async def test_records_of_an_earlier_schema_are_kept(database_url: str) -> None:
    async with open_database(database_url) as database:
        await database.write(back_to_the_first)
        await database.write(lambda c: c.execute(OLD_INSERT, {"id": 3}))
        await SqlCheckpointStore(database).put(checkpoint(0))
    async with open_database(database_url) as database:
        # The release before writes on while this one comes up.
        await database.write(lambda c: c.execute(OLD_INSERT, {"id": 4}))
        store = SqlWorkflowStore(database, HandClock())
        for number in ("3", "4"):
            record = await store.get(number)
            assert (record.goal, record.terms, record.approvals) == ("g", Terms(), {})
        assert await SqlCheckpointStore(database).get(THREAD, None) == whole(0)
        assert [user.username for user in await SqlUserStore(database, HandClock()).all()] == [
            "local"
        ]


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(counters), {"name": "half", "value": 1})
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        await database.write(work)
    count = "SELECT count(*) FROM counters WHERE name = 'half'"
    assert await database.read(lambda c: c.execute(text(count)).scalar_one()) == 0


async def test_each_of_many_writers_hears_of_its_own_work(database: Database) -> None:
    def count(connection: Connection) -> None:
        connection.execute(counters.update().values(value=counters.c.value + 1))

    def fail(connection: Connection) -> None:
        count(connection)
        raise RuntimeError("in the middle")

    def value(connection: Connection) -> int:
        return connection.execute(text("SELECT value FROM counters")).scalar_one()

    before = await database.read(value)
    works = [fail if number % 3 == 0 else count for number in range(30)]
    heard = await asyncio.gather(*(database.write(work) for work in works), return_exceptions=True)
    assert [isinstance(one, RuntimeError) for one in heard] == [work is fail for work in works]
    assert await database.read(value) == before + works.count(count)


async def test_whoever_stops_waiting_for_a_write_holds_up_no_other(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        begun.set()
        assert go_on.wait(10)
        connection.execute(counters.update().values(value=7))

    async with open_database(sqlite_url(tmp_path / "a.db")) as database:
        waiting = asyncio.create_task(database.write(slow))
        assert await asyncio.to_thread(begun.wait, 10)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        # It was done nevertheless, and before what was asked for after it.
        query = text("SELECT value FROM counters")
        assert await database.write(lambda c: c.execute(query).scalar_one()) == 7


async def test_a_write_behind_the_end_is_refused_and_waits_for_nothing(tmp_path: Path) -> None:
    async with open_database(sqlite_url(tmp_path / "a.db")) as database:
        pass
    with pytest.raises(Unavailable):
        await asyncio.wait_for(database.write(lambda _: None), 10)


async def test_a_taken_key_is_a_conflict(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(counters), {"name": "workflow", "value": 1})

    with pytest.raises(Conflict) as caught:
        await database.write(work)
    assert isinstance(caught.value.__cause__, IntegrityError)


async def test_a_wrong_statement_is_a_bug_not_an_outage(database: Database) -> None:
    with pytest.raises((OperationalError, ProgrammingError)):
        await database.read(lambda c: c.execute(text("SELECT * FROM no_such_table")))


async def test_a_read_cannot_see_the_middle_of_a_write(database: Database) -> None:
    values: list[list[int]] = []

    def write(connection: Connection) -> None:
        connection.execute(counters.update().values(value=counters.c.value + 1))

    def read(connection: Connection) -> list[int]:
        return [connection.execute(text("SELECT value FROM counters")).scalar_one() for _ in "123"]

    async def reads() -> None:
        for _ in range(20):
            values.append(await database.read(read))

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(database.write(write))
        group.create_task(reads())
    assert all(len(set(seen)) == 1 for seen in values)


async def test_the_sqlite_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "dir" / "a b%20ü?#.db"
    async with open_database(sqlite_url(path)) as database:
        await SqlCheckpointStore(database).put(checkpoint(0))
        found = sorted(path.parent.iterdir())
        assert [file.name for file in found] == [path.name + end for end in ("", "-shm", "-wal")]
        assert {stat.S_IMODE(file.stat().st_mode) for file in found} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_sqlite_is_set_up_for_sharing(tmp_path: Path) -> None:
    def pragma(name: str) -> Callable[[Connection], object]:
        return lambda connection: connection.execute(text(f"PRAGMA {name}")).scalar()

    async with open_database(sqlite_url(tmp_path / "x.db")) as database:
        assert await database.read(pragma("journal_mode")) == "wal"
        assert await database.read(pragma("foreign_keys")) == 1
        assert await database.read(pragma("synchronous")) == 1
        assert await database.read(pragma("busy_timeout")) == 5_000


async def test_a_database_in_memory_takes_every_call() -> None:
    async with open_database("sqlite://") as database:
        store = SqlCheckpointStore(database)
        async with asyncio.TaskGroup() as group:
            for step in range(10):
                group.create_task(store.put(checkpoint(step)))
        assert await store.get(THREAD, None) == whole(9)


@pytest.mark.parametrize("kind", ["a directory", "no database", "under a file"])
async def test_a_file_that_cannot_be_opened_is_named_as_the_setting(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "x.db"
    if kind == "a directory":
        path.mkdir()
    else:
        path.write_bytes(b"This is not a database, whatever it is called." * 100)
    if kind == "under a file":
        path /= "x.db"
    with pytest.raises(Unavailable, match=r"database"):
        async with open_database(sqlite_url(path)):
            pass


@pytest.mark.parametrize("url", WRONG_URLS)
async def test_a_url_that_cannot_be_read_is_told_without_repeating_it(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        async with open_database(url):
            pass
    assert caught.value.fields[0].field == "database.url"
    assert SECRET not in everything_said(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_a_server_that_does_not_answer_is_told_without_the_password(scheme: str) -> None:
    url = f"{scheme}://user:{SECRET}@127.0.0.1:{free_port()}/name"
    with pytest.raises(Unavailable, match=r"database\.url") as caught:
        async with open_database(url):
            pass
    assert SECRET not in everything_said(caught.value)


async def test_parameters_do_not_reach_an_error(database: Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(counters), {"name": SECRET, "value": 1})
        connection.execute(insert(counters), {"name": SECRET, "value": 1})

    with pytest.raises(Conflict) as caught:
        await database.write(work)
    assert SECRET not in str(caught.value)
    assert f"'{SECRET}', 1" not in str(caught.value.__cause__)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+asyncpg"])
async def test_the_forms_of_a_postgresql_url_mean_the_same(postgres: Server, scheme: str) -> None:
    url = postgres.url.replace("postgresql:", f"{scheme}:")
    with pytest.raises(Unavailable, match=r"database\.migrate"):
        async with open_database(f"{url}?search_path=nowhere", migrate=False):
            pass


@pytest.mark.parametrize("store_server", ["postgres"], indirect=True)
async def test_a_connection_that_broke_is_replaced_once(database_url: str) -> None:
    async with (
        open_database(database_url, pool_size=2) as broken,
        open_database(database_url, pool_size=1) as other,
    ):
        store = SqlCheckpointStore(broken)
        for step in range(3):
            pid = text("SELECT pg_backend_pid()")
            backend = await broken.read(lambda c: c.execute(pid).scalar_one())  # noqa: B023 - used at once
            kill = text("SELECT pg_terminate_backend(:pid, 5000)")
            assert await other.read(
                lambda c: c.execute(kill, {"pid": backend}).scalar_one()  # noqa: B023 - used at once
            )
            await store.put(checkpoint(step))
        assert await store.get(THREAD, None) == whole(2)


class Breaking:
    """A driver whose first transactions fail with the errors it was given."""

    def __init__(self, *errors: Exception) -> None:
        self.dialect = "sqlite"
        self.errors = list(errors)
        self.runs = 0

    async def run(self, work: Callable[[Connection], Result], *, writing: bool) -> Result:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)
        assert writing
        return await asyncio.to_thread(_in_memory, work)

    async def close(self) -> None: ...


def _in_memory(work: Callable[[Connection], Result]) -> Result:
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


class _Sqlstate(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__("the driver's own words")
        self.sqlstate = sqlstate


def driver_error(sqlstate: str = "", *, lost: bool = False) -> OperationalError:
    return OperationalError("SELECT", {}, _Sqlstate(sqlstate), connection_invalidated=lost)


async def ask(driver: Breaking) -> int:
    return await Database(driver).write(lambda c: c.execute(text("SELECT 7")).scalar_one())


@pytest.mark.parametrize(
    "error",
    [driver_error(lost=True), driver_error("40001"), driver_error("40P01"), ConnectionResetError()],
)
async def test_a_transaction_that_wrote_nothing_is_run_again_once(error: Exception) -> None:
    driver = Breaking(error)
    assert await ask(driver) == 7
    assert driver.runs == 2
    driver = Breaking(error, error)
    with pytest.raises((Unavailable, Conflict)) as caught:
        await ask(driver)
    assert driver.runs == 2
    assert "own words" not in caught.value.detail


BUSY = sqlite3.OperationalError("database is locked")
BUSY.sqlite_errorcode = sqlite3.SQLITE_BUSY
FULL = sqlite3.OperationalError("database or disk is full")
FULL.sqlite_errorcode = sqlite3.SQLITE_FULL


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (OperationalError("INSERT", {}, BUSY), Unavailable),
        (OperationalError("INSERT", {}, FULL), Unavailable),
        (BUSY, Unavailable),
        (driver_error("57P01"), Unavailable),
        (driver_error("53300"), Unavailable),
        (TimeoutError(), Unavailable),
        (CommitUnsure("commit failed"), Unavailable),
        (IntegrityError("INSERT", {}, _Sqlstate("23505")), Conflict),
        (driver_error("42P01"), OperationalError),
    ],
)
async def test_other_errors_are_translated_and_not_tried_again(
    error: Exception, failure: type[Exception]
) -> None:
    driver = Breaking(error)
    with pytest.raises(failure):
        await ask(driver)
    assert driver.runs == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FULL, "disk"),
        (driver_error("53100"), "disk"),
        (BUSY, "not available"),
        (driver_error("08006"), "not available"),
    ],
)
async def test_a_full_disk_is_told_from_other_outages(error: Exception, words: str) -> None:
    with pytest.raises(StoreDown, match=words):
        await ask(Breaking(error))


def everything_said(failure: Failure) -> str:
    said: list[str] = []
    at: BaseException | None = failure
    while at is not None:
        said += [str(at), repr(at)]
        at = at.__cause__ or at.__context__
    return "\n".join(said)
