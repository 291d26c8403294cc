"""Workflow records in the database."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, literal, select, update
from sqlalchemy import exists as sql_exists

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.instants import micros, utc
from isthmus.adapters.stores.leases import check_lease
from isthmus.adapters.stores.record_tables import OF_WORKFLOW
from isthmus.adapters.stores.statements import insert_new
from isthmus.adapters.stores.tables import OF_THREAD, counters, workflows
from isthmus.adapters.stores.text import MAX_ID, check_text, workflow_number
from isthmus.adapters.stores.workflow_list import page_statement, stuck_statement
from isthmus.adapters.stores.workflow_rows import (
    METADATA_LIMIT,
    MODEL_FIELD,
    changed_values,
    new_values,
    workflow,
)
from isthmus.core.errors import Conflict, NotFound, Unavailable
from isthmus.core.lease import Lease
from isthmus.core.page import Page
from isthmus.core.ports import Clock
from isthmus.core.workflow import (
    MOVES,
    STORED,
    NewWorkflow,
    Status,
    StatusEvent,
    Workflow,
    WorkflowQuery,
    after,
)

PAGE_LIMIT: Final = 100
_STUCK_LIMIT: Final = 1_000
_ID_TRIES: Final = 5
_COLUMNS: Final = tuple(workflows.columns)


class SqlWorkflowStore:
    """The WorkflowStore port over SQLite or PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._insert = insert_new(workflows, database.dialect).returning(workflows.c.id)

    async def create(self, new: NewWorkflow) -> Workflow:
        """A new record in status created. Raises Invalid, or Conflict when its id is taken."""
        number = workflow_number(new.workflow_id) if new.workflow_id else None
        now_us = micros(self._clock.utc())
        values = new_values(new, now_us)

        def work(connection: Connection) -> int:
            if number is None:
                return self._insert_next(connection, values)
            if not self._insert_as(connection, number, values):
                raise Conflict(f"Workflow {number} exists already.")
            return number

        workflow_id = str(await self._database.write(work))
        at = utc(now_us)
        return Workflow(
            workflow_id=workflow_id,
            definition=new.definition,
            goal=new.goal,
            owner=new.owner,
            status=Status.CREATED,
            model="",
            created_at=at,
            updated_at=at,
            project_id=new.project_id,
            namespace_id=new.namespace_id,
            title=new.title,
            terms=new.terms,
        )

    async def get(self, workflow_id: str) -> Workflow:
        """The record. Raises NotFound, or Invalid for an id that is no number."""
        number = workflow_number(workflow_id)
        return await self._database.read(lambda connection: _find(connection, number))

    async def page(self, query: WorkflowQuery) -> Page[Workflow]:
        """Records in the order asked for; at most 100. An `after_id` of nobody ends the list."""
        limit = min(query.limit, PAGE_LIMIT)
        statement = page_statement(query).limit(limit + 1)

        def work(connection: Connection) -> Page[Workflow]:
            rows = connection.execute(statement).all()
            return Page(tuple(workflow(row) for row in rows[:limit]), len(rows) > limit)

        return await self._database.read(work)

    async def move(
        self, workflow_id: str, event: StatusEvent, lease: Lease | None = None
    ) -> Workflow:
        """Compare and set by the table of moves. Raises NotFound, or Conflict: illegal move.

        Raises Interrupted when `lease` is given, and no longer the session's.
        """
        number = workflow_number(workflow_id)
        sources, target = MOVES[event]
        statement = (
            update(workflows)
            .where(
                workflows.c.id == number,
                workflows.c.status.in_([STORED[status] for status in sources]),
            )
            .values(status=STORED[target], updated_at_us=micros(self._clock.utc()))
            .returning(*_COLUMNS)
        )

        def work(connection: Connection) -> Workflow:
            check_lease(connection, lease)
            row = connection.execute(statement).one_or_none()
            if row is not None:
                return workflow(row)
            after(_find(connection, number).status, event)
            raise Conflict(f"Workflow {number} changed while it was asked to {event}.")

        return await self._database.write(work)

    async def pin(self, workflow_id: str, model: str) -> Workflow:
        """Remember the model of a session (JSON text); a blank never clears it. Raises NotFound."""
        number = workflow_number(workflow_id)
        check_text(MODEL_FIELD, model, limit=METADATA_LIMIT)
        if not model.strip():
            return await self.get(workflow_id)
        statement = (
            update(workflows)
            .where(workflows.c.id == number)
            .values(model=model, updated_at_us=micros(self._clock.utc()))
            .returning(*_COLUMNS)
        )

        def work(connection: Connection) -> Workflow:
            row = connection.execute(statement).one_or_none()
            if row is None:
                raise _missing(number)
            return workflow(row)

        return await self._database.write(work)

    async def change(self, workflow_id: str, apply: Callable[[Workflow], Workflow]) -> Workflow:
        """Store `apply` of the record, in one transaction; it may run twice. Raises NotFound.

        Title, summary, flow, job, deployment, terms and approvals may change, nothing else. Raises
        Invalid for what does not fit. `apply` may run on another thread.
        """
        number = workflow_number(workflow_id)
        now_us = micros(self._clock.utc())

        def work(connection: Connection) -> Workflow:
            values = changed_values(apply(_find(connection, number, locked=True)))
            row = connection.execute(
                update(workflows)
                .where(workflows.c.id == number)
                .values(**values, updated_at_us=now_us)
                .returning(*_COLUMNS)
            ).one()
            return workflow(row)

        return await self._database.write(work)

    async def delete(self, workflow_id: str) -> None:
        """The record and all that hangs on it: checkpoints, records, events. Raises NotFound."""
        number = workflow_number(workflow_id)

        def work(connection: Connection) -> None:
            # The record first: whoever adds to it locks its row, so nothing comes in behind us.
            gone = delete(workflows).where(workflows.c.id == number).returning(workflows.c.id)
            if connection.execute(gone).one_or_none() is None:
                raise _missing(number)
            for table in OF_WORKFLOW:
                connection.execute(delete(table).where(table.c.workflow_id == number))
            for table in OF_THREAD:
                connection.execute(delete(table).where(table.c.thread_id == str(number)))

        await self._database.write(work)

    async def stuck(self, before: datetime, limit: int = 100) -> Sequence[str]:
        """Ids of records in created or running that nothing has touched since `before`."""
        statement = stuck_statement(before).limit(min(limit, _STUCK_LIMIT))

        def work(connection: Connection) -> Sequence[str]:
            return [str(number) for number in connection.execute(statement).scalars()]

        return await self._database.read(work)

    def _insert_as(self, connection: Connection, number: int, values: Mapping[str, object]) -> bool:
        row = {"id": number, **values}
        return connection.execute(self._insert, row).scalar_one_or_none() is not None

    def _insert_next(self, connection: Connection, values: Mapping[str, object]) -> int:
        number = _count_up(connection)
        for _ in range(_ID_TRIES):
            if self._insert_as(connection, number, values):
                return number
            number = _first_gap(connection, number)
        raise Unavailable("No free workflow id was found.")


