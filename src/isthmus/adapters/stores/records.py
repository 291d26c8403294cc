"""Checkpoints that flow services store by the contract, in the database.

Content is packed and unpacked on threads: a checkpoint may be 32 MiB.
"""

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, case, func, or_, select, update

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.instants import micros
from isthmus.adapters.stores.record_rows import (
    TS_BYTES,
    WRITES_LIMIT,
    blob_rows,
    check_new,
    ns_digest,
    record_row,
    write_rows,
)
from isthmus.adapters.stores.record_tables import record_blobs, record_writes, records
from isthmus.adapters.stores.statements import insert_new, insert_or_replace
from isthmus.adapters.stores.tables import workflows
from isthmus.adapters.stores.text import check_key, invalid, stored_id, workflow_number
from isthmus.core.errors import NotFound, TooLarge
from isthmus.core.ports import Clock
from isthmus.core.records import Keep, NewRecord, Record, RecordPage, RecordQuery, RecordWrite

PAGE_LIMIT: Final = 100
PAGE_BYTES: Final = 64 * 1024 * 1024
_PAGES: Final = 10**9
# One checkpoint with all its writes always fits.
_PAGE_WRITES: Final = 2 * WRITES_LIMIT
_BLANKS: Final = " \t\r\n"

_Rows = Sequence[Row[Any]]
_Writes = Mapping[str, Sequence[RecordWrite]]
"""By `thread_ts`."""


class SqlRecordStore:
    """The RecordStore port over SQLite or PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._insert = insert_new(records, database.dialect).returning(records.c.id)
        self._put_blobs = insert_new(record_blobs, database.dialect)
        keys = ("workflow_id", "thread_ts", "task", "idx")
        self._put_writes = insert_or_replace(record_writes, database.dialect, keys)

    async def append(self, new: NewRecord, keep: Keep) -> Record:
        """Store it, and touch its workflow; doing it twice changes nothing.

        One transaction: header, blobs, the workflow's `updated_at`, and, where they are not blank,
        its model (by `keep`), its flow, and its goal if that is blank. Writes that came before
        their checkpoint are left out of what is returned. Raises NotFound, Invalid, TooLarge.
        """
        number = workflow_number(new.workflow_id)
        check_new(new)
        packed = new.deflated or await asyncio.to_thread(zlib.compress, new.checkpoint, 1)
        row = record_row(new, number, packed)
        blobs = blob_rows(new, number)
        now_us = micros(self._clock.utc())

        def work(connection: Connection) -> tuple[int, bool]:
            record_id = connection.execute(self._insert, row).scalar_one_or_none()
            if record_id is None:
                return _same(connection, row), False
            if blobs:
                connection.execute(self._put_blobs, blobs)
            _touch(connection, number, {"updated_at_us": now_us, **_model(new.model, keep)})
            _fill(connection, number, new)
            return record_id, True

        record_id, is_new = await self._database.write(work)
        if not is_new:
            return await self.get(new.workflow_id, record_id)
        return Record(
            id=record_id,
            thread_ts=new.thread_ts,
            parent_ts=new.parent_ts,
            ns=new.ns,
            current_thread=new.current_thread,
            metadata=new.metadata,
            checkpoint=new.checkpoint,
        )

    async def page(self, query: RecordQuery) -> RecordPage:
        """Checkpoints with their pending writes; at most 100, and 64 MiB. Raises TooLarge."""
        number = workflow_number(query.workflow_id)
        if not 1 <= query.page <= _PAGES or query.per_page < 1:
            raise invalid("page", "must be at least 1, and per_page too")
        per_page = min(query.per_page, PAGE_LIMIT)
        where = _narrowed(number, query)
        wanted = (
            select(records.c.id, records.c.size_bytes)
            .where(*where)
            .order_by(records.c.thread_ts.desc(), records.c.id.desc())
            .limit(per_page)
            .offset((query.page - 1) * per_page)
        )
        counted = select(func.count()).select_from(records).where(*where)

        def work(connection: Connection) -> tuple[int, _Rows, _Writes]:
            total = connection.execute(counted).scalar_one()
            found = connection.execute(wanted).all()
            _check_size(sum(row.size_bytes for row in found))
            return total, *_read(connection, number, [row.id for row in found])

        total, rows, writes = await self._database.read(work)
        return RecordPage(await asyncio.to_thread(_unpacked, rows, writes), total)

    async def get(self, workflow_id: str, record_id: int) -> Record:
        """One checkpoint. Raises NotFound."""
        number = workflow_number(workflow_id)

        def work(connection: Connection) -> tuple[_Rows, _Writes]:
            return _read(connection, number, [stored_id(record_id)])

        found = await asyncio.to_thread(_unpacked, *await self._database.read(work))
        if not found:
            raise NotFound(f"There is no checkpoint {record_id} of workflow {number}.")
        return found[0]

    async def put_writes(
        self, workflow_id: str, thread_ts: str, writes: Sequence[RecordWrite]
    ) -> None:
        """Pending writes; one with the same task and index is replaced. Raises NotFound.

        A checkpoint has at most 1,000 of them: more is Invalid.
        """
        number = workflow_number(workflow_id)
        rows = write_rows(number, thread_ts, writes)
        now_us = micros(self._clock.utc())
        all_of_it = select(func.count()).where(
            record_writes.c.workflow_id == number, record_writes.c.thread_ts == thread_ts
        )

        def work(connection: Connection) -> None:
            _touch(connection, number, {"updated_at_us": now_us})
            if rows:
                connection.execute(self._put_writes, rows)
            if connection.execute(all_of_it).scalar_one() > WRITES_LIMIT:
                raise invalid("checkpoint_writes", f"must be at most {WRITES_LIMIT}")

        await self._database.write(work)


def _narrowed(number: int, query: RecordQuery) -> Sequence[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [records.c.workflow_id == number]
    if query.ns is not None:
        where.append(records.c.ns_digest == ns_digest(query.ns))
    if query.thread_ts is not None:
        check_key("thread_ts", query.thread_ts, limit_bytes=TS_BYTES)
        where.append(records.c.thread_ts == query.thread_ts)
    return where


def _same(connection: Connection, row: Mapping[str, object]) -> int:
    """The id of the checkpoint that is there already."""
    keys = ("workflow_id", "thread_ts", "ns_digest")
    same = [records.c[name] == row[name] for name in keys]
    return connection.execute(select(records.c.id).where(*same)).scalar_one()


def _model(model: str, keep: Keep) -> Mapping[str, object]:
    if not model.strip():
        return {}
    if keep == "every":
        return {"model": model}
    kept = workflows.c.model
    return {"model": case((kept == "", model), else_=kept)}


def _touch(connection: Connection, number: int, values: Mapping[str, object]) -> None:
    """Write these columns alone; the workflow's row stays locked until the transaction ends."""
    statement = update(workflows).where(workflows.c.id == number).values(**values)
    if connection.execute(statement.returning(workflows.c.id)).one_or_none() is None:
        raise NotFound(f"There is no workflow {number}.")


