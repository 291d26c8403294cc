"""Checkpoints in the database: a header a step, the blobs that the step changed, pending writes."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, delete

from isthmus.adapters.stores.assemble import assemble, encode_refs, headers
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.leases import check_lease
from isthmus.adapters.stores.ledger import forget_calls
from isthmus.adapters.stores.prune import BATCH, take_out
from isthmus.adapters.stores.statements import Prepared, insert_new, insert_or_replace
from isthmus.adapters.stores.tables import (
    OF_THREAD,
    checkpoint_blobs,
    checkpoint_writes,
    checkpoints,
)
from isthmus.adapters.stores.text import (
    CHANNEL_BYTES,
    CHECKPOINT_BYTES,
    MAX_ID,
    NS_BYTES,
    TASK_BYTES,
    THREAD_BYTES,
    check_key,
    check_text,
    invalid,
)
from isthmus.core.checkpoint import (
    BlobRef,
    CheckpointQuery,
    PendingWrites,
    StepKey,
    StoredCheckpoint,
    Thread,
)
from isthmus.core.errors import TooLarge
from isthmus.core.lease import Lease
from isthmus.core.page import Page

DATA_LIMIT_BYTES: Final = 64 * 1024 * 1024
PAGE_LIMIT: Final = 100
_MAX_REFS: Final = 1_000
_MAX_WRITES: Final = 1_000
_PATH_LIMIT: Final = 4_096

_Row = Mapping[str, object]


class SqlCheckpointStore:
    """The CheckpointStore port over SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._put_header = Prepared(insert_new(checkpoints, database.dialect))
        self._put_blobs = Prepared(insert_new(checkpoint_blobs, database.dialect))
        self._put_writes = Prepared(insert_or_replace(checkpoint_writes, database.dialect))

    async def put(
        self,
        checkpoint: StoredCheckpoint,
        lease: Lease | None = None,
        calls: Sequence[str] = (),
    ) -> None:
        """Header and new blobs, in one transaction; doing it twice changes nothing.

        Raises Invalid for keys that cannot be stored, TooLarge for content over 64 MiB, Interrupted
        for a lease that is another's now.
        """
        _check_checkpoint(checkpoint)
        header = [_header_row(checkpoint)]
        blobs = _blob_rows(checkpoint)

        def work(connection: Connection) -> None:
            check_lease(connection, lease)
            if blobs:
                self._put_blobs.run(connection, blobs)
            self._put_header.run(connection, header)
            forget_calls(connection, checkpoint.thread.thread_id, calls)

        await self._database.write(work)

    async def put_writes(self, writes: PendingWrites, lease: Lease | None = None) -> None:
        """Pending writes; a write with the same task and index is replaced. Raises as `put`."""
        _check_writes(writes)
        rows = _write_rows(writes)

        def work(connection: Connection) -> None:
            check_lease(connection, lease)
            self._put_writes.run(connection, rows)

        if rows:
            await self._database.write(work)

    async def get(self, thread: Thread, checkpoint_id: str | None) -> StoredCheckpoint | None:
        """The checkpoint with this id, or the latest; with its blobs and writes."""
        _check_thread(thread)
        statement = headers(thread.thread_id).where(checkpoints.c.ns == thread.ns).limit(1)
        if checkpoint_id is not None:
            check_key("checkpoint_id", checkpoint_id, limit_bytes=CHECKPOINT_BYTES)
            statement = statement.where(checkpoints.c.checkpoint_id == checkpoint_id)

        def work(connection: Connection) -> StoredCheckpoint | None:
            rows = connection.execute(statement).all()
            found = assemble(connection, thread.thread_id, rows, with_blobs=True)
            return found[0] if found else None

        return await self._database.read(work)

    async def page(self, query: CheckpointQuery) -> Page[StoredCheckpoint]:
        """Checkpoints of a thread, newest first; at most 100."""
        _check_thread(Thread(query.thread_id, query.ns or ""))
        if query.limit < 1:
            raise invalid("limit", "must be at least 1")
        limit = min(query.limit, PAGE_LIMIT)
        statement = headers(query.thread_id).limit(limit + 1)
        if query.ns is not None:
            statement = statement.where(checkpoints.c.ns == query.ns)
        if query.before_id is not None:
            check_key("before_id", query.before_id, limit_bytes=CHECKPOINT_BYTES)
            statement = statement.where(checkpoints.c.checkpoint_id < query.before_id)

        def work(connection: Connection) -> Page[StoredCheckpoint]:
            rows = connection.execute(statement).all()
            items = assemble(connection, query.thread_id, rows[:limit], with_blobs=query.with_blobs)
            return Page(items, len(rows) > limit)

        return await self._database.read(work)

    async def prune(
        self, thread_id: str, gone: Sequence[StepKey], lease: Lease | None = None
    ) -> int:
        """Forget these checkpoints, some hundreds a transaction; tells how many went.

        All others read as before, and the newest of a namespace stays. Raises as `put`.
        """
        check_key("thread_id", thread_id, limit_bytes=THREAD_BYTES)
        taken = 0
        for begin in range(0, len(gone), BATCH):
            batch = gone[begin : begin + BATCH]

            def work(connection: Connection, batch: Sequence[StepKey] = batch) -> int:
                check_lease(connection, lease)
                return take_out(connection, thread_id, batch)

            taken += await self._database.write(work)
        return taken

    async def delete(self, thread_id: str) -> None:
        """Everything of a thread, in every namespace."""
        check_key("thread_id", thread_id, limit_bytes=THREAD_BYTES)

        def work(connection: Connection) -> None:
            for table in OF_THREAD:
                connection.execute(delete(table).where(table.c.thread_id == thread_id))

        await self._database.write(work)


