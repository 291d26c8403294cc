"""Checkpoints of flow services as rows: what fits, and how it is written."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from isthmus.adapters.stores.text import MAX_ID, check_key, check_text, invalid
from isthmus.adapters.stores.workflow_rows import GOAL_LIMIT, METADATA_LIMIT, MODEL_FIELD
from isthmus.core.errors import TooLarge
from isthmus.core.records import NewRecord, RecordBlob, RecordWrite

RECORD_BYTES: Final = 32 * 1024 * 1024
BLOB_BYTES: Final = 1024 * 1024
BLOBS_LIMIT: Final = 100
WRITES_LIMIT: Final = 1_000
TS_BYTES: Final = 255
_NS_LIMIT: Final = 4_096
_TEXT_LIMIT: Final = 255
_DATA_LIMIT: Final = 10_000
# With the others of its key, under what a PostgreSQL index entry may take.
_NAME_BYTES: Final = 1_020

_Row = Mapping[str, object]


def ns_digest(ns: str) -> bytes:
    """What stands for a namespace in an index. Raises Invalid for one that does not fit."""
    check_text("checkpoint_ns", ns, limit=_NS_LIMIT)
    return sha256(ns.encode()).digest()


def record_row(new: NewRecord, number: int, packed: bytes) -> _Row:
    """The header's row; `packed` is the compressed checkpoint."""
    return {
        "workflow_id": number,
        "thread_ts": new.thread_ts,
        "ns_digest": ns_digest(new.ns),
        "ns": new.ns,
        "parent_ts": new.parent_ts,
        "current_thread": new.current_thread,
        "size_bytes": len(new.metadata) + len(new.checkpoint),
        "metadata": new.metadata,
        "checkpoint": packed,
    }


def blob_rows(new: NewRecord, number: int) -> Sequence[_Row]:
    """The rows of the blobs that came with a checkpoint."""
    return [
        {
            "workflow_id": number,
            "current_thread": new.current_thread,
            "channel": blob.channel,
            "version": blob.version,
            "write_type": blob.write_type,
            "step_action": blob.step_action,
            "data": blob.data,
        }
        for blob in new.blobs
    ]


def write_rows(number: int, thread_ts: str, writes: Sequence[RecordWrite]) -> Sequence[_Row]:
    """The rows of pending writes. Raises Invalid."""
    check_key("thread_ts", thread_ts, limit_bytes=TS_BYTES)
    if len(writes) > WRITES_LIMIT:
        raise invalid("checkpoint_writes", f"must be at most {WRITES_LIMIT}")
    return [_write_row(number, thread_ts, write) for write in writes]


def check_new(new: NewRecord) -> None:
    """Raises Invalid or TooLarge for a checkpoint that cannot be stored."""
    check_key("thread_ts", new.thread_ts, limit_bytes=TS_BYTES)
    check_key("parent_ts", new.parent_ts or "", limit_bytes=TS_BYTES)
    check_text(MODEL_FIELD, new.model, limit=METADATA_LIMIT)
    check_text("flow_metadata_json", new.flow, limit=METADATA_LIMIT)
    check_text("goal", new.goal, limit=GOAL_LIMIT)
    if not 0 <= new.current_thread <= MAX_ID:
        raise invalid("current_thread", "must be a number of 0 to 63 bits")
    if len(new.metadata) + len(new.checkpoint) > RECORD_BYTES:
        raise TooLarge("A checkpoint is too large to be stored.", RECORD_BYTES)
    if len(new.blobs) > BLOBS_LIMIT:
        raise invalid("channel_blobs", f"must be at most {BLOBS_LIMIT}")
    for blob in new.blobs:
        _check_blob(blob)


def _check_blob(blob: RecordBlob) -> None:
    check_key("channel_blobs", blob.channel, limit_bytes=_NAME_BYTES)
    check_key("channel_blobs", blob.version, limit_bytes=_NAME_BYTES)
    for text in (blob.channel, blob.version, blob.write_type, blob.step_action):
        check_text("channel_blobs", text, limit=_TEXT_LIMIT)
    if len(blob.data) > BLOB_BYTES:
        raise invalid("channel_blobs", f"must be at most {BLOB_BYTES} bytes each")


def _write_row(number: int, thread_ts: str, write: RecordWrite) -> _Row:
    check_key("checkpoint_writes", write.task, limit_bytes=_NAME_BYTES)
    for text in (write.channel, write.write_type):
        check_text("checkpoint_writes", text, limit=_TEXT_LIMIT)
    check_text("checkpoint_writes", write.data, limit=_DATA_LIMIT)
    if abs(write.idx) > MAX_ID:
        raise invalid("checkpoint_writes", "must have an index of 63 bits")
    return {
        "workflow_id": number,
        "thread_ts": thread_ts,
        "task": write.task,
        "idx": write.idx,
        "channel": write.channel,
        "write_type": write.write_type,
        "data": write.data,
    }
