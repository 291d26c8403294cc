"""From a start message to a turn that an engine can prepare: record, model, policy, tools."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TypeAlias

from isthmus.contract.contract_pb2 import ClientEvent
from isthmus.core.errors import Conflict, Forbidden, Invalid, NotFound
from isthmus.core.events import Noted
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.lease import Lease
from isthmus.core.messages import ModelMetadata
from isthmus.core.ports import Clock, Telemetry
from isthmus.core.workflow import NewWorkflow, Status, Workflow
from isthmus.platform import delegation
from isthmus.platform.catalogue import Selector
from isthmus.platform.exclusion import excluding
from isthmus.platform.flow import Agent, Component, FixedStep, Flow, OneOff, Question
from isthmus.platform.home import Home
from isthmus.platform.inputs import inputs_of
from isthmus.platform.ledger import Book, Page
from isthmus.platform.mode import mode_of
from isthmus.platform.offer import Given, Wishes, kit
from isthmus.platform.owner import Owner
from isthmus.platform.protocol import Conversation
from isthmus.platform.scan import level_of
from isthmus.platform.start import Start
from isthmus.platform.stores import SessionRecords, SessionStores
from isthmus.platform.tool import Client, Tool
from isthmus.platform.turn import Engine, Turn
from isthmus.routing import metadata
from isthmus.routing.models import Models
from isthmus.routing.sticky import Picked, pick
from isthmus.settings import PlatformSettings

MODEL_HEADER = "x-gitlab-agent-platform-model-metadata"
GOAL_CHARS = 16_000
"""How much of the first goal a record keeps; the conversation has all of it."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What one stream begins with. `served` are tools of MCP servers of our own."""

    start: Start
    selector: Selector
    flow: Flow
    caller: Caller
    client: ClientInfo
    conversation: Conversation
    events: AsyncIterator[ClientEvent]
    served: Mapping[str, Tool] = field(default_factory=dict[str, Tool])

    @property
    def definition(self) -> str:
        """The label of the session's facts."""
        return self.selector.definition or self.selector.built_in

    def has(self, capability: str) -> bool:
        """Whether the client declared this capability and may use it."""
        return capability in self.start.capabilities

    @property
    def metered(self) -> bool:
        """Whether the client wants to be told of model calls of its own servers."""
        told = self.client.get("x-gitlab-self-hosted-dap-billing-enabled")
        return told.strip().lower() in {"true", "1"}

    @property
    def feature(self) -> str:
        """The qualified name of what credits are asked for, and bills are about."""
        return feature_of(self.selector.definition, self.selector.flow_id)

    @property
    def owner(self) -> str:
        """Who the session belongs to, as records name them."""
        owner = self.caller.global_user_id or self.caller.subject
        return f"{self.caller.listed}/{owner}" if self.caller.listed else owner

    @property
    def client_key(self) -> str:
        """A name of the very client that asks, which nobody else can give; "" when it has none."""
        if not self.start.memory:
            return ""
        said = f"{self.owner}\0{self.start.memory}"
        return blake2b(said.encode(), digest_size=16).hexdigest()


def feature_of(definition: str, flow_id: str) -> str:
    """The qualified name of a flow: the registry's, or a definition without its schema."""
    return flow_id or definition.partition("/")[0] or "software_development"


StoresOf: TypeAlias = Callable[[Opening, Client], SessionStores]
"""The stores of one session, which may need the client to reach them."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What every session of a host shares. `metered`: self-hosted model calls may be announced."""

    stores: StoresOf
    owner: Owner
    models: Models
    engine: Engine
    tools: Mapping[str, Tool]
    telemetry: Telemetry
    clock: Clock
    settings: PlatformSettings
    metered: bool = False


async def record_of(opening: Opening, workflows: SessionRecords) -> Workflow:
    """The record, created for its first caller. Raises Invalid for somebody else's."""
    workflow_id, owner = opening.start.workflow_id, opening.owner
    try:
        record = await workflows.get(workflow_id)
    except NotFound:
        goal = opening.start.goal.replace("\0", "")[:GOAL_CHARS]
        new = NewWorkflow(opening.definition, goal, owner, workflow_id)
        try:
            record = await workflows.create(new)
        except Conflict:
            record = await workflows.get(workflow_id)
        except NotFound as unknown:
            raise _unknown(opening) from unknown
    if record.owner != owner:
        raise _unknown(opening)
    return record


