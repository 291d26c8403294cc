"""Copies of a database: of one moment, whole or refused, and good for the other kind as well."""

import asyncio
import gzip
import json
import stat
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Connection, func, select

from isthmus.adapters.stores.archive import FORMAT, Head, verify
from isthmus.adapters.stores.backup import VERSIONS, dump, load
from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.columns import metadata
from isthmus.adapters.stores.database import (
    Database,
    connect_database,
    open_database,
    read_version,
    sqlite_url,
)
from isthmus.adapters.stores.schema import OURS, Schema
from isthmus.adapters.stores.steps import Steps
from isthmus.adapters.stores.tables import checkpoint_blobs, checkpoints
from isthmus.adapters.stores.users import SqlUserStore
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.accounts import NewUser
from isthmus.core.checkpoint import Thread
from isthmus.core.errors import Rejected
from isthmus.core.workflow import NewWorkflow
from tests.contract.stores.samples import checkpoint, step_id, whole
from tests.contract.stores.test_processes import putting, steps
from tests.support.clock import HandClock
from tests.support.process import RunningServer, prepare
from tests.support.servers import Server

HEAD: Final = Head(FORMAT, "0.1.0", "", "", "2026-01-02T03:04:05+00:00")


async def _fill(database: Database, *, users: Iterable[str] = ("alice", "bob")) -> None:
    clock = HandClock()
    accounts, workflows = SqlUserStore(database, clock), SqlWorkflowStore(database, clock)
    for name in users:
        await accounts.create(NewUser(name, name, f"{name}@example.com", admin=name == "alice"))
    made = await workflows.create(NewWorkflow("chat", "Größe: 漢字 '\"\\\n\t", "u1"))
    for step in range(3):
        await SqlCheckpointStore(database).put(
            checkpoint(step, thread=Thread(made.workflow_id), data=bytes(range(256)) * 40)
        )


