"""Usage in the database: one statement adds a batch, one sums it up."""

import asyncio
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Text,
    bindparam,
    cast,
    column,
    delete,
    func,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Insert

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.statements import insert_new
from isthmus.adapters.stores.text import invalid
from isthmus.adapters.stores.usage_rows import ADD, ADDED, KEYS, NAMES, json_of, rows_of
from isthmus.adapters.stores.usage_tables import usage, usage_batches
from isthmus.core.errors import Invalid
from isthmus.core.usage import (
    DIMENSIONS,
    SUMS,
    TIMES,
    Tally,
    UsageBatch,
    UsageGroup,
    UsagePage,
    UsageQuery,
)

PER_PAGE_LIMIT: Final = 100_000
_DAY_HOURS: Final = 24


class SqlUsageStore:
    """The UsageStore port over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._from_json = _from_json() if database.dialect == "postgresql" else None
        self._insert = insert_new(usage_batches, database.dialect)

    async def add(self, batch: UsageBatch) -> bool:
        """See `UsageStore`."""
        rows = await asyncio.to_thread(rows_of, batch)
        text = "" if self._from_json is None else await asyncio.to_thread(json_of, rows)

        def work(connection: Connection) -> bool:
            new = connection.execute(self._insert, {"id": batch.id}).rowcount > 0
            if new and self._from_json is not None:
                connection.execute(self._from_json, {"rows": text})
            elif new and rows:
                connection.exec_driver_sql(ADD, rows)
            return new

        try:
            return await self._database.write(work)
        except (DBAPIError, OverflowError) as error:
            # An outage has become a Failure already: these rows are what is wrong.
            raise Invalid("The database does not take these rows.") from error

    async def page(self, query: UsageQuery) -> UsagePage:
        """See `UsageStore`."""
        keys = [_key(name) for name in query.by]
        sums = [func.coalesce(func.sum(usage.c[name]), 0).label(name) for name in ADDED]
        wanted = [usage.c.hour >= query.since, usage.c.hour < query.until]
        wanted += [_dimension(name) == value for name, value in query.where]
        grouped = select(*keys, *sums).where(*wanted).group_by(*keys)
        if not keys:
            grouped = grouped.having(func.count() > 0)
        times = [key for key, name in zip(keys, query.by, strict=True) if name in TIMES]
        order: list[ColumnElement[Any]] = [*times, column("requests", Integer).desc(), *keys]
        size = min(query.per_page, PER_PAGE_LIMIT)
        page = grouped.order_by(*order).limit(size).offset((query.page - 1) * size)
        count = select(func.count()).select_from(grouped.subquery())

        def work(connection: Connection) -> UsagePage:
            total = connection.execute(count).scalar_one()
            found = connection.execute(page).all()
            return UsagePage([_group(row, len(keys)) for row in found], total)

        return await self._database.read(work)

    async def prune(self, before_hour: int, before_id: str) -> int:
        """See `UsageStore`."""
        rows = delete(usage).where(usage.c.hour < before_hour)
        batches = delete(usage_batches).where(usage_batches.c.id < before_id)

        def work(connection: Connection) -> int:
            connection.execute(batches)
            return connection.execute(rows).rowcount

        return await self._database.write(work)


def _from_json() -> Insert:
    """For PostgreSQL: rows as one parameter, so that their number costs the loop nothing."""
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - half the import is enough

    rows = cast(bindparam("rows", type_=Text), postgresql.JSONB)
    listed = func.jsonb_array_elements(rows).table_valued(column("value", postgresql.JSONB))
    cells = [
        cast(listed.c.value[index].astext, usage.c[name].type) for index, name in enumerate(NAMES)
    ]
    insert = postgresql.insert(usage).from_select(NAMES, select(*cells))
    return insert.on_conflict_do_update(
        index_elements=KEYS, set_={name: usage.c[name] + insert.excluded[name] for name in ADDED}
    )


def _key(name: str) -> ColumnElement[Any]:
    if name == "hour":
        return usage.c.hour
    if name == "day":
        return (usage.c.hour // _DAY_HOURS).label("day")
    return _dimension(name)


def _dimension(name: str) -> ColumnElement[str]:
    if name not in DIMENSIONS:
        raise invalid("by", f"must be of {', '.join((*TIMES, *DIMENSIONS))}")
    return usage.c[name]


def _group(row: Row[Any], width: int) -> UsageGroup:
    numbers = [int(each) for each in row[width:]]
    cut = len(SUMS)
    return UsageGroup(tuple(row[:width]), Tally(*numbers[:cut], latency=tuple(numbers[cut:])))
