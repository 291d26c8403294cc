"""A session's stored state: a small header a step, and blobs that hold only what changed."""

from dataclasses import dataclass, field
from typing import TypeAlias

StepKey: TypeAlias = tuple[str, str]
"""A checkpoint of a thread: its namespace and its id."""


@dataclass(frozen=True, slots=True)
class Thread:
    """One line of checkpoints: a workflow's id and the graph's namespace (empty at the root)."""

    thread_id: str
    ns: str = ""


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Points at a channel's value: all blobs of `channel` in `group` with `seq` up to this one.

    A blob with `seq` 0 stands alone; each later one holds what was appended. A value that was
    replaced starts a new group.
    """

    channel: str
    group: int
    seq: int


@dataclass(frozen=True, slots=True)
class Blob:
    """Encoded content of one reference; opaque to the store."""

    ref: BlobRef
    data: bytes


@dataclass(frozen=True, slots=True)
class Write:
    """One pending write of a task: `index` orders the writes of a task."""

    task_id: str
    index: int
    channel: str
    data: bytes
    task_path: str = ""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint. Ids sort by time.

    `header` and `metadata` are JSON texts, opaque to the store; `refs` name one value a channel.
    In `put`, `blobs` are the new ones only. In what `get` and `page` return, `blobs` are all that
    `refs` need, in order of `seq`, and `writes` are the pending writes of this checkpoint.
    """

    thread: Thread
    checkpoint_id: str
    parent_id: str | None
    header: bytes
    metadata: bytes
    refs: tuple[BlobRef, ...]
    blobs: tuple[Blob, ...]
    writes: tuple[Write, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class PendingWrites:
    """Writes of tasks that ended while others of the same step had not."""

    thread: Thread
    checkpoint_id: str
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class CheckpointQuery:
    """A page of a thread's checkpoints, newest first. `before_id` is exclusive.

    `ns` of None asks for every namespace of `thread_id`. `with_blobs` false leaves blobs out.
    """

    thread_id: str
    ns: str | None = ""
    before_id: str | None = None
    limit: int = 20
    with_blobs: bool = True
