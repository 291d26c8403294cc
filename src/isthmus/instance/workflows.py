"""Workflow records as their owners create, move, list and change them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from isthmus.core.accounts import Member, Place
from isthmus.core.approval import with_call, with_pattern
from isthmus.core.errors import Conflict, Forbidden, Invalid, NotFound, Rejected
from isthmus.core.page import Page
from isthmus.core.ports import Clock, WorkflowStore
from isthmus.core.workflow import (
    MOVES,
    NewWorkflow,
    StatusEvent,
    Terms,
    ToolApproval,
    Workflow,
    WorkflowQuery,
)
from isthmus.instance.flags import Flags
from isthmus.instance.places import Places
from isthmus.instance.terms import check, check_privileges
from isthmus.settings import InstanceSettings

TITLE_LIMIT: Final = 40
MAX_TOOLS: Final = 200
"""Tools of one workflow that may have approvals."""
_MISSING: Final = "404 Workflow Not Found"
_TOOL_LIMIT_CHARS: Final = 255


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

    def __init__(
        self,
        store: WorkflowStore,
        places: Places,
        flags: Flags,
        clock: Clock,
        settings: InstanceSettings | None = None,
    ) -> None:
        self._store = store
        self._places = places
        self._flags = flags
        self._clock = clock
        self._settings = settings or InstanceSettings()

    async def create(self, member: Member, order: Order) -> Workflow:
        """Raises Invalid, Rejected (no namespace), NotFound (its place)."""
        check(order.terms, in_project=order.project not in {None, ""})
        place = await self._places.place(member, order.project, order.namespace)
        incremental = await self._flags.on("incremental_checkpoints", place, member.user)
        project = place.project
        new = NewWorkflow(
            definition=order.definition,
            goal=order.goal,
            owner=member.user.global_id,
            project_id=project.id if project else None,
            namespace_id=None if project else place.namespace.id,
            title=order.definition[:TITLE_LIMIT],
            terms=replace(order.terms, incremental_checkpoints=incremental),
        )
        return await self._store.create(new)

    async def own(self, member: Member, workflow_id: str) -> Workflow:
        """The record. Raises NotFound, for a foreign one too, and for what is no number."""
        try:
            found = await self._store.get(workflow_id)
        except (NotFound, Invalid):
            raise NotFound(_MISSING) from None
        if found.owner != member.user.global_id:
            raise NotFound(_MISSING)
        return found

    async def place(self, workflow: Workflow) -> Place | None:
        """Where it belongs."""
        return await self._places.of(workflow)

    async def move(self, member: Member, workflow_id: str, event: str) -> Moved:
        """Source: instance contract, 1.5 and 2.2. Raises NotFound, Rejected."""
        return await self.moved(await self.own(member, workflow_id), event)

    async def moved(self, workflow: Workflow, event: str) -> Moved:
        """The same for a record that the caller may move. Raises NotFound, Rejected."""
        try:
            wanted = StatusEvent(event)
        except ValueError:
            raise Rejected(f"Unsupported status event: {event[:50]}") from None
        target = MOVES[wanted][1]
        if workflow.status == target:
            return Moved(workflow, changed=False)
        try:
            moved = await self._store.move(workflow.workflow_id, wanted)
            return Moved(moved, changed=True)
        except Conflict:
            # Somebody may have been quicker: what counts is where the record is now.
            workflow = await self._store.get(workflow.workflow_id)
        if workflow.status == target:
            return Moved(workflow, changed=False)
        raise Rejected(f"Cannot {wanted} a workflow that has status {workflow.status}")

    async def page(self, member: Member, query: WorkflowQuery) -> Page[Workflow]:
        """The caller's own, whatever `query.owner` says."""
        return await self._store.page(replace(query, owner=member.user.global_id))

    async def delete(self, member: Member, workflow_id: str) -> None:
        """The record and all that hangs on it. Raises NotFound."""
        await self._store.delete((await self.own(member, workflow_id)).workflow_id)

    async def set_privileges(
        self, member: Member, workflow_id: str, privileges: tuple[int, ...], pre: tuple[int, ...]
    ) -> Workflow:
        """Raises NotFound, Invalid."""
        check_privileges(privileges, pre)
        return await self._set_terms(
            member,
            workflow_id,
            lambda terms: replace(terms, privileges=privileges, preapproved=pre),
        )

    async def set_web_search(self, member: Member, workflow_id: str, *, on: bool) -> Workflow:
        """Raises NotFound."""
        return await self._set_terms(
            member, workflow_id, lambda terms: replace(terms, web_search=on)
        )

    async def approve_calls(
        self, member: Member, workflow_id: str, tool: str, *, args: str = "", pattern: str = ""
    ) -> Workflow:
        """Allow one tool these arguments (JSON text), or a pattern, for the session.

        Raises NotFound, Invalid (exactly one of both; a bad pattern), Forbidden (switched off).
        """
        await self.own(member, workflow_id)
        if not self._settings.tool_approval_for_session:
            raise Forbidden("Approval of tools for a session is switched off.")
        if bool(args) == bool(pattern):
            raise Invalid("Give either the arguments of a call or a pattern.")
        if not tool or len(tool) > _TOOL_LIMIT_CHARS:
            raise Invalid("The tool needs a name.")

        def apply(workflow: Workflow) -> Workflow:
            known = workflow.approvals.get(tool, ToolApproval())
            if tool not in workflow.approvals and len(workflow.approvals) >= MAX_TOOLS:
                raise Invalid(f"At most {MAX_TOOLS} tools can be approved.")
            more = with_call(known, args) if args else with_pattern(known, tool, pattern)
            return replace(workflow, approvals={**workflow.approvals, tool: more})

        return await self._store.change(workflow_id, apply)

    def archived(self, workflow: Workflow) -> bool:
        """Whether it is too old to be continued."""
        kept = timedelta(seconds=self._settings.archive_after_s)
        return workflow.created_at <= self._clock.utc() - kept

    async def _set_terms(
        self, member: Member, workflow_id: str, apply: Callable[[Terms], Terms]
    ) -> Workflow:
        await self.own(member, workflow_id)
        return await self._store.change(
            workflow_id, lambda workflow: replace(workflow, terms=apply(workflow.terms))
        )
