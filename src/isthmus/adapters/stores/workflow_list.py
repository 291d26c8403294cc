"""The statements that list workflow records: a page that somebody asked for, and the stuck ones."""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Select, String, and_, cast, literal, or_, select
from sqlalchemy import exists as sql_exists

from isthmus.adapters.stores.instants import micros
from isthmus.adapters.stores.tables import checkpoints, workflows
from isthmus.adapters.stores.text import check_key, check_text, invalid, workflow_number
from isthmus.adapters.stores.workflow_rows import OWNER_BYTES
from isthmus.core.workflow import STORED, Status, WorkflowQuery

_COLUMNS: Final = tuple(workflows.columns)
_NAMES_LIMIT: Final = 100
_SEARCH_LIMIT: Final = 255
# Of a UUID of version 6, in units of 100 ns; it counts from 15 October 1582 (RFC 9562, 5.6).
_UUID_EPOCH: Final = 0x01B21DD213814000


def page_statement(query: WorkflowQuery) -> Select[tuple[object, ...]]:
    """The records that `query` asks for, in its order, without its limit. Raises Invalid."""
    _check(query)
    table = workflows.c
    created, number = table.created_at_us, table.id
    statement = select(*_COLUMNS).where(*_narrowed(query))
    if query.after_id is not None:
        mark = workflows.alias("mark")
        # Both terms: the plain comparison of times is what an index can be searched by.
        if query.oldest_first:
            later = created > mark.c.created_at_us
            beyond = and_(created >= mark.c.created_at_us, or_(later, number > mark.c.id))
        else:
            older = created < mark.c.created_at_us
            beyond = and_(created <= mark.c.created_at_us, or_(older, number < mark.c.id))
        statement = statement.where(mark.c.id == workflow_number(query.after_id), beyond)
    if query.oldest_first:
        return statement.order_by(created, number)
    return statement.order_by(created.desc(), number.desc())


def stuck_statement(before: datetime) -> Select[int]:
    """Ids of open records that nothing has touched since `before`, the longest first.

    A checkpoint of the engine is a touch too: its id is a UUID of version 6, so it tells the time.
    """
    thread = cast(workflows.c.id, String)
    touched = sql_exists(
        select(literal(1)).where(
            checkpoints.c.thread_id == thread, checkpoints.c.checkpoint_id >= _uuid_at(before)
        )
    )
    open_ = [STORED[Status.CREATED], STORED[Status.RUNNING]]
    return (
        select(workflows.c.id)
        .where(workflows.c.status.in_(open_), workflows.c.updated_at_us < micros(before), ~touched)
        .order_by(workflows.c.updated_at_us, workflows.c.id)
    )


def _narrowed(query: WorkflowQuery) -> list[ColumnElement[bool]]:
    table = workflows.c
    found: list[ColumnElement[bool]] = [
        column == value
        for column, value in (
            (table.owner, query.owner),
            (table.project_id, query.project_id),
            (table.environment, query.environment),
        )
        if value is not None
    ]
    found += [
        column.in_(wanted)
        for column, wanted in (
            (table.status, [STORED[status] for status in query.statuses]),
            (table.definition, query.definitions),
            (table.id, [workflow_number(each) for each in query.ids]),
        )
        if wanted
    ]
    if query.excluded:
        found.append(table.definition.not_in(query.excluded))
    if query.search:
        texts = (table.goal, table.title)
        found.append(or_(*(text.icontains(query.search, autoescape=True) for text in texts)))
    if query.updated_after is not None:
        found.append(table.updated_at_us > micros(query.updated_after))
    if query.updated_before is not None:
        found.append(table.updated_at_us < micros(query.updated_before))
    return found


def _check(query: WorkflowQuery) -> None:
    if query.limit < 1:
        raise invalid("limit", "must be at least 1")
    check_key("owner", query.owner or "", limit_bytes=OWNER_BYTES)
    check_text("search", query.search, limit=_SEARCH_LIMIT)
    for names in (query.definitions, query.excluded, query.ids):
        if len(names) > _NAMES_LIMIT:
            raise invalid("workflows", f"must be asked for by at most {_NAMES_LIMIT} names")
    for name in (*query.definitions, *query.excluded, query.environment or ""):
        check_text("workflowDefinition", name, limit=_SEARCH_LIMIT)


def _uuid_at(at: datetime) -> str:
    ticks = micros(at) * 10 + _UUID_EPOCH
    return f"{ticks >> 28:08x}-{ticks >> 12 & 0xFFFF:04x}-6{ticks & 0xFFF:03x}"
