"""Checkpoints of a workflow, whoever stored them: a flow service by the contract, or our engine."""

from collections.abc import Callable
from dataclasses import dataclass

from isthmus.core.accounts import Member
from isthmus.core.checkpoint import StoredCheckpoint
from isthmus.core.ports import CheckpointStore, RecordStore
from isthmus.core.records import Keep, NewRecord, Record, RecordPage, RecordQuery, RecordWrite
from isthmus.core.workflow import Workflow
from isthmus.instance.workflows import Workflows


@dataclass(frozen=True, slots=True)
class Sources:
    """Where checkpoints are. `read` turns one of our engine's into a record of the contract."""

    records: RecordStore
    engine: CheckpointStore
    read: Callable[[StoredCheckpoint], Record]


class Checkpoints:
    """Only the owner's own workflows have any (NotFound)."""

    def __init__(self, workflows: Workflows, sources: Sources, keep: Keep) -> None:
        self._workflows = workflows
        self._sources = sources
        self._keep: Keep = keep

    async def append(self, member: Member, new: NewRecord) -> Record:
        """Raises NotFound, Invalid."""
        raise NotImplementedError

    async def page(self, member: Member, query: RecordQuery) -> RecordPage:
        """Raises NotFound."""
        raise NotImplementedError

    async def get(self, member: Member, workflow_id: str, record_id: int) -> Record:
        """Raises NotFound."""
        raise NotImplementedError

    async def put_writes(
        self, member: Member, workflow_id: str, thread_ts: str, writes: tuple[RecordWrite, ...]
    ) -> None:
        """Raises NotFound, Invalid."""
        raise NotImplementedError

    async def latest(self, workflow: Workflow) -> Record | None:
        """The newest top-level checkpoint of a record that is the caller's already."""
        raise NotImplementedError

    async def first(self, workflow: Workflow) -> Record | None:
        """The oldest one."""
        raise NotImplementedError
