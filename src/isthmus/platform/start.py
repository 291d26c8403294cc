"""Reads the first message of a stream into plain values, and refuses what does not fit.

Source: agent-platform contract, sections 1.3, 4.3, 7.9 and 8.6.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from isthmus.contract.contract_pb2 import AdditionalContext, StartWorkflowRequest
from isthmus.core.errors import Invalid
from isthmus.core.identity import ClientInfo
from isthmus.platform.mcp import tools_of
from isthmus.platform.tool import Tool
from isthmus.platform.versions import at_least
from isthmus.settings_instances import slot

MAX_CAPABILITIES = 100
MAX_PREAPPROVED = 1000
MAX_CONTEXTS = 200
PART_BITS = 48
"""Of the 63 bits of a record's number: what is left for an instance to count with."""
_WORKFLOW_ID = re.compile(r"[1-9][0-9]{0,18}")
_MEMORY = re.compile(r"action_memory=([A-Za-z0-9-]{8,64})")
_START_ID = re.compile(r"start_id=([A-Za-z0-9-]{8,64})")
_CAPABLE_SINCE = (18, 7, 0)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the user says of a pending tool call; `message` comes with modify and response."""

    kind: Literal["approve", "reject", "modify", "response"]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """Something the client attached to the user's turn."""

    category: str
    id: str = ""
    content: str = ""
    metadata: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Start:
    """The first message of a stream. `decision` is None when the turn is a goal (or a retry).

    `workflow_id` is the number of our record; `given_id` the caller's own name for it. `memory` is
    the name of a client that remembers what it answered, answers so again, and comes back for what
    it missed. `id` is the client's name for this message: told again under it, it goes in once.
    """

    workflow_id: str
    goal: str
    decision: Decision | None
    capabilities: frozenset[str]
    preapproved: tuple[str, ...]
    contexts: tuple[Context, ...]
    fork_id: str
    mcp: Mapping[str, Tool] = field(default_factory=dict[str, Tool])
    given_id: str = ""
    memory: str = ""
    id: str = ""


def numbered(given_id: str, listed: str) -> str:
    """The number of our record: each listed instance counts from 1 in a part of its own.

    Raises Invalid for a number that such a part does not hold.
    """
    if not listed:
        return given_id
    number = int(given_id)
    if number >> PART_BITS:
        raise Invalid(f"Invalid workflow ID: {given_id} is too large")
    return str(slot(listed) << PART_BITS | number)


def read(message: StartWorkflowRequest, client: ClientInfo, listed: str = "") -> Start:
    """The message as values, of a caller of this listed instance. Raises Invalid."""
    if not _WORKFLOW_ID.fullmatch(message.workflowID):
        raise Invalid(f"Invalid workflow ID: {message.workflowID[:64]!r} is not a decimal number")
    if len(message.preapproved_tools) > MAX_PREAPPROVED:
        raise Invalid("Too many preapproved_tools")
    if len(message.additional_context) > MAX_CONTEXTS:
        raise Invalid("Too many additional_context entries")
    _json_object(message.workflowMetadata, "workflowMetadata")
    return Start(
        workflow_id=numbered(message.workflowID, listed),
        given_id=message.workflowID,
        goal=message.goal,
        decision=_decision(message),
        capabilities=_capabilities(message, client),
        preapproved=tuple(message.preapproved_tools),
        contexts=tuple(_context(entry) for entry in message.additional_context),
        fork_id=message.resume_checkpoint_ts,
        mcp=tools_of(message.mcpTools),
        memory=_named(message, _MEMORY),
        id=_named(message, _START_ID),
    )


def _decision(message: StartWorkflowRequest) -> Decision | None:
    match message.approval.WhichOneof("user_decision"):
        case "approval":
            return Decision("approve")
        case "rejection":
            text = message.approval.rejection.message
            # Clients that serialise a missing message as text send the word.
            if text and text != "null":
                return Decision("modify", text)
            return Decision("reject")
        case _:
            return None


def _capabilities(message: StartWorkflowRequest, client: ClientInfo) -> frozenset[str]:
    if not at_least(client.get("x-gitlab-version"), _CAPABLE_SINCE):
        return frozenset()
    return frozenset(message.clientCapabilities[:MAX_CAPABILITIES])


def _named(message: StartWorkflowRequest, pattern: re.Pattern[str]) -> str:
    """What one of our own clients says by a capability."""
    for name in message.clientCapabilities[:MAX_CAPABILITIES]:
        if found := pattern.fullmatch(name):
            return found[1]
    return ""


def _context(entry: AdditionalContext) -> Context:
    metadata = _json_object(entry.metadata, "additional_context.metadata")
    return Context(entry.category, entry.id, entry.content, metadata)


def _json_object(text: str, name: str) -> dict[str, object]:
    if not text.strip():
        return {}
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{name} is not JSON") from error
    if not isinstance(value, dict):
        raise Invalid(f"{name} must be a JSON object")
    return {str(key): item for key, item in value.items()}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - any JSON
