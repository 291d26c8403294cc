"""Workflow records in the database."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Row, Select, and_, literal, or_, select, update
from sqlalchemy import exists as sql_exists

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.statements import insert_new
from isthmus.adapters.stores.tables import counters, workflows
from isthmus.adapters.stores.text import MAX_ID, check_key, check_text, invalid, workflow_number
from isthmus.core.errors import Conflict, NotFound, Unavailable
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

GOAL_LIMIT: Final = 16_384
PAGE_LIMIT: Final = 100
_DEFINITION_LIMIT: Final = 1_024
_OWNER_BYTES: Final = 1_024
_MODEL_LIMIT: Final = 4_096
_ID_TRIES: Final = 5

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_STATUS: Final = {number: status for status, number in STORED.items()}
_COLUMNS: Final = tuple(workflows.columns)


class SqlWorkflowStore:
    """The WorkflowStore port over SQLite or PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._insert = insert_new(workflows, database.dialect).returning(workflows.c.id)

    async def create(self, new: NewWorkflow) -> Workflow:
        """A new record in status created. Raises Invalid, or Conflict when its id is taken."""
        check_text("goal", new.goal, limit=GOAL_LIMIT)
        check_text("workflowDefinition", new.definition, limit=_DEFINITION_LIMIT)
        check_key("owner", new.owner, limit_bytes=_OWNER_BYTES)
        number = workflow_number(new.workflow_id) if new.workflow_id else None
        now_us = self._now_us()
        values: dict[str, object] = {
            "definition": new.definition,
            "goal": new.goal,
            "owner": new.owner,
            "status": STORED[Status.CREATED],
            "model": "",
            "created_at_us": now_us,
            "updated_at_us": now_us,
        }

        def work(connection: Connection) -> int:
            if number is None:
                return self._insert_next(connection, values)
            if not self._insert_as(connection, number, values):
                raise Conflict(f"Workflow {number} exists already.")
            return number

        workflow_id = str(await self._database.write(work))
        at = _utc(now_us)
        return Workflow(
            workflow_id, new.definition, new.goal, new.owner, Status.CREATED, "", at, at
        )

    async def get(self, workflow_id: str) -> Workflow:
        """The record. Raises NotFound, or Invalid for an id that is no number."""
        number = workflow_number(workflow_id)
        return await self._database.read(lambda connection: _find(connection, number))

    async def page(self, query: WorkflowQuery) -> Page[Workflow]:
        """Records, newest first; at most 100. An `after_id` that nobody has ends the list."""
        if query.limit < 1:
            raise invalid("limit", "must be at least 1")
        limit = min(query.limit, PAGE_LIMIT)
        statement = _page_statement(query).limit(limit + 1)

        def work(connection: Connection) -> Page[Workflow]:
            rows = connection.execute(statement).all()
            return Page(tuple(_workflow(row) for row in rows[:limit]), len(rows) > limit)

        return await self._database.read(work)

    async def move(self, workflow_id: str, event: StatusEvent) -> Workflow:
        """Compare and set by the table of moves. Raises NotFound, or Conflict: illegal move."""
        number = workflow_number(workflow_id)
        sources, target = MOVES[event]
        statement = (
            update(workflows)
            .where(
                workflows.c.id == number,
                workflows.c.status.in_([STORED[status] for status in sources]),
            )
            .values(status=STORED[target], updated_at_us=self._now_us())
            .returning(*_COLUMNS)
        )

        def work(connection: Connection) -> Workflow:
            row = connection.execute(statement).one_or_none()
            if row is not None:
                return _workflow(row)
            after(_find(connection, number).status, event)
            raise Conflict(f"Workflow {number} changed while it was asked to {event}.")

        return await self._database.write(work)

    async def pin(self, workflow_id: str, model: str) -> Workflow:
        """Remember the model of a session (JSON text); a blank never clears it. Raises NotFound."""
        number = workflow_number(workflow_id)
        check_text("model", model, limit=_MODEL_LIMIT)
        if not model.strip():
            return await self.get(workflow_id)
        statement = (
            update(workflows)
            .where(workflows.c.id == number)
            .values(model=model, updated_at_us=self._now_us())
            .returning(*_COLUMNS)
        )

        def work(connection: Connection) -> Workflow:
            row = connection.execute(statement).one_or_none()
            if row is None:
                raise _missing(number)
            return _workflow(row)

        return await self._database.write(work)

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

    def _now_us(self) -> int:
        return (self._clock.utc() - _EPOCH) // _MICROSECOND


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


def _page_statement(query: WorkflowQuery) -> Select[tuple[object, ...]]:
    statement = select(*_COLUMNS)
    if query.owner is not None:
        check_key("owner", query.owner, limit_bytes=_OWNER_BYTES)
        statement = statement.where(workflows.c.owner == query.owner)
    if query.statuses:
        statement = statement.where(
            workflows.c.status.in_([STORED[status] for status in query.statuses])
        )
    if query.after_id is not None:
        mark = workflows.alias("mark")
        older = workflows.c.created_at_us < mark.c.created_at_us
        statement = statement.where(
            mark.c.id == workflow_number(query.after_id),
            workflows.c.created_at_us <= mark.c.created_at_us,
            or_(older, and_(~older, workflows.c.id < mark.c.id)),
        )
    return statement.order_by(workflows.c.created_at_us.desc(), workflows.c.id.desc())


def _find(connection: Connection, number: int) -> Workflow:
    row = connection.execute(select(*_COLUMNS).where(workflows.c.id == number)).one_or_none()
    if row is None:
        raise _missing(number)
    return _workflow(row)


def _missing(number: int) -> NotFound:
    return NotFound(f"There is no workflow {number}.")


def _workflow(row: Row[tuple[object, ...]]) -> Workflow:
    return Workflow(
        workflow_id=str(row.id),
        definition=row.definition,
        goal=row.goal,
        owner=row.owner,
        status=_STATUS[row.status],
        model=row.model,
        created_at=_utc(row.created_at_us),
        updated_at=_utc(row.updated_at_us),
    )


def _utc(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)
