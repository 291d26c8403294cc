"""SQLite: a file in WAL mode, one thread that writes and a few that read.

A transaction runs whole on its thread, so it costs one hop instead of one a statement, and writers
of this process queue here rather than poll the file's lock. Other processes may share the file.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from isthmus.adapters.stores.failures import CommitUnsure
from isthmus.core.errors import Unavailable

Result = TypeVar("Result")

BUSY_S: Final = 5.0
_MAX_READERS: Final = 4
_OLDEST: Final = (3, 35, 0)
_READING, _WRITING = "BEGIN", "BEGIN IMMEDIATE"


class _Writer:
    """The thread that writes, with one connection. A hop to it costs half of an executor's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """One transaction. Raises Unavailable behind the end."""
        if self._closed:
            raise Unavailable("The database is closed.")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Result] = loop.create_future()
        self._jobs.put(_Job(work, loop, outcome))
        return await outcome

    def retire(self) -> None:
        """Take no more; of the loop's thread, as `run` is."""
        self._closed = True
        self._jobs.put(None)

    def join(self) -> None:
        """Wait for what was asked for before. Blocking."""
        self._thread.join()

    def _run(self) -> None:
        connection: Connection | None = None
        while (job := self._jobs.get()) is not None:
            result, failure = None, None
            try:
                connection = connection or self._engine.connect()
                result = _transact(connection, job.work, _WRITING)
            except BaseException as error:  # noqa: BLE001 - it is whose work it was that hears of it
                failure = error
                if connection is not None:
                    # The pool takes back what was begun, and gives out one that works.
                    with suppress(SQLAlchemyError, sqlite3.Error):
                        connection.close()
                    connection = None
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                job.loop.call_soon_threadsafe(_settle, job.outcome, result, failure)
            del job, result, failure
        if connection is not None:
            connection.close()


class _Job(NamedTuple):
    work: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    outcome: "asyncio.Future[Any]"


def _settle(outcome: "asyncio.Future[Any]", result: Any, failure: BaseException | None) -> None:
    if outcome.done():
        return
    if failure is None:
        outcome.set_result(result)
    else:
        outcome.set_exception(failure)


class SqliteDriver:
    """Runs transactions on threads. Built by `open_sqlite`."""

    def __init__(self, engine: Engine, readers: int) -> None:
        self.dialect = "sqlite"
        self._engine = engine
        self._writer = _Writer(engine)
        self._readers = (
            ThreadPoolExecutor(readers, thread_name_prefix="sqlite-reader") if readers else None
        )

    async def run(self, work: Callable[[Connection], Result], *, writing: bool) -> Result:
        """One transaction. When the caller is cancelled, it still ends on its thread."""
        if writing or self._readers is None:
            return await self._writer.run(work)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, work)

    async def close(self) -> None:
        """Wait for running transactions, then close every connection."""
        self._writer.retire()
        await asyncio.to_thread(self._close)

    def _read(self, work: Callable[[Connection], Result]) -> Result:
        with self._engine.connect() as connection:
            return _transact(connection, work, _READING)

    def _close(self) -> None:
        self._writer.join()
        if self._readers is not None:
            self._readers.shutdown()
        self._engine.dispose()


def open_sqlite(url: URL, pool_size: int) -> SqliteDriver:
    """Open the file that `url` names, creating it (mode 0600) and its directory. Blocks.

    Without a file name the database lives in memory, for as long as the driver is open.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise Unavailable("database.url: SQLite 3.35 or newer is needed.")
    in_memory = url.database in {None, "", ":memory:"}
    readers = 0 if in_memory else min(pool_size, _MAX_READERS)
    engine = _engine(url.set(drivername="sqlite+pysqlite", query={}), readers)
    if not in_memory:
        try:
            _prepare(engine, Path(str(url.database)))
        except BaseException:
            engine.dispose()
            raise
    return SqliteDriver(engine, readers)


def _engine(url: URL, readers: int) -> Engine:
    # sqlite3 would open transactions by itself, and never an immediate one: `_transact` does it.
    connect_args = {"isolation_level": None, "check_same_thread": False, "timeout": BUSY_S}
    if readers:
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=readers + 1,
            max_overflow=0,
            connect_args=connect_args,
            hide_parameters=True,
        )
    else:
        engine = create_engine(
            url, poolclass=StaticPool, connect_args=connect_args, hide_parameters=True
        )
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA journal_size_limit=67108864")
    # 16 MB of pages: the writer who moves them waits, and every fortieth large checkpoint would.
    connection.execute("PRAGMA wal_autocheckpoint=4000")


def _prepare(engine: Engine, path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives the -wal and -shm files the mode of the database file.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    give_up_s = time.monotonic() + BUSY_S
    while True:
        try:
            _enter_wal(engine)
        except sqlite3.OperationalError as error:
            # Two processes that switch a new file at once: SQLite does not wait for this lock.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_s:
                raise
            time.sleep(0.02)
        else:
            return


def _enter_wal(engine: Engine) -> None:
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("PRAGMA journal_mode=WAL")
    finally:
        raw.close()


def _transact(connection: Connection, work: Callable[[Connection], Result], begin: str) -> Result:
    transaction = connection.begin()
    # Not by an event of the engine: with one, every statement looks for more of them, and costs
    # half as much again.
    connection.connection.cursor().execute(begin)
    result = work(connection)
    try:
        transaction.commit()
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise CommitUnsure("commit failed") from error
    return result
