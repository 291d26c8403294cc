"""Workflow records as their owners create, move, list and change them."""

from dataclasses import dataclass, field

from isthmus.core.accounts import Member, Place
from isthmus.core.page import Page
from isthmus.core.ports import Clock, WorkflowStore
from isthmus.core.workflow import Terms, Workflow, WorkflowQuery
from isthmus.instance.flags import Flags
from isthmus.instance.places import Places


@dataclass(frozen=True, slots=True)
class Order:
    """A workflow that is asked for. `project` and `namespace` are ids or paths."""

    goal: str = ""
    definition: str = "software_development"
    project: str | int | None = None
    namespace: str | int | None = None
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class Moved:
    """A record after an event. `changed` is false when it was there already."""

    workflow: Workflow
    changed: bool


class Workflows:
    """Everything here is the owner's alone: another caller's record is not there (NotFound)."""

    def __init__(self, store: WorkflowStore, places: Places, flags: Flags, clock: Clock) -> None:
        self._store = store
        self._places = places
        self._flags = flags
        self._clock = clock

    async def create(self, member: Member, order: Order) -> Workflow:
        """Raises Invalid, Rejected (no namespace), NotFound (its place)."""
        raise NotImplementedError

    async def own(self, member: Member, workflow_id: str) -> Workflow:
        """The record. Raises NotFound, for a foreign one too, and for what is no number."""
        raise NotImplementedError

    async def place(self, workflow: Workflow) -> Place | None:
        """Where it belongs."""
        return await self._places.of(workflow)

    async def move(self, member: Member, workflow_id: str, event: str) -> Moved:
        """Source: instance contract, 1.5 and 2.2. Raises NotFound, Rejected."""
        raise NotImplementedError

    async def page(self, member: Member, query: WorkflowQuery) -> Page[Workflow]:
        """The caller's own, whatever `query.owner` says."""
        raise NotImplementedError

    async def delete(self, member: Member, workflow_id: str) -> None:
        """The record and all that hangs on it. Raises NotFound."""
        raise NotImplementedError

    async def set_privileges(
        self, member: Member, workflow_id: str, privileges: tuple[int, ...], pre: tuple[int, ...]
    ) -> Workflow:
        """Raises NotFound, Invalid."""
        raise NotImplementedError

    async def set_web_search(self, member: Member, workflow_id: str, *, on: bool) -> Workflow:
        """Raises NotFound."""
        raise NotImplementedError

    async def approve_calls(
        self, member: Member, workflow_id: str, tool: str, *, args: str = "", pattern: str = ""
    ) -> Workflow:
        """Allow one tool these arguments (JSON text), or a pattern, for the session.

        Raises NotFound, Invalid (exactly one of both; a bad pattern), Forbidden (switched off).
        """
        raise NotImplementedError

    def archived(self, workflow: Workflow) -> bool:
        """Whether it is too old to be continued."""
        raise NotImplementedError