def _fill(connection: Connection, number: int, new: NewRecord) -> None:
    values: dict[str, object] = {}
    differs: list[ColumnElement[bool]] = []
    if new.flow.strip():
        values["flow"] = new.flow
        differs.append(workflows.c.flow != new.flow)
    if new.goal.strip():
        blank = func.trim(workflows.c.goal, _BLANKS) == ""
        values["goal"] = case((blank, new.goal), else_=workflows.c.goal)
        differs.append(blank)
    if values:
        mine = workflows.c.id == number
        connection.execute(update(workflows).where(mine, or_(*differs)).values(**values))


def _read(connection: Connection, number: int, ids: Sequence[int]) -> tuple[_Rows, _Writes]:
    """These checkpoints, newest first, and the pending writes of each `thread_ts`."""
    if not ids:
        return (), {}
    rows = connection.execute(
        select(*records.columns)
        .where(records.c.workflow_id == number, records.c.id.in_(ids))
        .order_by(records.c.thread_ts.desc(), records.c.id.desc())
    ).all()
    table = record_writes.c
    found = connection.execute(
        select(*record_writes.columns)
        .where(table.workflow_id == number, table.thread_ts.in_({row.thread_ts for row in rows}))
        .order_by(table.task, table.idx)
        .limit(_PAGE_WRITES + 1)
    ).all()
    if len(found) > _PAGE_WRITES:
        _check_size(PAGE_BYTES + 1)
    writes: dict[str, list[RecordWrite]] = defaultdict(list)
    for row in found:
        write = RecordWrite(row.task, row.idx, row.channel, row.write_type, row.data, row.id)
        writes[row.thread_ts].append(write)
    return rows, writes


def _unpacked(rows: _Rows, writes: _Writes) -> tuple[Record, ...]:
    return tuple(
        Record(
            id=row.id,
            thread_ts=row.thread_ts,
            parent_ts=row.parent_ts,
            ns=row.ns,
            current_thread=row.current_thread,
            metadata=row.metadata,
            checkpoint=zlib.decompress(row.checkpoint),
            writes=tuple(writes.get(row.thread_ts, ())),
        )
        for row in rows
    )


def _check_size(size_bytes: int) -> None:
    if size_bytes > PAGE_BYTES:
        raise TooLarge("A page of these checkpoints is too large; ask for fewer.", PAGE_BYTES)
