"""From a start message to a turn that an engine can prepare: record, model, policy, tools."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from isthmus.contract.contract_pb2 import ClientEvent
from isthmus.core.errors import Conflict, Invalid, NotFound, Unavailable
from isthmus.core.events import Noted
from isthmus.core.identity import Caller
from isthmus.core.messages import ModelChoice
from isthmus.core.ports import Clock, Telemetry, WorkflowStore
from isthmus.core.workflow import NewWorkflow, Workflow
from isthmus.platform.catalogue import Selector
from isthmus.platform.flow import Flow
from isthmus.platform.mode import mode_of
from isthmus.platform.policy import agreed
from isthmus.platform.protocol import Conversation
from isthmus.platform.start import Start
from isthmus.platform.tool import Tool
from isthmus.platform.turn import Engine, Turn
from isthmus.routing.models import Models
from isthmus.settings import PlatformSettings

GOAL_CHARS = 16_000
"""How much of the first goal a record keeps; the conversation has all of it."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What every session of a host shares."""

    workflows: WorkflowStore
    models: Models
    engine: Engine
    tools: Mapping[str, Tool]
    telemetry: Telemetry
    clock: Clock
    settings: PlatformSettings


@dataclass(frozen=True, slots=True)
class Opening:
    """What one stream begins with."""

    start: Start
    selector: Selector
    flow: Flow
    caller: Caller
    conversation: Conversation
    events: AsyncIterator[ClientEvent]

    @property
    def definition(self) -> str:
        """The label of the session's facts."""
        return self.selector.definition or self.selector.built_in

    def has(self, capability: str) -> bool:
        """Whether the client declared this capability and may use it."""
        return capability in self.start.capabilities


async def record_of(opening: Opening, workflows: WorkflowStore) -> Workflow:
    """The record, created for its first caller. Raises Invalid for somebody else's."""
    workflow_id, caller = opening.start.workflow_id, opening.caller
    owner = caller.global_user_id or caller.subject
    try:
        record = await workflows.get(workflow_id)
    except NotFound:
        goal = opening.start.goal.replace("\0", "")[:GOAL_CHARS]
        new = NewWorkflow(opening.definition, goal, owner, workflow_id)
        try:
            record = await workflows.create(new)
        except Conflict:
            record = await workflows.get(workflow_id)
    if record.owner != owner:
        raise Invalid(f"Invalid workflow ID: {workflow_id} cannot be found")
    return record


def turn_of(opening: Opening, wiring: Wiring, record: Workflow) -> Turn:
    """The turn; whether it fits the session's state is the engine's to say."""
    agent, caller = opening.flow.agent, opening.caller
    policy = agreed(
        agent.pre_approved_tools,
        opening.start.preapproved,
        caller.extra.get("tool_access_policies"),
        asks=agent.require_tool_approval,
    )
    tools = {
        name: wiring.tools[name].suited(opening.has)
        for name in agent.toolset
        if name in wiring.tools and name not in policy.denied
    }
    return Turn(
        start=opening.start,
        mode=mode_of(record.status),
        flow=opening.flow,
        definition=opening.definition,
        tools=tools,
        policy=policy,
        choice=_choice(opening, wiring, record),
        caller=caller,
        record_goal=record.goal,
    )


def metadata_text(choice: ModelChoice) -> str:
    """The model as records pin it and notices name it; holds no secret.

    Source: agent-platform contract, section 6.6 (keys of a managed model).
    """
    named = {
        "name": choice.id,
        "provider": choice.provider,
        "endpoint": None,
        "identifier": choice.upstream,
    }
    return json.dumps(named, separators=(",", ":"))


def _choice(opening: Opening, wiring: Wiring, record: Workflow) -> ModelChoice:
    """The pinned model while it can be served, else the feature's default."""
    feature = opening.flow.agent.feature
    pinned = _pinned(record.model)
    if pinned:
        try:
            return wiring.models.choose(feature, pinned)
        except (NotFound, Unavailable):
            details = (("workflow_id", record.workflow_id), ("model", pinned))
            wiring.telemetry.emit(Noted("warning", "pinned model is gone", details))
    return wiring.models.choose(feature)


def _pinned(text: str) -> str:
    try:
        value: object = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return ""
    match value:
        case {"name": str(name)}:
            return name
        case _:
            return ""
