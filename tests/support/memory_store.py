"""Both stores in memory, with the rules of the real ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from isthmus.core.checkpoint import (
    Blob,
    BlobRef,
    CheckpointQuery,
    PendingWrites,
    StepKey,
    StoredCheckpoint,
    Thread,
    Write,
)
from isthmus.core.errors import Conflict, NotFound, Unavailable
from isthmus.core.lease import Lease
from isthmus.core.ledger import Sent
from isthmus.core.page import Page
from isthmus.core.workflow import NewWorkflow, Status, StatusEvent, Workflow, WorkflowQuery, after

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryWorkflows:
    """Workflow records; `moves` keeps every move that was made, in order.

    `journal` is told of every move too, among what others tell it.
    """

    def __init__(self, journal: list[str] | None = None) -> None:
        self._journal = [] if journal is None else journal
        self.records: dict[str, Workflow] = {}
        self.moves: list[StatusEvent] = []

    async def create(self, new: NewWorkflow) -> Workflow:
        workflow_id = new.workflow_id or str(len(self.records) + 1)
        if workflow_id in self.records:
            raise Conflict("taken")
        record = Workflow(
            workflow_id, new.definition, new.goal, new.owner, Status.CREATED, "", NOW, NOW
        )
        record = replace(record, title=new.title, terms=new.terms, project_id=new.project_id)
        self.records[workflow_id] = record
        return record

    async def get(self, workflow_id: str) -> Workflow:
        if workflow_id not in self.records:
            raise NotFound("no such workflow")
        return self.records[workflow_id]

    async def page(self, query: WorkflowQuery) -> Page[Workflow]:
        found = [
            record
            for record in reversed(self.records.values())
            if query.owner in (None, record.owner)
            and (not query.statuses or record.status in query.statuses)
            and (not query.ids or record.workflow_id in query.ids)
        ]
        return Page(tuple(found[: query.limit]), len(found) > query.limit)

    async def move(
        self, workflow_id: str, event: StatusEvent, lease: Lease | None = None
    ) -> Workflow:
        del lease
        record = await self.get(workflow_id)
        moved = replace(record, status=after(record.status, event))
        self.records[workflow_id] = moved
        self.moves.append(event)
        self._journal.append(f"move {event}")
        return moved

    async def pin(self, workflow_id: str, model: str) -> Workflow:
        record = await self.get(workflow_id)
        self.records[workflow_id] = replace(record, model=model or record.model)
        return self.records[workflow_id]

    async def change(self, workflow_id: str, apply: Callable[[Workflow], Workflow]) -> Workflow:
        self.records[workflow_id] = apply(await self.get(workflow_id))
        return self.records[workflow_id]

    async def delete(self, workflow_id: str) -> None:
        await self.get(workflow_id)
        del self.records[workflow_id]

    async def stuck(self, before: datetime, limit: int = 100) -> Sequence[str]:
        open_ = (Status.CREATED, Status.RUNNING)
        found = [
            record.workflow_id
            for record in self.records.values()
            if record.status in open_ and record.updated_at < before
        ]
        return found[:limit]


class MemoryCheckpoints:
    """Checkpoints; `written` keeps the bytes that each `put` wrote, in order."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self._journal = [] if journal is None else journal
        self._headers: dict[tuple[Thread, str], StoredCheckpoint] = {}
        self._blobs: dict[tuple[Thread, BlobRef], bytes] = {}
        self._writes: dict[tuple[Thread, str, str, int], Write] = {}
        self.written: list[int] = []

    async def put(
        self,
        checkpoint: StoredCheckpoint,
        lease: Lease | None = None,
        calls: Sequence[str] = (),
    ) -> None:
        del lease, calls
        size = len(checkpoint.header) + len(checkpoint.metadata)
        for blob in checkpoint.blobs:
            self._blobs.setdefault((checkpoint.thread, blob.ref), blob.data)
            size += len(blob.data)
        key = (checkpoint.thread, checkpoint.checkpoint_id)
        self._headers.setdefault(key, replace(checkpoint, blobs=()))
        self.written.append(size)
        self._journal.append("put")

    async def put_writes(self, writes: PendingWrites, lease: Lease | None = None) -> None:
        del lease
        for write in writes.writes:
            key = (writes.thread, writes.checkpoint_id, write.task_id, write.index)
            self._writes[key] = write
        self._journal.append("writes")

    async def get(self, thread: Thread, checkpoint_id: str | None) -> StoredCheckpoint | None:
        ids = [known for at, known in self._headers if at == thread]
        wanted = checkpoint_id if checkpoint_id is not None else max(ids, default=None)
        if wanted is None or (thread, wanted) not in self._headers:
            return None
        return self._whole(self._headers[thread, wanted], with_blobs=True)

    async def page(self, query: CheckpointQuery) -> Page[StoredCheckpoint]:
        found = sorted(
            (
                stored
                for (thread, known), stored in self._headers.items()
                if thread.thread_id == query.thread_id
                and query.ns in (None, thread.ns)
                and (query.before_id is None or known < query.before_id)
            ),
            key=lambda stored: stored.checkpoint_id,
            reverse=True,
        )
        items = (self._whole(item, with_blobs=query.with_blobs) for item in found[: query.limit])
        return Page(tuple(items), len(found) > query.limit)

    async def prune(
        self, thread_id: str, gone: Sequence[StepKey], lease: Lease | None = None
    ) -> int:
        del lease
        took = 0
        for ns, checkpoint_id in gone:
            thread = Thread(thread_id, ns)
            newest = max(known for at, known in self._headers if at == thread)
            out = self._headers.get((thread, checkpoint_id))
            if out is None or checkpoint_id == newest:
                continue
            took += 1
            del self._headers[thread, checkpoint_id]
            self._headers |= {
                key: replace(left, parent_id=out.parent_id)
                for key, left in self._headers.items()
                if key[0] == thread and left.parent_id == checkpoint_id
            }
            self._writes = {
                key: write
                for key, write in self._writes.items()
                if key[:2] != (thread, checkpoint_id)
            }
        return took

    async def delete(self, thread_id: str) -> None:
        self._headers = {k: v for k, v in self._headers.items() if k[0].thread_id != thread_id}
        self._blobs = {k: v for k, v in self._blobs.items() if k[0].thread_id != thread_id}
        self._writes = {k: v for k, v in self._writes.items() if k[0].thread_id != thread_id}

    def _whole(self, stored: StoredCheckpoint, *, with_blobs: bool) -> StoredCheckpoint:
        blobs: list[Blob] = []
        for ref in stored.refs if with_blobs else ():
            for seq in range(ref.seq + 1):
                part = BlobRef(ref.channel, ref.group, seq)
                if (stored.thread, part) in self._blobs:
                    blobs.append(Blob(part, self._blobs[stored.thread, part]))
        writes = tuple(
            write
            for key, write in sorted(self._writes.items(), key=lambda item: item[0][2:])
            if key[:2] == (stored.thread, stored.checkpoint_id)
        )
        return replace(stored, blobs=tuple(blobs), writes=writes)


