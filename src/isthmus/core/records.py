"""What a flow service stores of a session through the instance API: checkpoints, writes, events.

Our own engine keeps its state in `core/checkpoint.py`; these records are for services that only
know the contract. Source: instance contract, sections 1.8 to 1.10.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class RecordBlob:
    """One channel's value or growth, base64 taken off."""

    channel: str
    version: str
    write_type: str
    step_action: str
    data: bytes


@dataclass(frozen=True, slots=True)
class RecordWrite:
    """A pending write; `data` is the text that came. `id` is 0 before it is stored."""

    task: str
    idx: int
    channel: str
    write_type: str
    data: str
    id: int = 0


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A checkpoint to be stored. `checkpoint` and `metadata` are JSON texts.

    `deflated` are the same bytes as `checkpoint` in zlib's form, when they came in it.

    `model` and `flow` are the metadata texts that the workflow is to keep, empty for none; `goal`
    fills a goal that is blank.
    """

    workflow_id: str
    thread_ts: str
    parent_ts: str | None
    ns: str
    current_thread: int
    metadata: bytes
    checkpoint: bytes
    deflated: bytes = field(default=b"", repr=False)
    blobs: tuple[RecordBlob, ...] = ()
    model: str = ""
    flow: str = ""
    goal: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A stored checkpoint, with the pending writes of its `thread_ts`."""

    id: int
    thread_ts: str
    parent_ts: str | None
    ns: str
    current_thread: int
    metadata: bytes
    checkpoint: bytes
    writes: tuple[RecordWrite, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """A page of checkpoints, newest `thread_ts` first. `ns` None: every lineage.

    `page` counts from 1.
    """

    workflow_id: str
    ns: str | None = None
    thread_ts: str | None = None
    page: int = 1
    per_page: int = 20


@dataclass(frozen=True, slots=True)
class RecordPage:
    """The records of a page, and how many there are in all."""

    items: tuple[Record, ...]
    total: int


Keep: TypeAlias = Literal["first", "every"]
"""Which model metadata stays with a workflow: the first that came, or the last."""

EventStatus: TypeAlias = Literal["queued", "delivered"]


@dataclass(frozen=True, slots=True)
class FlowEvent:
    """A message to a running flow, or from it. `id` is 0 before it is stored."""

    workflow_id: str
    event_type: str
    message: str
    correlation_id: str = ""
    status: EventStatus = "queued"
    id: int = 0


@dataclass(frozen=True, slots=True)
class EventPage:
    """The events of a page, oldest first, and how many there are in all."""

    items: tuple[FlowEvent, ...]
    total: int


class RecordStore(Protocol):
    """Checkpoints that flow services store by the contract: the same databases."""

    async def append(self, new: NewRecord, keep: Keep) -> Record:
        """Store it, and touch its workflow; doing it twice changes nothing.

        One transaction: header, blobs, the workflow's `updated_at`, and, where they are not blank,
        its model (by `keep`), its flow, and its goal if that is blank. Raises NotFound.
        """
        ...

    async def page(self, query: RecordQuery) -> RecordPage:
        """Checkpoints with their pending writes."""
        ...

    async def get(self, workflow_id: str, record_id: int) -> Record:
        """One checkpoint. Raises NotFound."""
        ...

    async def put_writes(
        self, workflow_id: str, thread_ts: str, writes: Sequence[RecordWrite]
    ) -> None:
        """Pending writes; one with the same task and index is replaced. Raises NotFound."""
        ...


class EventQueue(Protocol):
    """Messages between users and running flows."""

    async def add(self, event: FlowEvent) -> FlowEvent:
        """Queue it. Raises NotFound, or Conflict: this correlation id was used before."""
        ...

    async def page(self, workflow_id: str, page: int, per_page: int) -> EventPage:
        """What is still queued."""
        ...

    async def mark(self, workflow_id: str, event_id: int, status: str) -> FlowEvent:
        """Set its status. Raises NotFound."""
        ...
