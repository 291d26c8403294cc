"""The ledger of actions in the database."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.leases import check_lease
from isthmus.adapters.stores.statements import Prepared, insert_or_replace
from isthmus.adapters.stores.tables import actions
from isthmus.adapters.stores.text import MAX_ID, THREAD_BYTES, check_key, check_text, invalid
from isthmus.core.errors import TooLarge
from isthmus.core.lease import Lease
from isthmus.core.ledger import Sent

CALL_BYTES = 512
ANSWER_LIMIT_BYTES = 16 * 1024 * 1024
_KIND_LIMIT = 128


class SqlLedger:
    """The Ledger port over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._write = Prepared(insert_or_replace(actions, database.dialect))

    async def read(self, thread_id: str) -> Sequence[Sent]:
        """What was sent, and not yet answered in a checkpoint."""
        check_key("thread_id", thread_id, limit_bytes=THREAD_BYTES)
        statement = (
            select(*actions.columns)
            .where(actions.c.thread_id == thread_id)
            .order_by(actions.c.call_id, actions.c.idx)
        )

        def work(connection: Connection) -> Sequence[Sent]:
            return [
                Sent(row.call_id, row.idx, row.request_id, row.kind, row.memory, row.answer)
                for row in connection.execute(statement)
            ]

        return await self._database.read(work)

    async def write(self, lease: Lease, sent: Sequence[Sent]) -> None:
        """Entries, new ones and settled ones, in one transaction. Raises Interrupted: too late."""
        rows = [_row(lease.thread_id, one) for one in sent]

        def work(connection: Connection) -> None:
            check_lease(connection, lease)
            self._write.run(connection, rows)

        if rows:
            await self._database.write(work)

    async def forget(self, lease: Lease, calls: Sequence[str]) -> None:
        """A checkpoint holds what these calls gave. Raises Interrupted: too late."""

        def work(connection: Connection) -> None:
            check_lease(connection, lease)
            forget_calls(connection, lease.thread_id, calls)

        await self._database.write(work)


def forget_calls(connection: Connection, thread_id: str, calls: Sequence[str]) -> None:
    """Delete the entries of calls, as a part of a transaction."""
    if calls:
        connection.execute(
            delete(actions).where(actions.c.thread_id == thread_id, actions.c.call_id.in_(calls))
        )


def _row(thread_id: str, sent: Sent) -> dict[str, object]:
    check_key("thread_id", thread_id, limit_bytes=THREAD_BYTES)
    check_key("call_id", sent.call_id, limit_bytes=CALL_BYTES)
    check_key("request_id", sent.request_id, limit_bytes=CALL_BYTES)
    check_key("memory", sent.memory, limit_bytes=CALL_BYTES)
    check_text("kind", sent.kind, limit=_KIND_LIMIT)
    if not 0 <= sent.index <= MAX_ID:
        raise invalid("index", "must be a number of 0 to 63 bits")
    if sent.answer is not None and len(sent.answer) > ANSWER_LIMIT_BYTES:
        raise TooLarge("An answer is too large to be stored.", ANSWER_LIMIT_BYTES)
    return {
        "thread_id": thread_id,
        "call_id": sent.call_id,
        "idx": sent.index,
        "request_id": sent.request_id,
        "kind": sent.kind,
        "memory": sent.memory,
        "answer": sent.answer,
    }
