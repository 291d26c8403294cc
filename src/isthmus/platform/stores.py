"""Where a session keeps its records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from isthmus.core.lease import Lease
from isthmus.core.ports import CheckpointStore
from isthmus.core.workflow import NewWorkflow, StatusEvent, Workflow


class SessionRecords(Protocol):
    """What a session does with its record: a part of what WorkflowStore does."""

    async def create(self, new: NewWorkflow) -> Workflow:
        """A new record. Raises Conflict when it is there, NotFound where none may be made."""
        ...

    async def get(self, workflow_id: str) -> Workflow:
        """The record. Raises NotFound."""
        ...

    async def move(
        self, workflow_id: str, event: StatusEvent, lease: Lease | None = None
    ) -> Workflow:
        """The record after an event. Raises NotFound, Conflict: illegal move, or Forbidden."""
        ...

    async def pin(self, workflow_id: str, model: str) -> Workflow:
        """Remember the model of a session (JSON text); a blank never clears it."""
        ...

    async def change(self, workflow_id: str, apply: Callable[[Workflow], Workflow]) -> Workflow:
        """Store `apply` of the record, as far as its home has a place for it."""
        ...


class Approvals(Protocol):
    """What the owner allowed for the rest of a session, where the record does not tell."""

    async def allows(self, tool: str, args: Mapping[str, object]) -> bool:
        """Whether a call may run unasked."""
        ...


@dataclass(frozen=True, slots=True)
class SessionStores:
    """The record and the checkpoints of one session; the same home keeps both.

    `apart` says whose the session is, where we keep no record that says it: only its client tells
    what the record holds, and may lie. So nobody holds what is another's, nor shares its secrets.
    """

    workflows: SessionRecords
    checkpoints: CheckpointStore
    approvals: Approvals | None = None
    apart: str = ""

    def held_as(self, workflow_id: str) -> str:
        """The name of the session, under which one runs at a time."""
        return f"{self.apart}/{workflow_id}" if self.apart else workflow_id