def _unknown(opening: Opening) -> Invalid:
    return Invalid(f"Invalid workflow ID: {opening.start.given_id} cannot be found")


def turn_of(
    opening: Opening, wiring: Wiring, stores: SessionStores, record: Workflow, lease: Lease
) -> Turn:
    """The turn; whether it fits the session's state is the engine's to say.

    Raises Invalid or Conflict when what is attached does not fit what the flow asks for.
    """
    flow, caller = opening.flow, opening.caller
    models = wiring.models.of(caller.who)
    given = Given(
        opening.start,
        opening.client,
        record.terms,
        record.approvals,
        caller.extra.get("tool_access_policies"),
        excluding(record.site.excluded),
        opening.served,
    )
    picked = _picked(opening, wiring, record)
    return Turn(
        start=opening.start,
        mode=mode_of(record.status),
        flow=flow,
        definition=opening.definition,
        kits={part.name: kit(_wishes(part, flow), given, wiring.tools) for part in flow.components},
        model=picked,
        caller=caller,
        record_goal=record.goal,
        home=Home(record.deployment),
        stores=stores,
        site=record.site,
        lease=lease,
        book=Book(Page(wiring.owner.ledger, lease, opening.start.memory, bool(stores.apart))),
        stopped=record.status is Status.STOPPED,
        choices={
            agent.name: models.tagged(flow.feature, agent.tags, picked.choice)
            for agent in flow.agents.values()
            if agent.tags
        },
        context=_context(opening, wiring, record),
        scan=level_of(opening.client.feature_flags, record.site.protection),
        parallel=delegation.FLAG in opening.client.feature_flags,
    )


def _wishes(part: Component, flow: Flow) -> Wishes:
    match part:
        case OneOff(agent):
            return replace(_wishes(agent, flow), asks=False)
        case Agent():
            talking = flow.environment != "ambient"
            return Wishes(
                part.toolset, part.preapproved, part.asks, talking, flow.talks, part.fixed
            )
        case FixedStep():
            fixed = {part.tool: part.fixed} if part.fixed else {}
            return Wishes((part.tool,), asks=False, with_mcp=False, fixed=fixed)
        case Question():
            return Wishes((), with_mcp=False)


def _context(opening: Opening, wiring: Wiring, record: Workflow) -> dict[str, object]:
    """What a flow may read of its session. Source: agent-platform contract, section 7.4."""
    client, site = opening.client, record.site
    url = client.get("x-gitlab-host-name")
    return {
        "goal": opening.start.goal or record.goal,
        "workflow_id": opening.start.given_id,
        "project_id": record.project_id,
        "project_http_url_to_repo": site.clone_url,
        "project_default_branch": site.default_branch,
        "namespace": record.namespace_id,
        "current_date": wiring.clock.utc().date().isoformat(),
        "session_url": "",
        "gitlab_instance_type": "Unknown",
        "gitlab_instance_url": f"https://{url}" if url else "",
        "gitlab_instance_version": client.get("x-gitlab-version"),
        "inputs": inputs_of(opening.start.contexts, opening.flow.wanted),
    }


def _picked(opening: Opening, wiring: Wiring, record: Workflow) -> Picked:
    """The model that the header asks for, else the record's, else one of the feature's."""
    models, asked = wiring.models.of(opening.caller.who), _header(opening, wiring.telemetry)
    kept = metadata.lenient(record.model)
    try:
        found = pick(models, asked or kept, opening.flow.feature)
    except Forbidden:
        if asked is not None or kept is None:
            raise
        # The session may have begun before its instance lost the model.
        found = replace(pick(models, None, opening.flow.feature), gone=kept.name)
    if found.gone:
        details = (("workflow_id", record.workflow_id), ("model", found.gone))
        wiring.telemetry.emit(Noted("warning", "the model of a session is gone", details))
    return found


def _header(opening: Opening, telemetry: Telemetry) -> ModelMetadata | None:
    """What the header says of the model. It may hold a key: its text is told to nobody."""
    text = opening.client.get(MODEL_HEADER)
    wanted = metadata.lenient(text) if text.strip() else None
    if wanted is None and text.strip():
        details = (("workflow_id", opening.start.workflow_id), ("header", MODEL_HEADER))
        telemetry.emit(Noted("warning", "model metadata cannot be read", details))
    return wanted
