"""Takes checkpoints out of a thread: links lead past them, and what only they needed goes along."""

from collections.abc import Collection, Iterator, Mapping
from typing import Final, TypeAlias

from sqlalchemy import Connection, bindparam, delete, func, select, update

from isthmus.adapters.stores.assemble import decode_refs
from isthmus.adapters.stores.tables import checkpoint_blobs, checkpoint_writes, checkpoints
from isthmus.core.checkpoint import StepKey

BATCH: Final = 200
"""Checkpoints that one transaction takes out: whoever waits for the database waits for no more."""

_Group: TypeAlias = tuple[str, str, int]
"""Namespace, channel, group."""
_Row: TypeAlias = Mapping[str, object]

_NEWEST: Final = (
    select(checkpoints.c.ns, func.max(checkpoints.c.checkpoint_id))
    .where(checkpoints.c.thread_id == bindparam("thread"))
    .group_by(checkpoints.c.ns)
)
_HEADERS: Final = select(
    checkpoints.c.ns, checkpoints.c.checkpoint_id, checkpoints.c.parent_id, checkpoints.c.refs
).where(checkpoints.c.thread_id == bindparam("thread"))
_STEP: Final = (
    checkpoints.c.thread_id == bindparam("thread"),
    checkpoints.c.ns == bindparam("of_ns"),
    checkpoints.c.checkpoint_id == bindparam("step"),
)
_RELINK: Final = update(checkpoints).where(*_STEP).values(parent_id=bindparam("parent"))
_DROP: Final = delete(checkpoints).where(*_STEP)
_DROP_WRITES: Final = delete(checkpoint_writes).where(
    checkpoint_writes.c.thread_id == bindparam("thread"),
    checkpoint_writes.c.ns == bindparam("of_ns"),
    checkpoint_writes.c.checkpoint_id == bindparam("step"),
)
_DROP_BLOBS: Final = delete(checkpoint_blobs).where(
    checkpoint_blobs.c.thread_id == bindparam("thread"),
    checkpoint_blobs.c.ns == bindparam("of_ns"),
    checkpoint_blobs.c.channel == bindparam("of_channel"),
    checkpoint_blobs.c.grp == bindparam("of_grp"),
    checkpoint_blobs.c.seq.between(bindparam("first"), bindparam("last")),
)


def take_out(connection: Connection, thread_id: str, gone: Collection[StepKey]) -> int:
    """Take checkpoints out, as a part of a transaction; tells how many there were.

    The newest of a namespace stays: its writer goes on from it, with blobs that follow its own.
    """
    newest = connection.execute(_NEWEST, {"thread": thread_id})
    asked = set(gone) - {(ns, step) for ns, step in newest}
    out: dict[StepKey, str | None] = {}
    children: list[tuple[StepKey, str]] = []
    needed: dict[_Group, int] = {}
    freed: dict[_Group, int] = {}
    for ns, step, parent, refs in connection.execute(_HEADERS, {"thread": thread_id}):
        goes = (ns, step) in asked
        last = freed if goes else needed
        for ref in decode_refs(refs):
            group = (ns, ref.channel, ref.group)
            last[group] = max(ref.seq, last.get(group, 0))
        if goes:
            out[ns, step] = parent
        elif parent is not None and (ns, parent) in asked:
            children.append(((ns, step), parent))
    steps = [{"of_ns": ns, "step": step} for ns, step in out]
    for statement, rows in (
        (_RELINK, [_relinked(child, parent, out) for child, parent in children]),
        (_DROP_WRITES, steps),
        (_DROP, steps),
        (_DROP_BLOBS, list(_unneeded(freed, needed))),
    ):
        if rows:
            connection.execute(statement, [{"thread": thread_id, **row} for row in rows])
    return len(out)


def _relinked(child: StepKey, parent: str, out: Mapping[StepKey, str | None]) -> _Row:
    """A checkpoint that stays, with the nearest ancestor that does; `out` tells parents."""
    ns, step = child
    found: str | None = parent
    # No further than what goes: ids that stand in a circle have no end.
    for _ in range(len(out)):
        if found is None or (ns, found) not in out:
            break
        found = out[ns, found]
    return {"of_ns": ns, "step": step, "parent": found}


def _unneeded(freed: Mapping[_Group, int], needed: Mapping[_Group, int]) -> Iterator[_Row]:
    """Ranges of blobs that what goes needed, and nothing that stays does."""
    for (ns, channel, group), last in freed.items():
        first = needed.get((ns, channel, group), -1) + 1
        if first <= last:
            row = {"of_ns": ns, "of_channel": channel, "of_grp": group}
            yield {**row, "first": first, "last": last}
