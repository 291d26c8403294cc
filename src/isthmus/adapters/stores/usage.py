"""Usage in the database: one statement adds a batch, one sums it up."""

import asyncio
from hashlib import blake2b
from typing import Any, Final

import msgspec
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
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Insert

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.statements import insert_new
from isthmus.adapters.stores.text import invalid
from isthmus.adapters.stores.usage_tables import LATENCY, usage, usage_batches
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
_KEYS: Final = ("hour", "digest")
_ADDED: Final = (*SUMS, *LATENCY)
_NAMES: Final = (*_KEYS, *DIMENSIONS, *_ADDED)
_encode = msgspec.json.Encoder().encode


class SqlUsageStore:
    """The UsageStore port over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._upsert = _upsert(database.dialect)
        self._listed = database.dialect == "postgresql"
        self._insert = insert_new(usage_batches, database.dialect)

    async def add(self, batch: UsageBatch) -> bool:
        """See `UsageStore`."""
        rows = await asyncio.to_thread(_rows, batch)
        told: Any = {"rows": await asyncio.to_thread(_json, rows)} if self._listed else rows

        def work(connection: Connection) -> bool:
            new = connection.execute(self._insert, {"id": batch.id}).rowcount > 0
            if new and rows:
                connection.execute(self._upsert, told)
            return new

        try:
            return await self._database.write(work)
        except (DBAPIError, OverflowError) as error:
            # An outage has become a Failure already: these rows are what is wrong.
            raise Invalid("The database does not take these rows.") from error

    async def page(self, query: UsageQuery) -> UsagePage:
        """See `UsageStore`."""
        keys = [_key(name) for name in query.by]
        sums = [func.coalesce(func.sum(usage.c[name]), 0).label(name) for name in _ADDED]
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


def _rows(batch: UsageBatch) -> list[dict[str, Any]]:
    """The rows by column, each with the digest of its dimensions."""
    told: list[dict[str, Any]] = []
    for row in batch.rows:
        hour, *labels = msgspec.structs.astuple(row.key)
        digest = blake2b(_encode(labels), digest_size=16).hexdigest()
        *sums, latency = msgspec.structs.astuple(row.tally)
        told.append(dict(zip(_NAMES, (hour, digest, *labels, *sums, *latency), strict=True)))
    return told


def _upsert(dialect: str) -> Insert:
    """Adds rows to those that are there.

    For PostgreSQL they come as one parameter, so that their number costs the loop nothing; SQLite
    reads them faster one by one, on its thread.
    """
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - half the import is enough

        rows = cast(bindparam("rows", type_=Text), JSONB)
        listed = func.jsonb_array_elements(rows).table_valued(column("value", JSONB))
        cells = [
            cast(listed.c.value[index].astext, usage.c[name].type)
            for index, name in enumerate(_NAMES)
        ]
        pg = postgresql.insert(usage).from_select(_NAMES, select(*cells))
        return pg.on_conflict_do_update(
            index_elements=_KEYS, set_={name: usage.c[name] + pg.excluded[name] for name in _ADDED}
        )
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - half the import is enough

    lite = sqlite.insert(usage)
    return lite.on_conflict_do_update(
        index_elements=_KEYS, set_={name: usage.c[name] + lite.excluded[name] for name in _ADDED}
    )


def _json(rows: list[dict[str, Any]]) -> str:
    return _encode([tuple(row.values()) for row in rows]).decode()


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
