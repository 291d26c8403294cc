"""A workflow record and the moves its status may make.

Source: agent-platform contract, section 5.1 (states, events) and 5.2 (wire names).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from isthmus.core.errors import Conflict
from isthmus.core.site import Site


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


ASKING = {
    Status.INPUT_REQUIRED: StatusEvent.REQUIRE_INPUT,
    Status.TOOL_CALL_APPROVAL_REQUIRED: StatusEvent.REQUIRE_TOOL_CALL_APPROVAL,
    Status.PLAN_APPROVAL_REQUIRED: StatusEvent.REQUIRE_PLAN_APPROVAL,
}
"""What a session waits for the user in, and the moves there."""
WAITING = frozenset(ASKING)
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


PRIVILEGES: Final[Mapping[int, str]] = {
    1: "read_write_files",
    2: "read_only_gitlab",
    3: "read_write_gitlab",
    4: "run_commands",
    5: "use_git",
    6: "run_mcp_tools",
    7: "start_flows",
    8: "read_only_files",
}
"""What the agent of a workflow may do. Source: instance contract, section 1.3."""
DEFAULT_PRIVILEGES: Final = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a workflow is created with, and its owner may change later.

    `privileges` are keys of `PRIVILEGES`; `preapproved` are some of them. `environment` is one of
    ide, web, chat_partial, chat, ambient, external, or empty.
    """

    privileges: tuple[int, ...] = DEFAULT_PRIVILEGES
    preapproved: tuple[int, ...] = ()
    allow_agent_to_request_user: bool = True
    environment: str = ""
    image: str = ""
    source_branch: str = ""
    issue_id: int | None = None
    merge_request_id: int | None = None
    catalog_item_version_id: int | None = None
    web_search: bool = False
    incremental_checkpoints: bool = False
    mcp: bool = True


@dataclass(frozen=True, slots=True)
class ToolApproval:
    """What the owner allowed one tool for the rest of the session.

    `calls` are hashes of argument texts, `patterns` globs of command lines.
    Source: instance contract, section 2.3.
    """

    calls: frozenset[str] = field(default=frozenset())
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewWorkflow:
    """A workflow to be created. `workflow_id` is a decimal number as text, unique in the store.

    An empty `workflow_id` lets the store choose the next one. `owner` is `User.global_id`; for a
    caller without an account here, `Caller.global_user_id` or `Caller.subject`. At most one of
    `project_id` and `namespace_id` is set; a caller without an account has neither.
    """

    definition: str
    goal: str
    owner: str = ""
    workflow_id: str = ""
    project_id: int | None = None
    namespace_id: int | None = None
    title: str = ""
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow record.

    `model` is the pinned choice as JSON text, empty until one was made; `flow` is the same of the
    flow that ran. `job` names the last run that a runner was given, as the runner wrote it.
    `deployment` is where the model is served, and has the session in its cache. `site` is known
    of records that an instance keeps; `closed` is why one takes no more turns, empty if it does.
    """

    workflow_id: str
    definition: str
    goal: str
    owner: str
    status: Status
    model: str
    created_at: datetime
    updated_at: datetime
    project_id: int | None = None
    namespace_id: int | None = None
    title: str = ""
    summary: str = ""
    flow: str = ""
    job: str = ""
    deployment: str = ""
    terms: Terms = field(default_factory=Terms)
    approvals: Mapping[str, ToolApproval] = field(default_factory=dict[str, ToolApproval])
    site: Site = field(default=Site())
    closed: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowQuery:
    """A page of workflows, newest first, or `oldest_first`.

    `after_id` continues after the last id of a page, in the order asked for. Empty tuples and None
    do not narrow; `search` looks into goal and title.
    """

    owner: str | None = None
    statuses: tuple[Status, ...] = ()
    project_id: int | None = None
    definitions: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    environment: str | None = None
    ids: tuple[str, ...] = ()
    search: str = ""
    updated_after: datetime | None = None
    updated_before: datetime | None = None
    oldest_first: bool = False
    after_id: str | None = None
    limit: int = 20
