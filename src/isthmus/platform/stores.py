"""Where a session keeps its records."""

from dataclasses import dataclass

from isthmus.core.ports import CheckpointStore, WorkflowStore


@dataclass(frozen=True, slots=True)
class SessionStores:
    """The record and the checkpoints of one session; the same home keeps both."""

    workflows: WorkflowStore
    checkpoints: CheckpointStore
