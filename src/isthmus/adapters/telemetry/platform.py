"""Series of the agent platform: RPCs, sessions, their tools, actions and ways.

Names and labels: agent platform contract, section 10.1.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from isthmus.adapters.telemetry.clients import UNKNOWN
from isthmus.adapters.telemetry.exposition import Show, counter, histogram
from isthmus.adapters.telemetry.family import Count, Family, Timer
from isthmus.adapters.telemetry.live import LiveSessions
from isthmus.core.events import (
    Fact,
    RpcServed,
    SessionEnded,
    SessionStarted,
    ToolCalled,
)
from isthmus.core.identity import LABELS
from isthmus.core.session_facts import (
    ActionAnswered,
    AnswerShaped,
    CheckpointWritten,
    Compacted,
    RouteTaken,
    SessionAnswered,
    SessionAsked,
    SessionRejected,
)

BUCKETS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SUM_BUCKETS: Final = (0.25, *BUCKETS)
STEP_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
TURN_BUCKETS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)
Client: TypeAlias = tuple[str, ...]
"""Values of LABELS."""
Labelled: TypeAlias = Callable[[Any, Client], None]
"""Counts a fact of one kind, by its client."""


class Platform:
    """The sessions: how streams begin and end. `live` are those of the sessions at hand.

    `readers` count facts alone, `labelled` those that are counted by their client as well.
    """

    def __init__(self, live: LiveSessions) -> None:
        self._live = live
        self._steps, self._ways = Steps(live), Ways()
        made = _Made([*live.shows, *self._steps.shows, *self._ways.shows])
        rpc = ("grpc_type", "grpc_service", "grpc_method", "grpc_code", "flow_type")
        flow, why, kind = "flow_type", "failure_reason", "session_type"
        session = "agent_platform_session"
        self._rpcs = made.counts(
            "grpc_server_handled", "RPCs that ended.", *rpc, told=("grpc_service", "grpc_method")
        )
        self._received = made.counts("agent_platform_receive_start", "Start events.", flow)
        self._begun = {
            mode: made.counts(f"{session}_{mode}", f"Sessions, mode {mode}.", flow)
            for mode in ("start", "retry", "resume")
        }
        self._rejects = made.counts(f"{session}_reject", "Streams that were turned away.", flow)
        self._successes = made.counts(f"{session}_success", "Sessions that finished.", flow)
        self._failures = made.counts(
            f"{session}_failure", "Sessions that failed.", flow, why, kind, told=(why,)
        )
        self._aborts = made.counts(f"{session}_abort", "Sessions whose client left.", flow, kind)
        self._turns = made.timers(
            "duo_workflow_total_seconds",
            "Seconds of a session's turn.",
            TURN_BUCKETS,
            "workflow_type",
        )
        self._answers = made.timers(
            "duo_workflow_time_to_first_response_seconds",
            "Seconds to a turn's first action.",
            BUCKETS,
            *(flow, *LABELS),
        )
        self.shows: tuple[Show, ...] = tuple(made.shows)

    @property
    def readers(self) -> Mapping[type[Fact], Callable[[Any], None]]:
        """What counts the facts of each kind."""
        return {RpcServed: self.served}

    @property
    def labelled(self) -> Mapping[type[Fact], Labelled]:
        """What counts the facts of each kind with the labels of their client."""
        return {
            **self._steps.labelled,
            **self._ways.labelled,
            SessionAsked: self.asked,
            SessionRejected: self.rejected,
            SessionStarted: self.started,
            SessionAnswered: self.answered,
            SessionEnded: self.ended,
        }

    def served(self, fact: RpcServed) -> None:
        """An RPC; not those of gRPC's own services, nor streams that ended before they began."""
        service, _, method = fact.method.strip("/").rpartition("/")
        if service.startswith("grpc.") or fact.unstarted:
            return
        told = {name: str(value) for name, value in fact.fields}
        flow = told.get("workflow_definition") or UNKNOWN
        client = tuple(told.get(name) or UNKNOWN for name in LABELS)
        self._rpcs[fact.kind, service, method, fact.code, flow, *client].value += 1

    def asked(self, fact: SessionAsked, client: Client) -> None:
        """A start message."""
        self._received[fact.definition or UNKNOWN, *client].value += 1

    def rejected(self, fact: SessionRejected, client: Client) -> None:
        """A stream was turned away."""
        self._rejects[fact.definition or UNKNOWN, *client].value += 1

    def started(self, fact: SessionStarted, client: Client) -> None:
        """A session's turn began."""
        self._live.started(fact)
        begun = self._begun.get(fact.mode)
        if begun is not None:
            begun[fact.definition or UNKNOWN, *client].value += 1

    def answered(self, fact: SessionAnswered, client: Client) -> None:
        """A session's first action."""
        self._answers[fact.definition or UNKNOWN, *client].observe(fact.after_s)

    def ended(self, fact: SessionEnded, client: Client) -> None:
        """A session's stream ended."""
        self._live.ended(fact)
        flow, kind = fact.definition or UNKNOWN, fact.mode or UNKNOWN
        self._turns[(flow,)].observe(fact.duration_s)
        if fact.outcome == "finished":
            self._successes[flow, *client].value += 1
        elif fact.outcome == "failed":
            self._failures[flow, fact.reason or UNKNOWN, kind, *client].value += 1
        elif fact.outcome in ("aborted", "interrupted", "paused"):
            self._aborts[flow, kind, *client].value += 1