def _header_row(checkpoint: StoredCheckpoint) -> _Row:
    return {
        "thread_id": checkpoint.thread.thread_id,
        "ns": checkpoint.thread.ns,
        "checkpoint_id": checkpoint.checkpoint_id,
        "parent_id": checkpoint.parent_id,
        "header": checkpoint.header,
        "metadata": checkpoint.metadata,
        "refs": encode_refs(checkpoint.refs),
    }


def _blob_rows(checkpoint: StoredCheckpoint) -> Sequence[_Row]:
    thread = checkpoint.thread
    return [
        {
            "thread_id": thread.thread_id,
            "ns": thread.ns,
            "channel": blob.ref.channel,
            "grp": blob.ref.group,
            "seq": blob.ref.seq,
            "data": blob.data,
        }
        for blob in checkpoint.blobs
    ]


def _write_rows(writes: PendingWrites) -> Sequence[_Row]:
    return [
        {
            "thread_id": writes.thread.thread_id,
            "ns": writes.thread.ns,
            "checkpoint_id": writes.checkpoint_id,
            "task_id": write.task_id,
            "idx": write.index,
            "channel": write.channel,
            "task_path": write.task_path,
            "data": write.data,
        }
        for write in writes.writes
    ]


def _check_checkpoint(checkpoint: StoredCheckpoint) -> None:
    _check_step(checkpoint.thread, checkpoint.checkpoint_id)
    if checkpoint.parent_id is not None:
        check_key("parent_id", checkpoint.parent_id, limit_bytes=CHECKPOINT_BYTES)
    if max(len(checkpoint.refs), len(checkpoint.blobs)) > _MAX_REFS:
        raise invalid("refs", f"must be at most {_MAX_REFS}")
    for ref in checkpoint.refs:
        _check_ref(ref)
    for blob in checkpoint.blobs:
        _check_ref(blob.ref)
    sizes = [len(blob.data) for blob in checkpoint.blobs]
    _check_size(len(checkpoint.header) + len(checkpoint.metadata) + sum(sizes))


def _check_writes(writes: PendingWrites) -> None:
    _check_step(writes.thread, writes.checkpoint_id)
    if len(writes.writes) > _MAX_WRITES:
        raise invalid("writes", f"must be at most {_MAX_WRITES}")
    for write in writes.writes:
        check_key("task_id", write.task_id, limit_bytes=TASK_BYTES)
        check_key("channel", write.channel, limit_bytes=CHANNEL_BYTES)
        check_text("task_path", write.task_path, limit=_PATH_LIMIT)
        if abs(write.index) > MAX_ID:
            raise invalid("index", "must be a number of 63 bits")
    _check_size(sum(len(write.data) for write in writes.writes))


def _check_step(thread: Thread, checkpoint_id: str) -> None:
    _check_thread(thread)
    check_key("checkpoint_id", checkpoint_id, limit_bytes=CHECKPOINT_BYTES)


def _check_thread(thread: Thread) -> None:
    check_key("thread_id", thread.thread_id, limit_bytes=THREAD_BYTES)
    check_key("ns", thread.ns, limit_bytes=NS_BYTES)


def _check_ref(ref: BlobRef) -> None:
    check_key("channel", ref.channel, limit_bytes=CHANNEL_BYTES)
    if not (0 <= ref.group <= MAX_ID and 0 <= ref.seq <= MAX_ID):
        raise invalid("refs", "must have groups and numbers of 0 to 63 bits")


def _check_size(size_bytes: int) -> None:
    if size_bytes > DATA_LIMIT_BYTES:
        raise TooLarge("A checkpoint is too large to be stored.", DATA_LIMIT_BYTES)
