"""The database: reached, let in, its schema as new as this release, and how fast it answers."""

import asyncio
import importlib.util
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

from isthmus.app.database import database_file, database_url
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject

SLOW_MS: Final = 100.0
OLDEST_POSTGRES: Final = 130_000
MIGRATE: Final = "isthmus db migrate"
RESTORE: Final = "isthmus db restore FILE"
_STEPS: Final = "SELECT version_num FROM alembic_version"


class _Connection(Protocol):
    async def fetchval(self, query: str) -> object: ...
    async def fetch(self, query: str) -> Sequence[Sequence[object]]: ...
    async def close(self) -> None: ...


async def check(case: Case) -> Sequence[Finding]:
    """One finding."""
    file = database_file(case.settings)
    if file is not None:
        subject = Subject("database", f"SQLite at {file} ({case.source('database.url')})")
        return [await asyncio.to_thread(_sqlite, case, subject, file)]
    url = database_url(case.settings)
    if url.startswith("sqlite"):
        return [Subject("database", "SQLite in memory").ok()]
    if not url.startswith("postgres"):
        subject = Subject("database", f"database.url ({case.source('database.url')})")
        cause = "the URL is neither PostgreSQL's nor SQLite's"
        mend = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        return [subject.fail(cause, "database.url", mend)]
    where = f"PostgreSQL at {_place(url)} ({case.source('database.url')})"
    return [await _postgres(case, Subject("database", where), url)]


def _sqlite(case: Case, subject: Subject, file: Path) -> Finding:
    if not file.exists():
        return subject.ok("it will be made at the first start")
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=2.0)
        try:
            began_s = time.perf_counter()
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            took_ms = (time.perf_counter() - began_s) * 1000
            rows = connection.execute(_STEPS).fetchall()
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return _judged(case, subject, [], 0.0, "SQLite")
        mend = f"ls -l {file}; {RESTORE} brings a backup back"
        return subject.fail(f"the file cannot be read: {error}", "database.url", mend)
    except sqlite3.DatabaseError as error:
        mend = f"{RESTORE} brings a backup back; {file} is damaged"
        return subject.fail(f"the file is no sound database: {error}", "database.url", mend)
    return _judged(
        case, subject, [str(row[0]) for row in rows], took_ms, f"SQLite {sqlite3.sqlite_version}"
    )


async def _postgres(case: Case, subject: Subject, url: str) -> Finding:
    try:
        import asyncpg  # noqa: PLC0415 - an extra
    except ImportError:
        mend = "pip install 'isthmus[postgres]'"
        return subject.fail("the driver is not installed", "database.url", mend)
    plain = f"postgresql://{url.partition('://')[2]}"
    try:
        connection = cast(
            _Connection, await asyncpg.connect(plain, timeout=max(1, int(case.limit_s * 0.8)))
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        return _refused(subject, error, url)
    try:
        server = str(await connection.fetchval("SHOW server_version"))
        number = int(str(await connection.fetchval("SHOW server_version_num")))
        began_s = time.perf_counter()
        await connection.fetchval("SELECT 1")
        took_ms = (time.perf_counter() - began_s) * 1000
        there = await connection.fetchval("SELECT to_regclass('alembic_version')::text")
        rows = await connection.fetch(_STEPS) if there else ()
    except (OSError, asyncpg.PostgresError) as error:
        return subject.fail(
            f"it refuses a question ({type(error).__name__})", "database.url", _GRANT
        )
    finally:
        await connection.close()
    if number < OLDEST_POSTGRES:
        cause = f"PostgreSQL {server} is older than 13"
        return subject.warn(cause, "database.url", "upgrade the database server")
    return _judged(case, subject, [str(row[0]) for row in rows], took_ms, f"PostgreSQL {server}")


_GRANT: Final = "GRANT ALL ON SCHEMA public TO the user in database.url"


def _judged(
    case: Case, subject: Subject, steps: Sequence[str], took_ms: float, server: str
) -> Finding:
    """What the schema's version means for this release."""
    if importlib.util.find_spec("sqlalchemy") is None:
        return subject.skip(f"{server} answers; more needs the extra isthmus[platform]")
    misfit = _misfit(case, subject, steps)
    if misfit is not None:
        return misfit
    if took_ms > SLOW_MS:
        cause = f"it took {took_ms:.0f} ms to answer: each step of a session waits for it"
        return subject.warn(cause, "database.url", "move it nearer, or look at its load")
    state = f"schema {steps[-1]}" if steps else "empty: the first start makes the schema"
    return subject.ok(f"{server}, {state}, {took_ms:.0f} ms")


def _misfit(case: Case, subject: Subject, steps: Sequence[str]) -> Finding | None:
    """A schema that is not the one of this release."""
    from isthmus.adapters.stores.schema import OURS, Fit, fit, schema_of  # noqa: PLC0415 - slow

    found = schema_of(steps)
    how = fit(found)
    if how is Fit.BEHIND and not case.settings.database.migrate:
        state = f"its schema is {found}" if steps else "it has no schema yet"
        cause = f"{state}, this release needs {OURS}, and database.migrate is off"
        return subject.fail(cause, "database.migrate", MIGRATE)
    if how is Fit.TOO_NEW:
        cause = f"a newer release took away what this one needs: its schema is {found}"
        return subject.fail(cause, "database.url", f"install the newer release, or: {RESTORE}")
    if how is Fit.AHEAD:
        cause = f"its schema is {found}, newer than the {OURS} of this release, which works on it"
        return subject.warn(cause, "database.url", f"install the newer release, or: {RESTORE}")
    if how is Fit.UNFINISHED or (how is Fit.BEHIND and steps):
        cause = f"its schema is {found}, and {OURS} is the one of this release"
        return subject.warn(cause, "database.url", MIGRATE)
    return None


def _refused(subject: Subject, error: Exception, url: str) -> Finding:
    import asyncpg  # noqa: PLC0415 - an extra

    where, path = _place(url), "database.url"
    known: tuple[tuple[type[Exception], str, str, str], ...] = (
        (
            asyncpg.InvalidAuthorizationSpecificationError,
            "it refuses the user, or the password, of database.url",
            path,
            f"psql -h {where.rpartition(':')[0]} -U USER DATABASE",
        ),
        (asyncpg.InvalidCatalogNameError, "it has no database of that name", path, "createdb NAME"),
        (
            asyncpg.TooManyConnectionsError,
            "it has no connection left",
            "database.pool_size",
            "lower it, or raise max_connections there",
        ),
        (
            TimeoutError,
            f"{where} did not answer in time: a firewall is likely between",
            path,
            f"pg_isready -h {where.rpartition(':')[0]}",
        ),
        (
            OSError,
            f"nothing listens at {where}: it is down, or elsewhere",
            path,
            "start PostgreSQL, or correct database.url",
        ),
        (ValueError, "the URL cannot be read", path, "postgresql://USER:PASSWORD@HOST/NAME"),
    )
    for kind, cause, setting, mend in known:
        if isinstance(error, kind):
            return subject.fail(cause, setting, mend)
    return subject.fail(f"it refuses us ({type(error).__name__})", path, "see its log")


def _place(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or 5432
    except ValueError:
        return "an address that cannot be read"
    return f"{host}:{port}"
