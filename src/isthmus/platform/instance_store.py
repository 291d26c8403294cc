"""A session's stores at its GitLab instance, over the client's own `runHTTPRequest` actions.

The instance decides who may see what; nothing is kept here between two streams.
Source: agent-platform contract, section 6.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from isthmus.core.errors import Conflict, Failure, Forbidden, NotFound, StoreDown, ToolRefused
from isthmus.core.lease import Lease
from isthmus.core.workflow import MOVES, NewWorkflow, StatusEvent, Workflow
from isthmus.platform import instance_record
from isthmus.platform.instance_api import Reply, graphql, request
from isthmus.platform.instance_record import Found
from isthmus.platform.tool import Client

ROOT: Final = "/api/v4/ai/duo_workflows/workflows"
START_FORBIDDEN: Final = "workflow execution didn't start due to forbidden response"
_UNKNOWN: Final = "not found"
_REFUSALS: Final[Mapping[int, type[Failure]]] = {
    400: Conflict,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Conflict,
}


@dataclass(frozen=True, slots=True)
class Bond:
    """What ties a session to its instance.

    `thread_id` is the session's own name for what the instance calls `given_id`. `parts_only`: the
    client has the whole state, so that the instance gets no copy of it. `single`: the instance
    finds one checkpoint by its id.
    """

    thread_id: str
    given_id: str
    definition: str
    owner: str
    version: str
    flow: str = ""
    parts_only: bool = False
    single: bool = False


class InstanceWorkflows:
    """The record of one session. Raises StoreDown when the instance cannot be asked."""

    def __init__(self, client: Client, bond: Bond) -> None:
        self.client = client
        self.bond = bond
        self.path = f"{ROOT}/{bond.given_id}"
        self.found: Found | None = None
        self._record = instance_record.blank(bond.thread_id, bond.definition, bond.owner)

    @property
    def model(self) -> str:
        """The model that goes along with each checkpoint."""
        return self._record.model

    async def get(self, workflow_id: str) -> Workflow:
        """The record, and what comes with it. Raises NotFound."""
        self._check(workflow_id)
        query = instance_record.query(self.bond.version)
        try:
            data = await graphql(self.client, query, instance_record.variables(self.bond.given_id))
        except ToolRefused as refused:
            if _UNKNOWN in refused.detail.lower():
                raise NotFound("404 Workflow Not Found") from refused
            raise StoreDown(f"The instance does not show this session: {refused.detail}") from None
        nodes = instance_record.nodes(data)
        if not nodes:
            raise NotFound("404 Workflow Not Found")
        try:
            self.found = instance_record.found_in(nodes[0], self._record)
        except ValueError as error:
            raise StoreDown(f"The instance's answer makes no sense: {error}.") from error
        self._record = self.found.workflow
        return self._record

    async def create(self, new: NewWorkflow) -> Workflow:
        """Raises NotFound: clients create their workflows themselves."""
        del new
        raise NotFound("404 Workflow Not Found")

    async def move(
        self, workflow_id: str, event: StatusEvent, lease: Lease | None = None
    ) -> Workflow:
        """Raises NotFound, Conflict: not allowed in this state, or Forbidden."""
        del lease  # The instance knows of none.
        self._check(workflow_id)
        reply = await called(self.client, "PATCH", self.path, {"status_event": event.value})
        if reply.status == 403 and event is StatusEvent.START:
            raise Forbidden(START_FORBIDDEN)
        checked(reply, f"move {event}")
        self._record = replace(self._record, status=MOVES[event][1])
        return self._record

    async def pin(self, workflow_id: str, model: str) -> Workflow:
        """Remember the model; the instance learns of it with the next checkpoint."""
        return await self.change(workflow_id, lambda known: replace(known, model=model.strip()))

    async def change(self, workflow_id: str, apply: Callable[[Workflow], Workflow]) -> Workflow:
        """Store `apply` of the record, for this stream: the instance has no place for it."""
        self._check(workflow_id)
        changed = apply(self._record)
        self._record = replace(changed, model=changed.model or self._record.model)
        return self._record

    def _check(self, workflow_id: str) -> None:
        if workflow_id != self.bond.thread_id:
            raise NotFound("404 Workflow Not Found")


class InstanceApprovals:
    """What the owner allowed for the rest of the session; the instance is asked once a call."""

    def __init__(self, client: Client, given_id: str) -> None:
        self._client = client
        self._given = instance_record.variables(given_id)
        self._known: dict[tuple[str, str], bool] = {}

    async def allows(self, tool: str, args: Mapping[str, object]) -> bool:
        """Whether a call may run unasked. False whenever the instance does not say so."""
        text = msgspec.json.encode(dict(args), order="sorted").decode()
        known = self._known.get((tool, text))
        if known is None:
            known = self._known[tool, text] = await self._asked(tool, text)
        return known

    async def _asked(self, tool: str, text: str) -> bool:
        given = self._given | {"toolName": tool, "toolCallArgs": text}
        try:
            data = await graphql(self._client, instance_record.approval_query(), given)
        except ToolRefused:
            return False
        match instance_record.nodes(data):
            case [{instance_record.APPROVAL_FIELD: True}, *_]:
                return True
            case _:
                return False


async def called(client: Client, method: str, path: str, body: object = None) -> Reply:
    """An answer of the instance's. Raises StoreDown when there is none."""
    try:
        return await request(client, method, path, body)
    except ToolRefused as refused:
        raise StoreDown(f"The instance cannot be reached: {refused.detail}") from None


def checked(reply: Reply, what: str) -> Reply:
    """The same answer. Raises what its status means."""
    if reply.ok:
        return reply
    said = f"The instance refused to {what} (status {reply.status})."
    if refusal := _REFUSALS.get(reply.status):
        raise refusal(said)
    raise StoreDown(said)
