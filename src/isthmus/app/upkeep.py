"""Looking after the database without a server: its schema, how it answers, and copies of it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect

import isthmus
from isthmus.adapters.stores.archive import FORMAT, Head, verify
from isthmus.adapters.stores.backup import dump, load
from isthmus.adapters.stores.database import (
    MIGRATION_S,
    Database,
    connect_database,
    read_version,
)
from isthmus.adapters.stores.failures import is_locked
from isthmus.adapters.stores.schema import OURS, Fit, Schema, fit, is_post
from isthmus.adapters.stores.steps import Steps
from isthmus.app.database import database_file, database_url
from isthmus.core.errors import Rejected, Unavailable
from isthmus.core.ports import Clock
from isthmus.settings import Settings

_ASKED: Final = 5


@dataclass(frozen=True, slots=True)
class Health:
    """How a database is. `fit` says whether this release can use it; times are milliseconds."""

    dialect: str
    schema: Schema
    fit: Fit
    pre: Sequence[str]
    """Steps that are missing, and come before this release is run."""
    post: Sequence[str]
    """Steps that are missing, and come when nothing older runs any more."""
    tables: int
    latency_ms: float
    ours: Schema = OURS


async def examine(settings: Settings, clock: Clock) -> Health:
    """Look at the database that is set, and change nothing. Raises Invalid, Unavailable."""
    steps = await asyncio.to_thread(Steps)
    file = database_file(settings)
    if file is not None and not await asyncio.to_thread(file.exists):
        # Opening it would make it.
        return _health("sqlite", Schema(), steps, tables=0, latency_ms=0.0)
    async with connect_database(database_url(settings)) as database:
        schema = await read_version(database)
        tables = await database.read(lambda c: len(inspect(c).get_table_names()))
        latency_ms = await _latency_ms(database, clock)
        return _health(database.dialect, schema, steps, tables=tables, latency_ms=latency_ms)


def _health(
    dialect: str, schema: Schema, steps: Steps, *, tables: int, latency_ms: float
) -> Health:
    missing = steps.missing(schema)
    return Health(
        dialect=dialect,
        schema=schema,
        fit=fit(schema),
        pre=[step for step in missing if not is_post(step)],
        post=[step for step in missing if is_post(step)],
        tables=tables,
        latency_ms=latency_ms,
    )


async def _latency_ms(database: Database, clock: Clock) -> float:
    """The median of a few questions."""
    took_s: list[float] = []
    for _ in range(_ASKED):
        begin_s = clock.now_s()
        await database.ping()
        took_s.append(clock.now_s() - begin_s)
    return sorted(took_s)[_ASKED // 2] * 1_000


async def back_up(settings: Settings, path: Path, clock: Clock) -> Mapping[str, int]:
    """Copy the database into a new file; the rows by table. Raises Rejected, Unavailable."""
    head = Head(FORMAT, isthmus.__version__, "", "", clock.utc().isoformat(timespec="seconds"))

    def work(connection: Connection) -> Mapping[str, int]:
        return dump(connection, path, head)

    async with connect_database(_present(settings), statement_s=MIGRATION_S) as database:
        await read_version(database)
        return await database.read(work)


async def restore(settings: Settings, path: Path, *, force: bool) -> tuple[Head, Mapping[str, int]]:
    """Fill the database from a file that `back_up` made; its head, and the rows by table.

    Raises Rejected for a file that is unfit, a database that is not empty (unless `force`), and one
    that a server uses.
    """
    head, _ = await asyncio.to_thread(verify, path)
    steps = await asyncio.to_thread(Steps)

    def work(connection: Connection) -> Mapping[str, int]:
        return load(connection, path, steps, force=force)

    async with connect_database(database_url(settings), statement_s=MIGRATION_S) as database:
        await read_version(database)
        try:
            return head, await database.write(work)
        except Unavailable as error:
            if is_locked(error.__cause__):
                raise Rejected("database.url: somebody uses the database; stop them") from error
            raise


def _present(settings: Settings) -> str:
    file = database_file(settings)
    if file is not None and not file.exists():
        raise Rejected(f"database.url: there is no {file}")
    return database_url(settings)
