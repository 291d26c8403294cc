"""Messages between users and running flows, queued in the database."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, Select, func, select, update

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.record_tables import flow_events
from isthmus.adapters.stores.statements import insert_new
from isthmus.adapters.stores.tables import workflows
from isthmus.adapters.stores.text import (
    check_key,
    check_text,
    invalid,
    stored_id,
    workflow_number,
)
from isthmus.core.errors import Conflict, LimitExceeded, NotFound
from isthmus.core.records import EventPage, EventStatus, FlowEvent

PAGE_LIMIT: Final = 100
QUEUE_LIMIT: Final = 1_000
_PAGES: Final = 10**9
_MESSAGE_LIMIT: Final = 16_384
_TYPE_LIMIT: Final = 64
_CORRELATION_BYTES: Final = 255
_FULL_S: Final = 60.0
_STATUSES: Final[Sequence[EventStatus]] = ("queued", "delivered")
_COLUMNS: Final = tuple(flow_events.columns)


class SqlEventQueue:
    """The EventQueue port over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = insert_new(flow_events, database.dialect).returning(flow_events.c.id)

    async def add(self, event: FlowEvent) -> FlowEvent:
        """Queue it. Raises NotFound, or Conflict: this correlation id was used before.

        An id is used once in a project, or in a workflow that has none. Raises LimitExceeded when
        a workflow has 1,000 events queued.
        """
        number = workflow_number(event.workflow_id)
        check_text("message", event.message, limit=_MESSAGE_LIMIT)
        check_text("event_type", event.event_type, limit=_TYPE_LIMIT)
        check_key("correlation_id", event.correlation_id, limit_bytes=_CORRELATION_BYTES)
        _check_status(event.status)

        def work(connection: Connection) -> FlowEvent:
            row = {
                "workflow_id": number,
                "scope": _scope(connection, number),
                "event_type": event.event_type,
                "status": event.status,
                "message": event.message,
                "correlation_id": event.correlation_id or None,
            }
            if connection.execute(_counted(number)).scalar_one() >= QUEUE_LIMIT:
                raise LimitExceeded("Too many events wait for this workflow.", _FULL_S)
            event_id = connection.execute(self._insert, row).scalar_one_or_none()
            if event_id is None:
                raise Conflict("This correlation_id was used before.")
            return replace(event, id=event_id)

        return await self._database.write(work)

    async def page(self, workflow_id: str, page: int, per_page: int) -> EventPage:
        """What is still queued, oldest first; at most 100."""
        number = workflow_number(workflow_id)
        if not 1 <= page <= _PAGES or per_page < 1:
            raise invalid("page", "must be at least 1, and per_page too")
        per_page = min(per_page, PAGE_LIMIT)
        wanted = (
            select(*_COLUMNS)
            .where(flow_events.c.workflow_id == number, flow_events.c.status == "queued")
            .order_by(flow_events.c.id)
            .limit(per_page)
            .offset((page - 1) * per_page)
        )

        def work(connection: Connection) -> EventPage:
            total = connection.execute(_counted(number)).scalar_one()
            return EventPage(tuple(_event(row) for row in connection.execute(wanted)), total)

        return await self._database.read(work)

    async def mark(self, workflow_id: str, event_id: int, status: str) -> FlowEvent:
        """Set its status. Raises NotFound, or Invalid for a status that no event has."""
        number = workflow_number(workflow_id)
        _check_status(status)
        statement = (
            update(flow_events)
            .where(flow_events.c.workflow_id == number, flow_events.c.id == stored_id(event_id))
            .values(status=status)
            .returning(*_COLUMNS)
        )

        def work(connection: Connection) -> FlowEvent:
            row = connection.execute(statement).one_or_none()
            if row is None:
                raise NotFound(f"There is no event {event_id} of workflow {number}.")
            return _event(row)

        return await self._database.write(work)


def _scope(connection: Connection, number: int) -> str:
    """Where a correlation id is used once; the workflow's row stays locked."""
    row = connection.execute(
        select(workflows.c.project_id).where(workflows.c.id == number).with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no workflow {number}.")
    return f"workflow {number}" if row.project_id is None else f"project {row.project_id}"


def _counted(number: int) -> Select[int]:
    return select(func.count()).where(
        flow_events.c.workflow_id == number, flow_events.c.status == "queued"
    )


def _check_status(status: str) -> None:
    if status not in _STATUSES:
        raise invalid("event_status", "must be queued or delivered")


def _event(row: Row[Any]) -> FlowEvent:
    return FlowEvent(
        workflow_id=str(row.workflow_id),
        event_type=row.event_type,
        message=row.message,
        correlation_id=row.correlation_id or "",
        status=cast(EventStatus, row.status),
        id=row.id,
    )
