"""Puts checkpoints back together: headers, the blobs that they refer to, their pending writes.

However many checkpoints are asked for, their blobs are one query and their writes another; each
names at most a thousand keys, and is repeated for the next thousand.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Row, Select, and_, column, select, values

from isthmus.adapters.stores.columns import KEY, NUMBER
from isthmus.adapters.stores.tables import checkpoint_blobs, checkpoint_writes, checkpoints
from isthmus.core.checkpoint import Blob, BlobRef, StoredCheckpoint, Thread, Write

Key = TypeVar("Key")

# Four parameters a key stay far under the 32,766 that SQLite takes in one statement.
_KEYS_A_QUERY: Final = 1_000

# Joined, and not `IN`: SQLite looks a list of tuples up by no more than the thread.
_GROUPS: Final = values(
    column("ns", KEY), column("channel", KEY), column("grp", NUMBER), column("seq", NUMBER)
)
_STEPS: Final = values(column("ns", KEY), column("checkpoint_id", KEY))

_Rows = Sequence[Row[Any]]
_Group = tuple[str, str, int]
"""Namespace, channel, group."""
_Step = tuple[str, str]
"""Namespace, checkpoint id."""


def headers(thread_id: str) -> Select[Any]:
    """The headers of a thread's checkpoints, newest first."""
    return (
        select(*checkpoints.columns)
        .where(checkpoints.c.thread_id == thread_id)
        .order_by(checkpoints.c.checkpoint_id.desc(), checkpoints.c.ns)
    )


def assemble(
    connection: Connection, thread_id: str, rows: _Rows, *, with_blobs: bool
) -> tuple[StoredCheckpoint, ...]:
    """The checkpoints of these header rows, in their order."""
    if not rows:
        return ()
    refs = [decode_refs(row.refs) for row in rows]
    blobs: Mapping[_Group, Sequence[Blob]] = {}
    if with_blobs:
        blobs = _blobs(connection, thread_id, rows, refs)
    writes = _writes(connection, thread_id, [(row.ns, row.checkpoint_id) for row in rows])
    return tuple(
        StoredCheckpoint(
            thread=Thread(thread_id, row.ns),
            checkpoint_id=row.checkpoint_id,
            parent_id=row.parent_id,
            header=row.header,
            metadata=row.metadata,
            refs=row_refs,
            blobs=tuple(_needed(row.ns, row_refs, blobs)),
            writes=tuple(writes.get((row.ns, row.checkpoint_id), ())),
        )
        for row, row_refs in zip(rows, refs, strict=True)
    )


def encode_refs(refs: Sequence[BlobRef]) -> str:
    """References as the JSON text of a header row."""
    return json.dumps([[ref.channel, ref.group, ref.seq] for ref in refs], separators=(",", ":"))


def decode_refs(text: str) -> tuple[BlobRef, ...]:
    """What `encode_refs` wrote."""
    return tuple(BlobRef(channel, group, seq) for channel, group, seq in json.loads(text))


def _needed(
    ns: str, refs: Sequence[BlobRef], blobs: Mapping[_Group, Sequence[Blob]]
) -> Iterator[Blob]:
    for ref in refs:
        for blob in blobs.get((ns, ref.channel, ref.group), ()):
            if blob.ref.seq <= ref.seq:
                yield blob


def _blobs(
    connection: Connection, thread_id: str, rows: _Rows, refs: Sequence[tuple[BlobRef, ...]]
) -> Mapping[_Group, Sequence[Blob]]:
    last: dict[_Group, int] = {}
    for row, row_refs in zip(rows, refs, strict=True):
        for ref in row_refs:
            group = (row.ns, ref.channel, ref.group)
            last[group] = max(ref.seq, last.get(group, 0))
    table = checkpoint_blobs.c
    found: dict[_Group, list[Blob]] = defaultdict(list)
    for groups in _batches(list(last)):
        wanted = _GROUPS.data([(*group, last[group]) for group in groups]).cte("wanted")
        statement = (
            select(table.ns, table.channel, table.grp, table.seq, table.data)
            .join(
                wanted,
                and_(
                    table.ns == wanted.c.ns,
                    table.channel == wanted.c.channel,
                    table.grp == wanted.c.grp,
                    table.seq <= wanted.c.seq,
                ),
            )
            .where(table.thread_id == thread_id)
            .order_by(table.seq)
        )
        for ns, channel, group, seq, data in connection.execute(statement):
            found[ns, channel, group].append(Blob(BlobRef(channel, group, seq), data))
    return found


def _writes(
    connection: Connection, thread_id: str, steps: Sequence[_Step]
) -> Mapping[_Step, Sequence[Write]]:
    table = checkpoint_writes.c
    found: dict[_Step, list[Write]] = defaultdict(list)
    for batch in _batches(steps):
        wanted = _STEPS.data(list(batch)).cte("wanted")
        statement = (
            select(*checkpoint_writes.columns)
            .join(
                wanted,
                and_(table.ns == wanted.c.ns, table.checkpoint_id == wanted.c.checkpoint_id),
            )
            .where(table.thread_id == thread_id)
            .order_by(table.task_path, table.task_id, table.idx)
        )
        for row in connection.execute(statement):
            write = Write(row.task_id, row.idx, row.channel, row.data, row.task_path)
            found[row.ns, row.checkpoint_id].append(write)
    return found


def _batches(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    for start in range(0, len(keys), _KEYS_A_QUERY):
        yield keys[start : start + _KEYS_A_QUERY]
