"""Leases of sessions in the database, and the one check that every late write fails."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, update

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.instants import micros
from isthmus.adapters.stores.statements import Prepared, insert_new, insert_or_replace
from isthmus.adapters.stores.tables import leases, runners, workflows
from isthmus.adapters.stores.text import THREAD_BYTES, check_key, stored_id
from isthmus.core.errors import Interrupted, Unavailable
from isthmus.core.lease import Lease
from isthmus.core.workflow import MOVES, STORED, StatusEvent

LATE: Final = "workflow execution interrupted: another server runs this session now"
HELD: Final = "The session runs on another server; connect again a little later."

# Both databases take some 32,000 parameters in one statement.
_IDS_A_QUERY: Final = 10_000

# Shared: writers of one session do not wait for each other, and a change of hands waits for them.
_HELD: Final = Prepared(
    select(leases.c.fence).where(leases.c.thread_id == bindparam("held")).with_for_update(read=True)
)


class SqlLeases:
    """The Leases port over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begin = insert_new(leases, database.dialect)
        self._enlist = insert_new(runners, database.dialect)
        self._renew = insert_or_replace(runners, database.dialect)

    async def beats(self, own: Mapping[str, int]) -> Mapping[str, int]:
        """Write the caller's own beat, when there is one, and tell those of all runners."""

        def work(connection: Connection) -> Mapping[str, int]:
            for runner, beat in own.items():
                connection.execute(self._renew, [{"id": runner, "beat": beat}])
            return {row.id: row.beat for row in connection.execute(select(*runners.columns))}

        return await (self._database.write(work) if own else self._database.read(work))

    async def take(self, thread_id: str, runner: str, client: str = "") -> Lease:
        """The session, if nobody else holds it, or whoever does is not known (any more).

        A client that comes back takes it from whoever held it for that client.
        Raises Unavailable when another runner has it.
        """
        check_key("thread_id", thread_id, limit_bytes=THREAD_BYTES)
        found = select(*leases.columns).where(leases.c.thread_id == thread_id).with_for_update()

        def work(connection: Connection) -> Lease:
            row = connection.execute(found).one_or_none()
            if row is None:
                begin = {"thread_id": thread_id, "runner": "", "fence": 0}
                connection.execute(self._begin, [begin])
                row = connection.execute(found).one()
            back = client != "" and row.client == client
            free = back or row.runner in {"", runner}
            if not free and _lives(connection, row.runner):
                raise Unavailable(HELD, 1.0)
            connection.execute(self._enlist, [{"id": runner, "beat": 0}])
            taken = Lease(thread_id, runner, row.fence + 1)
            connection.execute(
                update(leases)
                .where(leases.c.thread_id == thread_id)
                .values(runner=runner, fence=taken.fence, client=client)
            )
            return taken

        return await self._database.write(work)

    async def release(self, lease: Lease) -> None:
        """Let go; a lease that is another's already stays as it is."""
        statement = (
            update(leases)
            .where(leases.c.thread_id == lease.thread_id, leases.c.fence == lease.fence)
            .values(runner="")
        )

        def work(connection: Connection) -> None:
            connection.execute(statement)

        await self._database.write(work)

    async def reap(self, dead: str, beat: int, at: datetime) -> Sequence[str]:
        """Strike a dead runner off: all that it holds is free, and its records say so, as of `at`.

        Unless it has gone on from this beat. Tells which records were running and are paused now;
        of two who do so, one is told.
        """
        struck = delete(runners).where(runners.c.id == dead, runners.c.beat == beat)
        freed = (
            update(leases)
            .where(leases.c.runner == dead)
            .values(runner="", fence=leases.c.fence + 1)
            .returning(leases.c.thread_id)
        )
        sources, target = MOVES[StatusEvent.PAUSE]
        running = workflows.c.status.in_([STORED[status] for status in sources])
        paused = update(workflows).values(status=STORED[target], updated_at_us=micros(at))

        def work(connection: Connection) -> Sequence[str]:
            # Of two who do so, one waits here for the other, and finds nothing then.
            if not connection.execute(struck).rowcount:
                return ()
            found = connection.execute(freed).scalars()
            # Sessions with other names have their records at an instance.
            ids = [stored_id(int(name)) for name in found if name.isdecimal()]
            told: list[str] = []
            for first in range(0, len(ids), _IDS_A_QUERY):
                some = workflows.c.id.in_(ids[first : first + _IDS_A_QUERY])
                lost = paused.where(some, running).returning(workflows.c.id)
                told += map(str, connection.execute(lost).scalars())
            return told

        return await self._database.write(work)

    async def leave(self, runner: str) -> None:
        """Let go of everything; the runner ends."""

        def work(connection: Connection) -> None:
            connection.execute(update(leases).where(leases.c.runner == runner).values(runner=""))
            connection.execute(delete(runners).where(runners.c.id == runner))

        await self._database.write(work)


def check_lease(connection: Connection, lease: Lease | None) -> None:
    """Hold the session in these hands until the transaction ends. Raises Interrupted: too late."""
    if lease is None:
        return
    if _HELD.scalar(connection, {"held": lease.thread_id}) != lease.fence:
        raise Interrupted(LATE)


def _lives(connection: Connection, runner: str) -> bool:
    found = select(runners.c.id).where(runners.c.id == runner)
    return connection.execute(found).one_or_none() is not None
