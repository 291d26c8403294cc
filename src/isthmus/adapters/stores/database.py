"""Opens the database that a URL names and runs transactions on it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from sqlalchemy import Connection, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from isthmus.adapters.stores.failures import DRIVER_ERRORS, is_locked, may_retry, translate
from isthmus.adapters.stores.schema import OURS, Fit, Schema, fit, read_schema
from isthmus.core.errors import FieldError, Invalid, Unavailable

if TYPE_CHECKING:  # loaded where a step is missing
    from isthmus.adapters.stores.steps import Phase, Steps

Result = TypeVar("Result")

_POSTGRES: Final = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})
_STATEMENT_S: Final = 30.0
MIGRATION_S: Final = 3_600.0
"""Limit of a statement of a migration, a backup or a restore."""
_LOCK_TRIES: Final = 20
_LOCK_PAUSE_S: Final = 1.0
_SQLITE: Final = frozenset({"sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"})


class Driver(Protocol):
    """One kind of database."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        ...

    async def run(self, work: Callable[[Connection], Result], *, writing: bool) -> Result:
        """Begin, `work`, commit. Raises the driver's errors, and CommitUnsure."""
        ...

    async def close(self) -> None: ...


class Database:
    """Runs transactions, and says in our errors what went wrong with them.

    `work` is a plain function of a connection: it runs on a thread or inside the driver, so it
    awaits nothing, and it may run twice, so it changes nothing but the database.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._driver.dialect

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        """A transaction that sees one state throughout. Raises Unavailable."""
        return await self._run(work, writing=False)

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """A transaction that is committed whole or not at all. Raises Conflict, Unavailable."""
        return await self._run(work, writing=True)

    async def ping(self) -> None:
        """Raises Unavailable when the database does not answer."""
        await self.read(_ask)

    async def _run(self, work: Callable[[Connection], Result], *, writing: bool) -> Result:
        try:
            return await self._driver.run(work, writing=writing)
        except DRIVER_ERRORS as error:
            if not may_retry(error):
                raise (translate(error) or error) from error
        try:
            return await self._driver.run(work, writing=writing)
        except DRIVER_ERRORS as error:
            raise (translate(error) or error) from error


@asynccontextmanager
async def open_database(
    url: str, *, pool_size: int = 10, migrate: bool = True
) -> AsyncIterator[Database]:
    """The database that `url` names, with a schema that this release can use.

    `migrate` brings the schema up to date first; any number of processes may do so at once. On
    PostgreSQL, where others may still run the release before, only the `pre` steps are taken then.
    Raises what `connect_database` does, and Unavailable for a schema that does not suit.
    """
    async with connect_database(url, pool_size=pool_size) as database:
        found = await read_version(database)
        if migrate and fit(found) in {Fit.BEHIND, Fit.UNFINISHED}:
            if database.dialect == "sqlite":
                await migrate_database(url, "all", database)
            elif fit(found) is Fit.BEHIND:
                await migrate_database(url, "pre")
            found = await read_version(database)
        if not fit(found).works:
            raise Unavailable(refusal(found))
        yield database


@asynccontextmanager
async def connect_database(
    url: str, *, pool_size: int = 1, statement_s: float = _STATEMENT_S
) -> AsyncIterator[Database]:
    """The database that `url` names, whatever its schema: `sqlite:///FILE`, `postgresql://...`.

    `sqlite://` is one in memory. Raises Invalid for a URL that cannot be read, Unavailable when the
    database cannot be opened. No error repeats the URL: it may hold a password.
    """
    driver = await _open(url, pool_size, statement_s)
    try:
        yield Database(driver)
    finally:
        await driver.close()


async def migrate_database(
    url: str, phase: "Phase" = "all", database: Database | None = None
) -> Sequence[str]:
    """Take the steps of a phase that the database lacks; tells which they were.

    Raises what `connect_database` does, and Rejected for post steps that come too early.
    """
    steps = await asyncio.to_thread(_load_steps)

    def apply(connection: Connection) -> Sequence[str]:
        return steps.apply(connection, phase)

    if database is not None:
        return await _patiently(database, apply)
    # A connection of its own: building an index may take longer than any statement of a session.
    async with connect_database(url, statement_s=MIGRATION_S) as alone:
        await read_version(alone)
        return await _patiently(alone, apply)


async def read_version(database: Database) -> Schema:
    """The schema that the database has. Raises Unavailable, naming the setting."""
    try:
        return await database.read(read_schema)
    except Unavailable as error:
        raise Unavailable("database.url: the database does not answer, or refuses us.") from error


def refusal(found: Schema) -> str:
    """Why a release cannot work on this schema, and what mends it."""
    if fit(found) is Fit.TOO_NEW:
        return (
            f"database.url: the schema ({found}) is of a newer release, which took away what this "
            f"one ({OURS}) needs. Run a release of schema {found.least} or newer, or put the "
            "backup from before the upgrade back with `isthmus db restore FILE --force`."
        )
    return (
        f"database.migrate is off, and the schema ({found}) is behind this release ({OURS}). "
        "Bring it up to date with `isthmus db migrate --phase pre`."
    )


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def _load_steps() -> "Steps":
    from isthmus.adapters.stores.steps import Steps  # noqa: PLC0415 - 0.2 s, mostly for nothing

    return Steps()


async def _patiently(
    database: Database, apply: Callable[[Connection], Sequence[str]]
) -> Sequence[str]:
    for _ in range(_LOCK_TRIES - 1):
        try:
            return await database.write(apply)
        except Unavailable as error:
            if not is_locked(error.__cause__):
                raise
        # Those who waited behind us go first.
        await asyncio.sleep(_LOCK_PAUSE_S)
    return await database.write(apply)


async def _open(url: str, pool_size: int, statement_s: float) -> Driver:
    parsed = _parse(url)
    # On a thread: files are touched, and what is imported takes a while.
    if parsed.drivername in _SQLITE:
        return await asyncio.to_thread(_sqlite, parsed, pool_size)
    return await asyncio.to_thread(_postgres, url, pool_size, statement_s)


def _sqlite(url: URL, pool_size: int) -> Driver:
    from isthmus.adapters.stores.sqlite import open_sqlite  # noqa: PLC0415 - needed by one of two

    try:
        return open_sqlite(url, pool_size)
    except DRIVER_ERRORS as error:
        raise Unavailable("database.url: the SQLite file cannot be opened.") from error


def _postgres(url: str, pool_size: int, statement_s: float) -> Driver:
    try:
        from isthmus.adapters.stores.postgres import open_postgres  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise Unavailable("database.url: PostgreSQL needs the extra isthmus[postgres].") from error
    return open_postgres(_libpq(url), pool_size, statement_s=statement_s)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in _POSTGRES | _SQLITE:
        reason = "must be sqlite:///FILE or postgresql://USER@HOST/NAME"
        raise Invalid(f"database.url {reason}.", (FieldError("database.url", reason),))
    return parsed


def _libpq(url: str) -> str:
    _, _, rest = url.partition("://")
    return f"postgresql://{rest}"


def _ask(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))
