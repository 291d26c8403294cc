"""The conversation with a client, as a pure state machine: no await, no clock, no socket.

Events go in, effects come out; actions wait in a bounded queue from which the shell takes them.
Source: agent-platform contract, sections 4.3 to 4.7.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    NewCheckpoint,
    StartWorkflowRequest,
)

CAPACITY = 64
"""Actions that may wait for an answer at once."""


class Reason(StrEnum):
    """Why a session is halted."""

    USER = "user"
    SHUTDOWN = "shutdown"
    PING_FAILED = "ping_failed"
    GONE = "gone"
    TOO_LARGE = "too_large"
    DEADLINE = "deadline"
    DRAIN = "drain"
    RECORD = "record"


_INFRASTRUCTURE = {
    "WORKHORSE_SERVER_SHUTDOWN": Reason.SHUTDOWN,
    "WORKHORSE_WEBSOCKET_PING_FAILED": Reason.PING_FAILED,
}


@dataclass(frozen=True, slots=True)
class Begin:
    """The session starts."""

    start: StartWorkflowRequest


@dataclass(frozen=True, slots=True)
class Dismiss:
    """The stream ends quietly: it did not begin with a start message."""


@dataclass(frozen=True, slots=True)
class Resolve:
    """The action with this id is answered."""

    request_id: str
    response: ActionResponse


@dataclass(frozen=True, slots=True)
class Halt:
    """The session is to stop; `text` is what the client gave as the reason."""

    reason: Reason
    text: str = ""


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing to do; `why` is for a log."""

    why: str


@dataclass(frozen=True, slots=True)
class Queued:
    """The action waits to be sent."""


@dataclass(frozen=True, slots=True)
class Full:
    """Too many actions wait for an answer."""


Received = Begin | Dismiss | Resolve | Halt | Ignore
Asked = Queued | Full | Halt


class _Phase(Enum):
    FRESH = 0
    OPEN = 1
    HALTED = 2


class Conversation:
    """One stream. Answers are taken until the very end, also after a stop."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._phase = _Phase.FRESH
        self._pending: dict[str, str] = {}
        self._outbox: deque[Action | None] = deque()
        self._notice_due = False

    def receive(self, event: ClientEvent) -> Received:
        """What the client sent."""
        kind = event.WhichOneof("response")
        if self._phase is _Phase.FRESH:
            return self._begin(event, kind)
        match kind:
            case "actionResponse":
                return self._answer(event.actionResponse)
            case "stopWorkflow":
                reason = event.stopWorkflow.reason
                return self._halt(_INFRASTRUCTURE.get(reason, Reason.USER), reason[:200])
            case "startRequest":
                return Ignore("a second start")
            case "heartbeat":
                return Ignore("heartbeat")
            case _:
                return Ignore("an empty event")

    def half_close(self) -> Received:
        """The client will send nothing more."""
        if self._phase is _Phase.FRESH:
            self._phase = _Phase.HALTED
            return Dismiss()
        return self._halt(Reason.GONE, "the client closed the stream")

    def ask(self, action: Action, request_id: str) -> Asked:
        """Queue an action under an id nobody else has; it waits for an answer from now on."""
        if len(self._pending) >= CAPACITY:
            return Full()
        action.requestID = request_id
        if action.ByteSize() > self._limit_bytes:
            return Halt(Reason.TOO_LARGE)
        self._pending[request_id] = action.WhichOneof("action") or ""
        self._outbox.append(action)
        return Queued()

    def notice(self) -> None:
        """A checkpoint is to be shown. One that waits already will show the newest state."""
        if not self._notice_due:
            self._notice_due = True
            self._outbox.append(None)

    def forget(self, request_id: str) -> None:
        """Nobody waits for this answer any more; an action not sent yet is not sent."""
        self._pending.pop(request_id, None)
        self._outbox = deque(
            item for item in self._outbox if item is None or item.requestID != request_id
        )

    def next(
        self, compose: Callable[[], NewCheckpoint | None], request_id: str
    ) -> Action | Halt | None:
        """The next message to send. A checkpoint is composed now, and takes `request_id`."""
        while self._outbox:
            item = self._outbox.popleft()
            if item is not None:
                return item
            self._notice_due = False
            checkpoint = compose()
            if checkpoint is None:
                continue
            action = Action(requestID=request_id, newCheckpoint=checkpoint)
            if action.ByteSize() > self._limit_bytes:
                return Halt(Reason.TOO_LARGE)
            return action
        return None

    def _begin(self, event: ClientEvent, kind: str | None) -> Received:
        if kind != "startRequest" or not event.startRequest.workflowID:
            self._phase = _Phase.HALTED
            return Dismiss()
        self._phase = _Phase.OPEN
        return Begin(event.startRequest)

    def _halt(self, reason: Reason, text: str) -> Received:
        if self._phase is _Phase.HALTED:
            return Ignore("halted already")
        self._phase = _Phase.HALTED
        return Halt(reason, text)

    def _answer(self, response: ActionResponse) -> Received:
        request_id = response.requestID or self._oldest(response)
        if request_id is None or self._pending.pop(request_id, None) is None:
            return Ignore("nobody waits for this answer")
        return Resolve(request_id, response)

    def _oldest(self, response: ActionResponse) -> str | None:
        """Clients that send no id answer the oldest action of the same kind."""
        http = response.WhichOneof("response_type") == "httpResponse"
        for request_id, kind in self._pending.items():
            if (kind == "runHTTPRequest") == http:
                return request_id
        return None
