"""What starts and stops the runs of a workflow that has no person beside it: a seam."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from isthmus.core.accounts import Member
from isthmus.core.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Kickoff:
    """What a first run is given besides its record.

    `context` are the items that came with the order, each with `Category` and `Content`.
    """

    context: tuple[Mapping[str, object], ...] = ()
    shallow_clone: bool = True


@dataclass(frozen=True, slots=True)
class Workload:
    """A run that was started: its number, and a sentence for whoever asked."""

    id: int | None = None
    message: str | None = None


class Launcher(Protocol):
    """Starts runs through a Runner.

    Raises Unavailable when a run cannot be started, Rejected or Forbidden when it may not be.
    """

    async def start(self, member: Member, workflow: Workflow, kickoff: Kickoff) -> Workload: ...

    async def resume(
        self, member: Member, workflow: Workflow, *, approved: bool, message: str = ""
    ) -> Workload:
        """Go on with a record. Raises NotFound when there is nothing that could be run again."""
        ...

    async def stop(self, workflow: Workflow) -> None:
        """Stop the record's run; one that ended, or never was, is no error."""
        ...
