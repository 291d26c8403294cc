"""Opens the database that a URL names and runs transactions on it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar

from sqlalchemy import Connection, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from isthmus.adapters.stores.failures import DRIVER_ERRORS, may_retry, translate
from isthmus.adapters.stores.schema import load_upgrade, up_to_date
from isthmus.core.errors import FieldError, Invalid, Unavailable

Result = TypeVar("Result")

_POSTGRES: Final = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})
_STATEMENT_S: Final = 30.0
_MIGRATION_S: Final = 3_600.0
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
    """The database that `url` names: `sqlite:///FILE`, `sqlite://` (memory), `postgresql://...`.

    `migrate` brings the schema up to date first; any number of processes may do so at once. Raises
    Invalid for a URL that cannot be read, Unavailable when the database cannot be opened or its
    schema is too old. No error repeats the URL: it may hold a password.
    """
    driver = await _open(url, pool_size)
    try:
        database = Database(driver)
        if not await _is_up_to_date(database):
            if not migrate:
                raise Unavailable("database.migrate is off, and the schema is not up to date.")
            await _migrate(url, database)
        yield database
    finally:
        await driver.close()


async def migrate_database(url: str) -> None:
    """Bring the schema of the database at `url` up to date. Raises what `open_database` raises."""
    async with open_database(url, pool_size=1):
        pass


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


async def _is_up_to_date(database: Database) -> bool:
    try:
        return await database.read(up_to_date)
    except Unavailable as error:
        raise Unavailable("database.url: the database does not answer, or refuses us.") from error


async def _migrate(url: str, database: Database) -> None:
    upgrade = await asyncio.to_thread(load_upgrade)
    if database.dialect == "sqlite":
        await database.write(upgrade)
        return
    # A connection of its own: building an index may take longer than any statement of a session.
    driver = await _open(url, 1, statement_s=_MIGRATION_S)
    try:
        await Database(driver).write(upgrade)
    finally:
        await driver.close()


async def _open(url: str, pool_size: int, statement_s: float = _STATEMENT_S) -> Driver:
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