def _rows(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    found: dict[str, list[tuple[object, ...]]] = {}
    for table in metadata.sorted_tables:
        order = list(table.primary_key.columns)
        found[table.name] = [
            tuple(row) for row in connection.execute(select(table).order_by(*order))
        ]
    return found


@asynccontextmanager
async def other_kind(database: Database, postgres: Server, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of an empty database of the other kind."""
    from tests.support.postgres import fresh_schema

    if database.dialect == "postgresql":
        yield sqlite_url(tmp_path / "other.db")
        return
    async with fresh_schema(postgres) as url:
        yield url


def idle_at(folder: Path, url: str) -> RunningServer:
    """What runs commands on this database."""
    folder.mkdir(exist_ok=True)
    return prepare(folder, {"ISTHMUS_DATABASE__URL": url})


async def told(idle: RunningServer, *arguments: str) -> str:
    """Run a command that must work."""
    done = await asyncio.to_thread(idle.command, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_copy_goes_into_the_other_kind_and_numbers_go_on(
    database: Database, database_url: str, postgres: Server, tmp_path: Path
) -> None:
    await _fill(database)
    accounts = SqlUserStore(database, HandClock())
    gone = await accounts.create(NewUser("gone", "gone", "g@example.com", admin=False))
    await database.write(lambda c: c.exec_driver_sql(f"DELETE FROM users WHERE id = {gone.id}"))  # noqa: S608 - a number
    before = await database.read(_rows)
    assert len(before["users"]) == 3
    here = await asyncio.to_thread(idle_at, tmp_path / "here", database_url)
    assert "Signing keys are not in it" in await told(here, "db", "backup", "copy.gz")
    file = here.folder / "copy.gz"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with other_kind(database, postgres, tmp_path) as url:
        there = await asyncio.to_thread(idle_at, tmp_path / "there", url)
        assert "schema 0" in await told(there, "db", "restore", str(file))
        async with open_database(url, migrate=False) as restored:
            assert await restored.read(_rows) == before
            assert await read_version(restored) == OURS
            # An id that was given once is not given again, though its row is gone.
            new = await SqlUserStore(restored, HandClock()).create(
                NewUser("new", "new", "n@example.com", admin=False)
            )
            assert new.id == gone.id + 1
            made = await SqlWorkflowStore(restored, HandClock()).create(NewWorkflow("chat", "g"))
            assert int(made.workflow_id) == 2


async def test_a_copy_under_load_is_of_one_moment(
    database: Database, database_url: str, postgres: Server, tmp_path: Path
) -> None:
    here = await asyncio.to_thread(idle_at, tmp_path / "here", database_url)
    async with (
        putting(database_url, "1") as one,
        putting(database_url, "2") as two,
    ):
        await steps(one, 30)
        await steps(two, 30)
        await told(here, "db", "backup", "copy.gz")
        await steps(one, 5)
    async with other_kind(database, postgres, tmp_path) as url:
        there = await asyncio.to_thread(idle_at, tmp_path / "there", url)
        await told(there, "db", "restore", str(here.folder / "copy.gz"))
        async with open_database(url) as restored:
            stored = [await _last_step(restored, thread_id) for thread_id in ("1", "2")]
            assert min(stored) >= 29

            def halves(connection: Connection) -> tuple[int, int]:
                kept = connection.execute(select(func.count()).select_from(checkpoints))
                blobs = connection.execute(select(func.count()).select_from(checkpoint_blobs))
                return kept.scalar_one(), blobs.scalar_one()

            steps_in_all = sum(stored) + 2
            assert await restored.read(halves) == (steps_in_all, 2 * steps_in_all)


async def _last_step(database: Database, thread_id: str) -> int:
    latest = await SqlCheckpointStore(database).get(Thread(thread_id), None)
    assert latest is not None
    step = next(n for n in range(100_000) if step_id(n) == latest.checkpoint_id)
    assert latest == whole(step, thread=Thread(thread_id))
    return step


# From here on the kind does not matter: one that needs no server.


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(sqlite_url(tmp_path / "filled.db")) as opened:
        await _fill(opened)
        yield opened


@pytest.fixture
async def copy(filled: Database, tmp_path: Path) -> Path:
    """A good copy of it."""
    path = tmp_path / "copy.gz"
    await filled.read(lambda c: dump(c, path, HEAD))
    return path


async def _restored(tmp_path: Path, path: Path, *, force: bool = False) -> None:
    found = await asyncio.to_thread(Steps)
    async with connect_database(sqlite_url(tmp_path / "empty.db")) as database:
        await database.write(lambda c: load(c, path, found, force=force))


def _changed(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(change(lines))))


def _later(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'"isthmus_backup":1', b'"isthmus_backup":2'), *lines[1:]]


DAMAGES: Final[dict[str, Callable[[Path], object]]] = {
    "a byte of a row": lambda path: _changed(
        path, lambda lines: [line.replace(b"alice@", b"alicf@") for line in lines]
    ),
    "a row is missing": lambda path: _changed(
        path, lambda lines: [line for line in lines if b"alice@" not in line]
    ),
    "the last line is missing": lambda path: _changed(path, lambda lines: lines[:-1]),
    "something follows": lambda path: _changed(path, lambda lines: [*lines, b"[1]\n"]),
    "a later format": lambda path: _changed(path, _later),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "a flipped bit": lambda path: path.write_bytes(
        path.read_bytes()[:400] + bytes([path.read_bytes()[400] ^ 1]) + path.read_bytes()[401:]
    ),
    "not gzip": lambda path: path.write_bytes(b"PGDMP" * 100),
    "empty": lambda path: path.write_bytes(b""),
    "no backup": lambda path: path.write_bytes(gzip.compress(b'{"some":"json"}\n')),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_is_refused_and_nothing_is_changed(
    copy: Path, tmp_path: Path, damage: str
) -> None:
    await _restored(tmp_path, copy)
    async with connect_database(sqlite_url(tmp_path / "empty.db")) as database:
        before = await database.read(_rows)
    await asyncio.to_thread(DAMAGES[damage], copy)
    with pytest.raises(Rejected, match=r"copy\.gz"):
        await asyncio.to_thread(verify, copy)
    with pytest.raises(Rejected, match=r"copy\.gz"):
        await _restored(tmp_path, copy, force=True)
    async with connect_database(sqlite_url(tmp_path / "empty.db")) as database:
        assert await database.read(_rows) == before


async def test_a_database_that_holds_something_is_replaced_only_by_force(
    copy: Path, filled: Database, tmp_path: Path
) -> None:
    async with open_database(sqlite_url(tmp_path / "empty.db")) as database:
        await _fill(database, users=("carol",))
    with pytest.raises(Rejected, match="--force"):
        await _restored(tmp_path, copy)
    await _restored(tmp_path, copy, force=True)
    async with open_database(sqlite_url(tmp_path / "empty.db")) as database:
        assert await database.read(_rows) == await filled.read(_rows)


async def test_a_database_that_a_server_only_opened_counts_as_empty(
    copy: Path, filled: Database, tmp_path: Path
) -> None:
    async with open_database(sqlite_url(tmp_path / "empty.db")):
        pass
    await _restored(tmp_path, copy)
    async with open_database(sqlite_url(tmp_path / "empty.db")) as database:
        assert await database.read(_rows) == await filled.read(_rows)


async def test_a_copy_of_an_older_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    found = await asyncio.to_thread(Steps)
    path = tmp_path / "old.gz"
    async with connect_database(sqlite_url(tmp_path / "old.db")) as old:
        await old.write(lambda c: found.build(c, Schema("0002")))
        await old.write(
            lambda c: c.exec_driver_sql(
                "INSERT INTO workflows (id, definition, goal, owner, status, model, created_at_us,"
                " updated_at_us) VALUES (3, 'chat', 'g', 'u', 1, '', 5, 5)"
            )
        )
        await old.read(lambda c: dump(c, path, HEAD))
    await _restored(tmp_path, path)
    async with open_database(sqlite_url(tmp_path / "empty.db"), migrate=False) as database:
        assert await read_version(database) == OURS
        kept = await SqlWorkflowStore(database, HandClock()).get("3")
        assert (kept.goal, kept.deployment) == ("g", "")
        assert [u.username for u in await SqlUserStore(database, HandClock()).all()] == ["local"]


async def test_a_copy_of_a_newer_schema_names_the_release_that_it_needs(
    filled: Database, tmp_path: Path
) -> None:
    path = tmp_path / "copy.gz"
    await filled.write(lambda c: c.exec_driver_sql(f"UPDATE {VERSIONS} SET version_num='9998'"))  # noqa: S608 - a name of ours
    await filled.read(lambda c: dump(c, path, HEAD))
    with pytest.raises(Rejected, match=r"schema 9998, which is newer"):
        await _restored(tmp_path, path)


async def test_a_file_is_never_overwritten_and_no_half_of_one_stays(
    filled: Database, copy: Path, tmp_path: Path
) -> None:
    before = await asyncio.to_thread(copy.read_bytes)
    with pytest.raises(Rejected, match="there is a file already"):
        await filled.read(lambda c: dump(c, copy, HEAD))
    assert await asyncio.to_thread(copy.read_bytes) == before
    with pytest.raises(Rejected, match="No such file or directory"):
        await filled.read(lambda c: dump(c, tmp_path / "nowhere" / "x.gz", HEAD))
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob("*.part")))


async def test_a_database_without_a_schema_has_nothing_to_keep(tmp_path: Path) -> None:
    async with connect_database(sqlite_url(tmp_path / "x.db")) as database:
        with pytest.raises(Rejected, match="nothing to keep"):
            await database.read(lambda c: dump(c, tmp_path / "x.gz", HEAD))


async def test_tables_of_somebody_else_are_not_ours_to_copy(
    filled: Database, tmp_path: Path
) -> None:
    await filled.write(lambda c: c.exec_driver_sql("CREATE TABLE theirs (at TIMESTAMP)"))
    with pytest.raises(Rejected, match=r"theirs\.at is not of Isthmus"):
        await filled.read(lambda c: dump(c, tmp_path / "x.gz", HEAD))


def test_the_lines_are_json_that_people_and_programs_can_read(copy: Path) -> None:
    lines: list[Any] = [json.loads(x) for x in gzip.decompress(copy.read_bytes()).splitlines()]
    assert lines[0] == {
        "isthmus_backup": 1,
        "release": "0.1.0",
        "pre": OURS.pre,
        "post": OURS.post,
        "made_at": HEAD.made_at,
    }
    tables = [line["table"] for line in lines if "table" in line]
    assert tables == sorted(metadata.tables)
    assert lines[-1]["rows"]["users"] == 3