def _count_up(connection: Connection) -> int:
    """The next number of the counter; its row stays locked until the transaction ends."""
    return connection.execute(
        update(counters)
        .where(counters.c.name == "workflow")
        .values(value=counters.c.value + 1)
        .returning(counters.c.value)
    ).scalar_one()


def _first_gap(connection: Connection, taken: int) -> int:
    """The first number after `taken` that no record has; the counter goes on from there."""
    later = workflows.alias()
    gap = connection.execute(
        select(workflows.c.id + 1)
        .where(
            workflows.c.id >= taken,
            workflows.c.id < MAX_ID,
            ~sql_exists(select(literal(1)).where(later.c.id == workflows.c.id + 1)),
        )
        .order_by(workflows.c.id)
        .limit(1)
    ).scalar_one_or_none()
    if gap is None:
        raise Unavailable("No free workflow id is left.")
    connection.execute(update(counters).where(counters.c.name == "workflow").values(value=gap))
    return gap


def _find(connection: Connection, number: int, *, locked: bool = False) -> Workflow:
    statement = select(*_COLUMNS).where(workflows.c.id == number)
    row = connection.execute(statement.with_for_update() if locked else statement).one_or_none()
    if row is None:
        raise _missing(number)
    return workflow(row)


def _missing(number: int) -> NotFound:
    return NotFound(f"There is no workflow {number}.")
