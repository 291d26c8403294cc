"""A workflow record and the moves its status may make.

Source: agent-platform contract, section 5.1 (states, events) and 5.2 (wire names).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from isthmus.core.errors import Conflict


class Status(StrEnum):
    """Status of a workflow record; `STORED` gives the integer that instances store."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    INPUT_REQUIRED = "input_required"
    PLAN_APPROVAL_REQUIRED = "plan_approval_required"
    TOOL_CALL_APPROVAL_REQUIRED = "tool_call_approval_required"


STORED: dict[Status, int] = {status: number for number, status in enumerate(Status)}


class StatusEvent(StrEnum):
    """What may happen to a workflow; the values are the wire's `status_event`."""

    START = "start"
    PAUSE = "pause"
    REQUIRE_INPUT = "require_input"
    REQUIRE_PLAN_APPROVAL = "require_plan_approval"
    REQUIRE_TOOL_CALL_APPROVAL = "require_tool_call_approval"
    RESUME = "resume"
    RETRY = "retry"
    FINISH = "finish"
    DROP = "drop"
    STOP = "stop"


WAITING = frozenset(
    {Status.INPUT_REQUIRED, Status.PLAN_APPROVAL_REQUIRED, Status.TOOL_CALL_APPROVAL_REQUIRED}
)
_OPEN = WAITING | {Status.CREATED, Status.RUNNING, Status.PAUSED}
_RUNNING = frozenset({Status.RUNNING})

MOVES: dict[StatusEvent, tuple[frozenset[Status], Status]] = {
    StatusEvent.START: (frozenset({Status.CREATED}), Status.RUNNING),
    StatusEvent.PAUSE: (_RUNNING, Status.PAUSED),
    StatusEvent.REQUIRE_INPUT: (_RUNNING, Status.INPUT_REQUIRED),
    StatusEvent.REQUIRE_PLAN_APPROVAL: (_RUNNING, Status.PLAN_APPROVAL_REQUIRED),
    StatusEvent.REQUIRE_TOOL_CALL_APPROVAL: (_RUNNING, Status.TOOL_CALL_APPROVAL_REQUIRED),
    StatusEvent.RESUME: (WAITING | {Status.PAUSED}, Status.RUNNING),
    StatusEvent.RETRY: (
        frozenset({Status.RUNNING, Status.STOPPED, Status.FAILED}),
        Status.RUNNING,
    ),
    StatusEvent.FINISH: (_RUNNING, Status.FINISHED),
    StatusEvent.DROP: (_OPEN, Status.FAILED),
    StatusEvent.STOP: (_OPEN, Status.STOPPED),
}


def after(status: Status, event: StatusEvent) -> Status:
    """The status that `event` leads to. Raises Conflict when the move is not legal."""
    sources, target = MOVES[event]
    if status not in sources:
        raise Conflict(f"A workflow that is {status} cannot {event}.")
    return target


@dataclass(frozen=True, slots=True)
class NewWorkflow:
    """A workflow to be created. `workflow_id` is a decimal number as text, unique in the store.

    An empty `workflow_id` lets the store choose the next one. `owner` is `Caller.subject` or, for
    user tokens, the global user id.
    """

    definition: str
    goal: str
    owner: str = ""
    workflow_id: str = ""


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow record. `model` is the pinned choice as JSON text, empty until one was made."""

    workflow_id: str
    definition: str
    goal: str
    owner: str
    status: Status
    model: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class WorkflowQuery:
    """A page of workflows, newest first. `before_id` continues after the last id of a page."""

    owner: str | None = None
    status: Status | None = None
    before_id: str | None = None
    limit: int = 20
