"""What is stored of a session, whoever stored it: its log as it grows, and every step. Reads only.

A step says what it changed: `{"is": value}` for a channel that is new or written whole; else what
is spliced into the value before it, as `platform/checkpoints.py` keeps it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, cast

from isthmus.core.checkpoint import BlobRef, CheckpointQuery, StoredCheckpoint
from isthmus.core.errors import Unavailable
from isthmus.core.ports import CheckpointStore
from isthmus.core.records import Record, RecordQuery, RecordStore
from isthmus.platform import checkpoints
from isthmus.platform.entries import Entry
from isthmus.platform.records import OWN
from isthmus.platform.walk import walk

Step: TypeAlias = Mapping[str, object]
"""JSON: `step` (1 is the oldest), `id`, `parent`, `ns`, `at`, `metadata`, and what it holds."""
_AT_ONCE: Final = 100
_DAMAGED: Final = "A checkpoint of this session is damaged."


@dataclass(frozen=True, slots=True)
class Log:
    """What a person sees of a session, as of the checkpoint `checkpoint_id`."""

    checkpoint_id: str
    entries: Sequence[Entry]


class Recorded:
    """Sessions of one database. Every method raises Unavailable for what is damaged."""

    def __init__(self, engine: CheckpointStore, records: RecordStore) -> None:
        self._engine = engine
        self._records = records

    async def log(self, workflow_id: str, known_id: str = "") -> Log | None:
        """The log as it is now; None when there is none, or nothing newer than `known_id`."""
        head = await self._head(workflow_id)
        if head is None:
            found = await self._records.page(RecordQuery(workflow_id, "", per_page=1))
            if not found.items or found.items[0].thread_ts == known_id:
                return None
            record = found.items[0]
            values = cast("dict[str, Any]", _object(record).get("channel_values") or {})
            return Log(record.thread_ts, values.get("ui_chat_log") or ())
        if head.checkpoint_id == known_id:
            return None
        stored = await self._engine.get(head.thread, head.checkpoint_id)
        if stored is None:
            return None
        values = cast("dict[str, Any]", _values(stored))
        return Log(stored.checkpoint_id, values.get("ui_chat_log") or ())

    async def count(self, workflow_id: str) -> int:
        """How many steps there are."""
        own = sum([1 async for _ in self._headers(workflow_id)])
        return own or (await self._records.page(RecordQuery(workflow_id, per_page=1))).total

    async def steps(self, workflow_id: str, *, full: bool = False) -> AsyncGenerator[Step, None]:
        """Every step, the oldest first; `full`: with the values of all channels, not the changes.

        One step is held at a time, beside the ids of all.
        """
        threads = [(one.thread, one.checkpoint_id) async for one in self._headers(workflow_id)]
        if not threads:
            async for step in self._recorded(workflow_id):
                yield step
            return
        before: dict[str, StoredCheckpoint] = {}
        for number, (thread, checkpoint_id) in enumerate(reversed(threads), 1):
            stored = await self._engine.get(thread, checkpoint_id)
            if stored is None:
                # Pruned, or deleted, since it was listed.
                continue
            parent = before.get(thread.ns)
            if parent is None or parent.checkpoint_id != stored.parent_id:
                parent = await self._parent(stored)
            yield _step(number, stored, None if full else _refs(parent))
            before[thread.ns] = replace(stored, blobs=())

    async def _head(self, workflow_id: str) -> StoredCheckpoint | None:
        query = CheckpointQuery(workflow_id, limit=1, with_blobs=False)
        return next(iter((await self._engine.page(query)).items), None)

    def _headers(self, workflow_id: str) -> AsyncGenerator[StoredCheckpoint, None]:
        """Newest first, in every namespace, without their contents."""
        query = CheckpointQuery(workflow_id, None, limit=_AT_ONCE, with_blobs=False)
        return walk(self._engine, query)

    async def _parent(self, stored: StoredCheckpoint) -> StoredCheckpoint | None:
        if stored.parent_id is None:
            return None
        return await self._engine.get(stored.thread, stored.parent_id)

    async def _recorded(self, workflow_id: str) -> AsyncIterator[Step]:
        """Those that a flow service stored: whole, and counted from the newest."""
        number, total = 0, 1
        while number < total:
            page = total - number
            found = await self._records.page(RecordQuery(workflow_id, page=page, per_page=1))
            if found.total != total:
                # It grew, or this was the first look: the oldest stand elsewhere now.
                total = found.total
                continue
            number += 1
            for record in found.items:
                yield _told(number, record)


def _step(number: int, stored: StoredCheckpoint, before: Mapping[str, BlobRef] | None) -> Step:
    header = cast("dict[str, Any]", checkpoints.loads(stored.header))
    step: dict[str, object] = {
        "step": number,
        "id": stored.checkpoint_id,
        "parent": stored.parent_id,
        "ns": stored.thread.ns,
        "at": header.get("ts"),
        "metadata": checkpoints.loads(stored.metadata),
    }
    values = _values(stored)
    if before is None:
        step["values"] = {name: value for name, value in values.items() if _theirs(name)}
    else:
        step["changed"] = {
            ref.channel: _change(stored, ref, before.get(ref.channel), values)
            for ref in stored.refs
            if _theirs(ref.channel) and before.get(ref.channel) != ref
        }
        step["gone"] = [name for name in before if _theirs(name) and name not in values]
    step["writes"] = [
        {"task": one.task_id, "channel": one.channel, "value": checkpoints.unpack(one.data)}
        for one in stored.writes
    ]
    return step


def _change(
    stored: StoredCheckpoint, ref: BlobRef, old: BlobRef | None, values: Mapping[str, object]
) -> object:
    follows = old is not None and (old.group, old.seq + 1) == (ref.group, ref.seq)
    if follows:
        for blob in stored.blobs:
            if blob.ref == ref:
                return checkpoints.unpack(blob.data)
    return {"is": values[ref.channel]}


def _told(number: int, record: Record) -> Step:
    checkpoint = _object(record)
    step: dict[str, object] = {
        "step": number,
        "id": record.thread_ts,
        "parent": record.parent_ts,
        "ns": record.ns,
        "at": checkpoint.get("ts"),
        "metadata": checkpoints.loads(record.metadata),
    }
    values = checkpoint.get("channel_values")
    # Who stores changes alone says here which channels there are.
    step |= {"checkpoint": checkpoint} if values is None else {"values": values}
    step["writes"] = [
        {"task": one.task, "channel": one.channel, "data": one.data} for one in record.writes
    ]
    return step


def _theirs(channel: str) -> bool:
    """Whether a channel is the session's, and not the engine's own."""
    return not channel.startswith(OWN)


def _refs(stored: StoredCheckpoint | None) -> Mapping[str, BlobRef]:
    return {} if stored is None else {ref.channel: ref for ref in stored.refs}


def _values(stored: StoredCheckpoint) -> Mapping[str, object]:
    try:
        return checkpoints.values(stored)
    except ValueError as error:
        raise Unavailable(_DAMAGED) from error


def _object(record: Record) -> Mapping[str, object]:
    try:
        found = checkpoints.loads(record.checkpoint)
    except ValueError as error:
        raise Unavailable(_DAMAGED) from error
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}
