"""The channels of a graph: what a checkpoint holds of a session. JSON types only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Final, TypedDict, cast

from isthmus.core.ports import Clock
from isthmus.core.workflow import Status
from isthmus.platform.address import merged as deep
from isthmus.platform.budget import Purse
from isthmus.platform.commands import Templates
from isthmus.platform.entries import Entry, merged
from isthmus.platform.flow import FixedStep, OneOff
from isthmus.platform.history import Stored, used
from isthmus.platform.notifier import Snapshot
from isthmus.platform.tool import Trust
from isthmus.platform.trust import Frame, frame_of
from isthmus.platform.turn import Stage, Turn

EXECUTION: Final = "Execution"
COMPLETED: Final = "Completed"
BROKEN: Final = "Error"
_STATUS = {
    "input_required": Status.INPUT_REQUIRED,
    "tool_call_approval_required": Status.TOOL_CALL_APPROVAL_REQUIRED,
    "plan_approval_required": Status.PLAN_APPROVAL_REQUIRED,
    COMPLETED: Status.FINISHED,
    BROKEN: Status.FAILED,
}


class Instead(TypedDict):
    """A conversation that takes the place of what was said so far."""

    instead: list[Stored]


def extended(
    old: dict[str, list[Stored]] | None, new: Mapping[str, list[Stored] | Instead]
) -> dict[str, list[Stored]]:
    """The histories with new messages at their ends, or replaced."""
    result = dict(old or {})
    for component, added in new.items():
        if isinstance(added, dict):
            result[component] = added["instead"]
        else:
            result[component] = [*result.get(component, []), *added]
    return result


def added(old: Mapping[str, int] | None, new: Mapping[str, int]) -> dict[str, int]:
    """The sums with what was used since."""
    sums = dict(old or {})
    for name, amount in new.items():
        sums[name] = sums.get(name, 0) + amount
    return sums


class State(TypedDict, total=False):
    """The channels. `spent` is there when sessions have a budget: tokens, and their cost.

    `command` is what a conversation is to do before its model is asked again. `start_id` is the
    client's name for the last message that went in.
    """

    status: str
    goal: str
    plan: dict[str, Any]
    context: Annotated[dict[str, Any], deep]
    conversation_history: Annotated[dict[str, Any], extended]
    ui_chat_log: Annotated[list[Entry], merged]
    spent: Annotated[dict[str, int], added]
    command: Mapping[str, str] | None
    start_id: str


def ahead(state: State, changes: State) -> State:
    """What a way is chosen by once a step's changes are in it: all but the log and the sums."""
    return {
        "status": changes.get("status", state.get("status", "")),
        "context": deep(state.get("context"), changes.get("context", {})),
        "conversation_history": extended(
            state.get("conversation_history"), changes.get("conversation_history", {})
        ),
    }


@dataclass(frozen=True)
class Scene:
    """What every step may use. `resuming`: the stream brought an answer to a pause. `start_id` is
    the client's name for the message with what the turn was entered with.

    `retries` is how often a model in trouble is asked again.

    `cancelled` is what the user saw of a turn that was stopped, and that the model never learns of
    in another way.
    """

    turn: Turn
    stage: Stage
    clock: Clock
    purse: Purse
    commands: Templates
    retries: int
    resuming: bool = False
    start_id: str = ""
    cancelled: Sequence[Entry] = ()
    tried: set[str] = field(default_factory=set[str])
    """Agents whose conversation could not be summed up in this turn."""
    beside: bool = False
    """Whether other steps run at the same time: whoever runs them waits for the user, and the ids
    of their calls are unlike each other."""

    @cached_property
    def frame(self) -> Frame:
        """What results stand in."""
        return frame_of(self.turn.start.given_id)

    @cached_property
    def steps(self) -> Mapping[str, Trust]:
        """The components whose outputs are results of tools, and how far these may be trusted."""
        kits = self.turn.kits
        steps: dict[str, Trust] = {}
        for part in self.turn.flow.components:
            if isinstance(part, FixedStep):
                tool = kits[part.name].tools.get(part.tool)
                steps[part.name] = tool.trust if tool is not None else "user"
            elif isinstance(part, OneOff):
                tools = kits[part.name].tools.values()
                trusts = {tool.trust for tool in tools} - {"internal"}
                steps[part.name] = "user" if trusts == {"user"} else "external"
        return steps


def joined(changes: Iterable[State]) -> State:
    """The changes of steps that ran side by side, as one; what they add to the same is in order.

    The status is left to the caller, and of two new plans the later one counts.
    """
    whole: dict[str, Any] = {"conversation_history": {}, "ui_chat_log": [], "context": {}}
    for one in changes:
        pasts = whole["conversation_history"]
        for key, said in (one.get("conversation_history") or {}).items():
            pasts[key] = [*pasts[key], *said] if key in pasts else said
        whole["ui_chat_log"] += one.get("ui_chat_log") or ()
        whole["context"] = deep(whole["context"], one.get("context") or {})
        if "plan" in one:
            whole["plan"] = one["plan"]
    return cast("State", whole)


def past_of(state: State, component: str) -> list[Stored]:
    """What was said to and by a component."""
    return state.get("conversation_history", {}).get(component, [])


def status_of(values: Mapping[str, Any]) -> Status:
    """The wire's status of a state."""
    return _STATUS.get(str(values.get("status")), Status.RUNNING)


def snapshot(values: Mapping[str, Any], most_tokens: int) -> Snapshot:
    """What there is to show of a state."""
    histories: Mapping[str, list[Stored]] = values.get("conversation_history") or {}
    usage = {name: (used(items), most_tokens) for name, items in histories.items() if items}
    plan: Mapping[str, Sequence[Mapping[str, str]]] = values.get("plan") or {}
    log: Sequence[Entry] = values.get("ui_chat_log") or ()
    return Snapshot(log, status_of(values), usage, plan.get("steps", ()))