class Steps:
    """What happens in a turn: actions, tools and checkpoints."""

    def __init__(self, live: LiveSessions) -> None:
        self._live = live
        made, flow = _Made([]), "flow_type"
        self._actions = made.timers(
            "executor_actions_duration_seconds",
            "Seconds of an action.",
            STEP_BUCKETS,
            "action_class",
        )
        self._instance = made.timers(
            "duo_workflow_gitlab_response_seconds",
            "Seconds of a request to a session's instance, its client's way included.",
            STEP_BUCKETS,
            *("endpoint", "method"),
        )
        self._tools = made.timers(
            "duo_workflow_tool_call_seconds",
            "Seconds of a tool call.",
            STEP_BUCKETS,
            *("tool_name", flow, *LABELS),
        )
        failure = (flow, "tool_name", "failure_reason")
        self._failures = made.counts(
            "agent_platform_tool_failure", "Tool calls that failed.", *failure, told=failure
        )
        stored = ("endpoint", "status_code", "method")
        self._checkpoints = made.counts(
            "duo_workflow_checkpoint", "Checkpoints stored.", *stored, told=stored
        )
        self.shows: tuple[Show, ...] = tuple(made.shows)

    @property
    def labelled(self) -> Mapping[type[Fact], Labelled]:
        """What counts the facts of each kind with the labels of their client."""
        return {
            ActionAnswered: self.action,
            ToolCalled: self.tool,
            CheckpointWritten: self.checkpoint,
        }

    def action(self, fact: ActionAnswered, client: Client) -> None:
        """An action that the client carried out; one may store a checkpoint at its instance."""
        self._live.stepped(fact)
        self._actions[(fact.action,)].observe(fact.duration_s)
        if not fact.endpoint:
            return
        self._instance[fact.endpoint, fact.method].observe(fact.duration_s)
        if fact.method == "POST" and fact.endpoint.endswith("/checkpoints"):
            labels = (fact.endpoint, str(fact.status), fact.method)
            self._checkpoints[*labels, *client].value += 1

    def tool(self, fact: ToolCalled, client: Client) -> None:
        """A tool call."""
        self._live.stepped(fact)
        flow = fact.definition or UNKNOWN
        self._tools[fact.tool, flow, *client].observe(fact.duration_s)
        if fact.failure:
            self._failures[flow, fact.tool, fact.failure, *client].value += 1

    def checkpoint(self, fact: CheckpointWritten, client: Client) -> None:
        """A checkpoint in our own store: labelled as the request that it stands for."""
        self._live.stepped(fact)
        if not fact.elsewhere:
            self._checkpoints["local_store", "200", "POST", *client].value += 1


class Ways:
    """What flows do beside tools: their ways, structured answers, conversations summed up."""

    def __init__(self) -> None:
        made = _Made([])
        flow, component, route = "flow_type", "component_name", "agent_platform_flow_route_decision"
        self._shaped = made.counts(
            *("agent_platform_response_schema_output", "Structured answers."),
            *(flow, component),
            told=(component,),
        )
        self._routes = made.counts(
            *(route, "Ways that flows took by a value."),
            *(flow, component, "route_value", "is_default_route"),
            told=(component, "route_value"),
        )
        agent = (flow, "agent_name")
        self._sums = made.counts(
            "compaction_execution", "Conversations to be summed up.", *agent, "status", told=agent
        )
        self._summing = made.timers(
            "compaction_llm_duration_seconds",
            "Seconds of a model that summed up.",
            SUM_BUCKETS,
            *(*agent, *LABELS),
        )
        self.shows: tuple[Show, ...] = tuple(made.shows)

    @property
    def labelled(self) -> Mapping[type[Fact], Labelled]:
        """What counts the facts of each kind with the labels of their client."""
        return {
            RouteTaken: self.route,
            AnswerShaped: self.shaped,
            Compacted: self.compacted,
        }

    def route(self, fact: RouteTaken, client: Client) -> None:
        """A flow went on by a value."""
        labels = (fact.definition or UNKNOWN, fact.component, fact.value, str(fact.default).lower())
        self._routes[*labels, *client].value += 1

    def shaped(self, fact: AnswerShaped, client: Client) -> None:
        """A structured answer."""
        self._shaped[fact.definition or UNKNOWN, fact.component, *client].value += 1

    def compacted(self, fact: Compacted, client: Client) -> None:
        """A conversation was to be summed up."""
        flow = fact.definition or UNKNOWN
        self._sums[flow, fact.agent, fact.status, *client].value += 1
        self._summing[flow, fact.agent, *client].observe(fact.duration_s)


class _Made:
    """Makes families whose labels may come from outside, and keeps how they are shown."""

    def __init__(self, shows: list[Show]) -> None:
        self.shows = shows

    def counts(self, name: str, text: str, *labels: str, told: Sequence[str] = ()) -> Family[Count]:
        family = Family(Count, (*labels, *LABELS), ("flow_type", *told, *LABELS))
        self.shows.append(counter(name, text, family))
        return family

    def timers(
        self, name: str, text: str, borders_s: Sequence[float], *labels: str
    ) -> Family[Timer]:
        family = Family(partial(Timer, borders_s), labels, labels)
        self.shows.append(histogram(name, text, family))
        return family
