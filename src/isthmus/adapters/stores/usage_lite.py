"""Usage into an SQLite file that this process has no other business with.

A gateway that serves HTTP alone is spared what all other stores need, which is a third of it.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

from isthmus.adapters.stores.usage_rows import ADD, ADD_BATCH, rows_of
from isthmus.core.errors import Invalid, Unavailable
from isthmus.core.usage import UsageBatch

Result = TypeVar("Result")

REVISION: Final = "0003"
"""The schema that has the tables; see `schema.py`."""
BUSY_S: Final = 5.0
_BUGS: Final = (sqlite3.DataError, sqlite3.InterfaceError, OverflowError)


class LiteUsage:
    """What a UsageStore does for its writer. Each call opens the file, on a thread."""

    def __init__(self, path: Path) -> None:
        self._uri = f"{path.absolute().as_uri()}?mode=rw"

    async def usable(self) -> bool:
        """Whether the file is there, and has the tables."""
        try:
            return await asyncio.to_thread(self._run, _current)
        except Unavailable:
            return False

    async def add(self, batch: UsageBatch) -> bool:
        """See `UsageStore`."""

        def work(connection: sqlite3.Connection) -> bool:
            new = connection.execute(ADD_BATCH, (batch.id,)).rowcount > 0
            if new:
                connection.executemany(ADD, rows_of(batch))
            return new

        return await asyncio.to_thread(self._run, work)

    async def prune(self, before_hour: int, before_id: str) -> int:
        """See `UsageStore`."""

        def work(connection: sqlite3.Connection) -> int:
            connection.execute("DELETE FROM usage_batches WHERE id < ?", (before_id,))
            return connection.execute("DELETE FROM usage WHERE hour < ?", (before_hour,)).rowcount

        return await asyncio.to_thread(self._run, work)

    def _run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            opened = sqlite3.connect(self._uri, uri=True, timeout=BUSY_S, isolation_level=None)
            with closing(opened) as connection:
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute("BEGIN IMMEDIATE")
                result = work(connection)
                connection.execute("COMMIT")
                return result
        except _BUGS as error:
            raise Invalid("The database does not take these rows.") from error
        except sqlite3.Error as error:
            raise Unavailable("The database is not available.") from error


def _current(connection: sqlite3.Connection) -> bool:
    newest = "SELECT max(version_num) FROM alembic_version WHERE version_num NOT LIKE 'p%'"
    return str(connection.execute(newest).fetchone()[0] or "") >= REVISION