class MemoryLeases:
    """Leases of runners that never lapse."""

    def __init__(self) -> None:
        self.held: dict[str, Lease] = {}

    async def beats(self, own: Mapping[str, int]) -> Mapping[str, int]:
        return own

    async def take(self, thread_id: str, runner: str, client: str = "") -> Lease:
        del client
        held = self.held.get(thread_id)
        if held is not None and held.runner not in {"", runner}:
            raise Unavailable("held", 1.0)
        fence = 1 if held is None else held.fence + 1
        self.held[thread_id] = Lease(thread_id, runner, fence)
        return self.held[thread_id]

    async def release(self, lease: Lease) -> None:
        if self.held.get(lease.thread_id) == lease:
            self.held[lease.thread_id] = replace(lease, runner="")

    async def reap(self, dead: str, beat: int, at: datetime) -> Sequence[str]:
        del dead, beat, at
        return ()

    async def leave(self, runner: str) -> None:
        for lease in [lease for lease in self.held.values() if lease.runner == runner]:
            await self.release(lease)


class MemoryLedger:
    """A ledger."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str, int], Sent] = {}

    async def read(self, thread_id: str) -> Sequence[Sent]:
        return [sent for key, sent in sorted(self.entries.items()) if key[0] == thread_id]

    async def write(self, lease: Lease, sent: Sequence[Sent]) -> None:
        self.entries |= {(lease.thread_id, one.call_id, one.index): one for one in sent}

    async def forget(self, lease: Lease, calls: Sequence[str]) -> None:
        of_calls = {key for key in self.entries if key[0] == lease.thread_id and key[1] in calls}
        self.entries = {key: sent for key, sent in self.entries.items() if key not in of_calls}
