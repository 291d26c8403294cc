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
from pathlib import Path
from typing import Final, TypeVar

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


class SqliteDriver:
    """Runs transactions on threads. Built by `open_sqlite`."""

    def __init__(self, engine: Engine, readers: int) -> None:
        self.dialect = "sqlite"
        self._engine = engine
        self._writing = engine.execution_options(isthmus_begin="BEGIN IMMEDIATE")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._readers = (
            ThreadPoolExecutor(readers, thread_name_prefix="sqlite-reader") if readers else None
        )

    async def run(self, work: Callable[[Connection], Result], *, writing: bool) -> Result:
        """One transaction. When the caller is cancelled, it still ends on its thread."""
        thread = self._writer if writing or self._readers is None else self._readers
        loop = asyncio.get_running_loop()
        engine = self._writing if writing else self._engine
        return await loop.run_in_executor(thread, _transact, engine, work)

    async def close(self) -> None:
        """Wait for running transactions, then close every connection."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.shutdown()
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
    # sqlite3 would open transactions by itself, and never an immediate one: `_begin` does it.
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
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA journal_size_limit=67108864")
    # 16 MB of pages: the writer who moves them waits, and every fortieth large checkpoint would.
    connection.execute("PRAGMA wal_autocheckpoint=4000")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("isthmus_begin", "BEGIN"))


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


def _transact(engine: Engine, work: Callable[[Connection], Result]) -> Result:
    with engine.connect() as connection:
        transaction = connection.begin()
        result = work(connection)
        try:
            transaction.commit()
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise CommitUnsure("commit failed") from error
        return result
