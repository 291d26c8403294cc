"""What one stream of a session tells of itself, as facts."""

from dataclasses import dataclass
from typing import Final

from isthmus.contract.contract_pb2 import Action, ActionResponse, StartWorkflowRequest
from isthmus.core.events import SessionEnded, SessionStarted
from isthmus.core.identity import LABELS, ClientInfo
from isthmus.core.ports import Telemetry
from isthmus.core.session_facts import (
    ActionAnswered,
    CheckpointWritten,
    SessionAnswered,
    SessionAsked,
    SessionRejected,
)
from isthmus.platform.bill import Bill
from isthmus.platform.endpoint import endpoint
from isthmus.platform.opening import Opening
from isthmus.platform.turn import Written

BILLED: Final = frozenset({"finished", "stopped", "waiting"})
"""Outcomes of a stream that is paid for."""
_NAME_CHARS: Final = 128


@dataclass(frozen=True, slots=True)
class End:
    """How a stream ended; see SessionEnded."""

    outcome: str
    reason: str
    duration_s: float
    steps: int
    mode: str


@dataclass(frozen=True, slots=True)
class Teller:
    """Of one stream. `metered`: its model calls are announced, and are billed by who hears it.

    `elsewhere`: its records are kept at its instance.
    """

    telemetry: Telemetry
    opening: Opening
    metered: bool
    elsewhere: bool

    @property
    def _names(self) -> tuple[str, str]:
        return self.opening.start.workflow_id, self.opening.definition

    def began(self, mode: str) -> None:
        """Its turn began."""
        self.telemetry.emit(SessionStarted(*self._names, mode))

    def answered(self, after_s: float) -> None:
        """Its first action goes to the client."""
        self.telemetry.emit(SessionAnswered(*self._names, after_s))

    def acted(self, action: Action, response: ActionResponse, duration_s: float) -> None:
        """The client carried out an action."""
        kind = action.WhichOneof("action") or ""
        method, route, status = "", "", 0
        if kind == "runHTTPRequest":
            asked = action.runHTTPRequest
            method, route = asked.method[:_NAME_CHARS], endpoint(asked.path)
            status = response.httpResponse.statusCode
        workflow_id = self.opening.start.workflow_id
        self.telemetry.emit(ActionAnswered(workflow_id, kind, duration_s, method, route, status))

    def stored(self, written: Written) -> None:
        """A step was stored."""
        self.telemetry.emit(
            CheckpointWritten(
                workflow_id=self.opening.start.workflow_id,
                size_bytes=written.size_bytes,
                blobs=written.blobs,
                duration_s=written.duration_s,
                elsewhere=self.elsewhere,
            )
        )

    def ended(self, end: End, bill: Bill) -> None:
        """It is over; what is to be paid for comes first."""
        due = bill.fact(self.opening)
        if end.outcome in BILLED and due is not None and not self.metered:
            self.telemetry.emit(due)
        how = (end.outcome, end.reason, end.duration_s, end.steps, end.mode)
        self.telemetry.emit(SessionEnded(*self._names, *how))


def asked(message: StartWorkflowRequest, client: ClientInfo) -> SessionAsked:
    """A start message came. Source of what is left out: agent-platform contract, section 10.2."""
    about: dict[str, object] = {
        "client_version": message.clientVersion[:_NAME_CHARS],
        "flow_name": message.flowConfigId[:_NAME_CHARS],
        "item_version": message.flowVersion[:_NAME_CHARS],
        "schema_version": message.flowConfigSchemaVersion[:_NAME_CHARS],
        "has_flow_config": message.HasField("flowConfig"),
        "capabilities": len(message.clientCapabilities),
        "mcp_tools": len(message.mcpTools),
        "preapproved_tools": len(message.preapproved_tools),
        "streaming": message.streaming,
    }
    return SessionAsked(
        workflow_id=message.workflowID[:_NAME_CHARS],
        definition=label(message),
        client=tuple(zip(LABELS, (text[:_NAME_CHARS] for text in client.labels), strict=True)),
        about=tuple((name, value) for name, value in about.items() if value != ""),
    )


def rejected(message: StartWorkflowRequest | None, failure: Exception) -> SessionRejected:
    """A stream was turned away, perhaps before its start message was read."""
    workflow_id = "" if message is None else message.workflowID[:_NAME_CHARS]
    definition = "" if message is None else label(message)
    return SessionRejected(workflow_id, definition, type(failure).__name__)


def label(message: StartWorkflowRequest) -> str:
    """The definition that a message names, for facts; it may be anything."""
    return (message.workflowDefinition or "software_development")[:_NAME_CHARS]
