"""What a session is to do, and the first message of each of its turns. Pure."""

from dataclasses import dataclass

import msgspec
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.struct_pb2 import Struct

from isthmus.contract.contract_pb2 import (
    AdditionalContext,
    Approval,
    McpTool,
    StartWorkflowRequest,
)

CAPABILITIES = ("shell_command", "read_file_chunked", "command_timeout", "incremental_streaming")
CONTEXT_ENTRIES = 100


class Malformed(ValueError):
    """An option's text is not what it should be; the text says how."""


@dataclass(frozen=True, slots=True)
class Flow:
    """The flow that runs: inline, or by id and version. Empty parts are left to the server."""

    config: Struct | None = None
    config_id: str = ""
    schema_version: str = ""
    version: str = ""


NO_FLOW = Flow()


@dataclass(frozen=True, slots=True)
class Task:
    """What the session is to do. An empty `goal` resumes one that was left.

    With a `decision` the session goes on from the tool calls that wait for it, whatever the goal.
    `memory` is the name of what remembers the answers that were given to actions, `turn` the number
    of what is told next: it goes in once, however often it is told.
    """

    workflow_id: str
    goal: str
    definition: str = "chat"
    flow: Flow = NO_FLOW
    metadata: str = "{}"
    context: tuple[AdditionalContext, ...] = ()
    tools: tuple[McpTool, ...] = ()
    decision: Approval | None = None
    memory: str = ""
    turn: int = 0

    @property
    def approved(self) -> bool:
        """Whether the person's yes stands at the beginning."""
        return self.decision is not None and self.decision.HasField("approval")

    def first(self) -> StartWorkflowRequest:
        """The first message of all."""
        if self.decision is not None:
            return self.start(self.decision)
        start = self.start()
        start.goal = self.goal
        start.additional_context.extend(self.context)
        return start

    def start(self, approval: Approval | None = None) -> StartWorkflowRequest:
        """The first message of a turn that goes on from what is stored."""
        flow = self.flow
        return StartWorkflowRequest(
            clientVersion="1.0",
            workflowID=self.workflow_id,
            workflowDefinition=self.definition,
            workflowMetadata=self.metadata,
            clientCapabilities=(*CAPABILITIES, *self._remembers()),
            approval=approval,
            mcpTools=self.tools,
            flowConfig=flow.config,
            flowConfigId=flow.config_id or None,
            flowConfigSchemaVersion=flow.schema_version or None,
            flowVersion=flow.version or None,
        )

    def _remembers(self) -> tuple[str, ...]:
        if not self.memory:
            return ()
        return f"action_memory={self.memory}", f"start_id={self.memory}-{self.turn}"


def decision_of(approval: str, reason: str) -> Approval | None:
    """The decision that a job brings; None when it brings none. Raises Malformed."""
    match approval.strip().lower():
        case "true" | "once":
            return Approval(approval=Approval.Approved())
        case "false":
            return Approval(rejection=Approval.Rejected(message=reason or None))
        case "":
            return None
        case _:
            raise Malformed("--approval is true, false or once")


def flow_config_of(text: str) -> Struct | None:
    """An inline flow, from JSON text. Raises Malformed."""
    if not text.strip():
        return None
    try:
        return ParseDict(msgspec.json.decode(text, type=dict[str, object]), Struct())
    except (msgspec.DecodeError, ParseError, RecursionError) as error:
        raise Malformed("--flow-config must be a JSON object, --flow a mapping") from error


def context_of(text: str) -> tuple[AdditionalContext, ...]:
    """Context entries from a JSON array of objects; keys of any case. Raises Malformed."""
    if not text.strip():
        return ()
    try:
        entries = msgspec.json.decode(text, type=list[dict[str, object]])
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed("--ai-context-items must be a JSON array of objects") from error
    if len(entries) > CONTEXT_ENTRIES:
        raise Malformed(f"--ai-context-items holds at most {CONTEXT_ENTRIES} entries")
    return tuple(_entry({key.lower(): value for key, value in entry.items()}) for entry in entries)


def _entry(entry: dict[str, object]) -> AdditionalContext:
    category = entry.get("category")
    if not isinstance(category, str) or not category:
        raise Malformed("--ai-context-items: each entry needs a category")
    return AdditionalContext(
        category=category,
        id=_text(entry.get("id")),
        content=_text(entry.get("content")),
        metadata=_text(entry.get("metadata")),
    )


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
