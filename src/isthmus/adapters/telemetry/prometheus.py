"""Metrics: readings of facts as Prometheus series, one page for each listener.

Names and labels: HTTP gateway contract, section 8.7; agent platform contract, section 10.1.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric

from isthmus.adapters.telemetry.allowances import Credits, EngineLimits, limit_gauges
from isthmus.adapters.telemetry.exposition import (
    Show,
    Shown,
    counter,
    counter_metric,
    gauge,
    histogram,
    histogram_metric,
)
from isthmus.adapters.telemetry.family import Count, Family, Timer
from isthmus.adapters.telemetry.governance import Governance
from isthmus.adapters.telemetry.live import LiveSessions
from isthmus.adapters.telemetry.pipeline import Told
from isthmus.adapters.telemetry.relay import Relays
from isthmus.adapters.telemetry.serving import Serving
from isthmus.adapters.telemetry.vitals import About, Vitals, repetition
from isthmus.core.events import (
    ActionAnswered,
    ActionRelayed,
    AnswerReused,
    CheckpointWritten,
    Fact,
    HttpServed,
    ModelCalled,
    ModelCallStarted,
    QuotaAsked,
    RelayClosed,
    RelayOpened,
    RpcServed,
    SessionAnswered,
    SessionEnded,
    SessionStarted,
    SuggestionAsked,
    SuggestionTrimmed,
    ToolCalled,
    TryFailed,
)

UNKNOWN: Final = "unknown"
BUCKETS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
OWN_BUCKETS: Final = (*(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005), *(0.01, 0.05, 0.25, 1.0))
STEP_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
TURN_BUCKETS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)
FINE_BUCKETS: Final = Histogram.DEFAULT_BUCKETS[:-1]
UNWATCHED: Final = frozenset(
    {"/monitoring/healthz", "/monitoring/ready", "/metrics", "/v1/models/definitions"}
)
METADATA: Final = (
    "lsp_version",
    "gitlab_version",
    "client_type",
    "gitlab_realm",
    "is_gitlab_team_member",
)
MODEL: Final = ("model_engine", "model_name")
CALL: Final = (
    *MODEL,
    *METADATA,
    "error",
    "error_type",
    "streaming",
    "feature_category",
    "unit_primitive",
    "finish_reason",
)
TOKENS: Final = ("input", "output", "total")
_NO_METADATA: Final = (UNKNOWN,) * len(METADATA)


class Prometheus:
    """The sink, and the two pages. Series of the process, model calls and credits stand on both.

    `limits` are what the operator publishes of engines and models; `about` is the process.
    """

    def __init__(self, limits: EngineLimits | None = None, about: About | None = None) -> None:
        about = about or About()
        self._http = CollectorRegistry()
        self._platform = CollectorRegistry()
        for make in (ProcessCollector, PlatformCollector, GCCollector):
            self._platform.register(make(registry=self._http))
        gateway = Gateway()
        platform = Platform(LiveSessions(about.session_limit, about.quiet_limit_s))
        relay = Relays()
        models = ModelCalls()
        governance, credit, vitals = Governance(), Credits(), Vitals(about)
        self.lagged = vitals.lagged
        both = (
            *(*vitals.shows, *models.shows, *limit_gauges(limits or {})),
            *(*credit.shows, *governance.shows),
        )
        for registry, shows in (
            (self._http, (repetition(repeated=False), *gateway.shows, *relay.shows, *both)),
            (self._platform, (repetition(repeated=about.repeated), *platform.shows, *both)),
        ):
            registry.register(Shown(shows))
        self._readers: dict[type[Fact], Callable[[Any], None]] = {
            HttpServed: gateway.served,
            SuggestionTrimmed: gateway.trimmed,
            SuggestionAsked: gateway.asked,
            ModelCallStarted: models.started,
            ModelCalled: models.called,
            TryFailed: models.serving.failed,
            AnswerReused: models.serving.reused,
            **governance.readers,
            **vitals.readers,
            QuotaAsked: credit.asked,
            RelayOpened: relay.opened,
            RelayClosed: relay.closed,
            ActionRelayed: relay.acted,
            **platform.readers,
        }

    def take(self, batch: Sequence[Told]) -> None:
        """Count the facts of a batch."""
        readers = self._readers
        for _, _, fact in batch:
            kind = type(fact)
            if kind in readers:
                readers[kind](fact)

    def http_page(self) -> bytes:
        """The text of the HTTP side's metrics listener."""
        return generate_latest(self._http)

    def platform_page(self) -> bytes:
        """The text of the agent platform's metrics listener."""
        return generate_latest(self._platform)


class Gateway:
    """Series of the HTTP side."""

    def __init__(self) -> None:
        language = ("lang", "extension", "editor_lang")
        self._requests = Family(partial(Timer, BUCKETS), ("handler", "method", "status"))
        self._own = Family(partial(Timer, OWN_BUCKETS), ("handler",))
        self._trims = Family(partial(Timer, FINE_BUCKETS))
        self._languages = Family(Count, language, open_labels=language)
        # A metric without labels stands on the page from the start.
        self._trimmed = self._trims[()]
        self.shows: tuple[Show, ...] = (
            histogram(
                "http_request_duration_seconds",
                "Seconds until the answer began, by route.",
                self._requests,
            ),
            histogram(
                "http_request_overhead_seconds",
                "Our own part of the seconds until the answer began, by route.",
                self._own,
            ),
            histogram(
                "code_suggestions_post_processing_duration_seconds",
                "Seconds spent on a suggestion after the model.",
                self._trims,
            ),
            counter(
                "code_suggestions_prompt_language",
                "Suggestions asked for, by language.",
                self._languages,
            ),
        )

    def served(self, fact: HttpServed) -> None:
        """A request; the time that a stream runs is not part of it."""
        if fact.route and fact.route not in UNWATCHED:
            status = f"{(fact.status or 500) // 100}xx"
            began_s = fact.response_start_s if fact.response_start_s > 0 else fact.duration_s
            self._requests[fact.route, fact.method, status].observe(began_s)
            if fact.response_start_s > 0:
                self._own[(fact.route,)].observe(fact.own_s)

    def trimmed(self, fact: SuggestionTrimmed) -> None:
        """Post-processing of a suggestion."""
        self._trimmed.observe(fact.duration_s)

    def asked(self, fact: SuggestionAsked) -> None:
        """A suggestion, by language."""
        labels = (fact.language or UNKNOWN, fact.extension, fact.editor_language)
        self._languages[labels].value += 1


class _Calls:
    """Numbers of the model calls with the same labels: one look-up finds them all."""

    __slots__ = ("ended", "time", "tokens")

    def __init__(self) -> None:
        self.ended = Count()
        self.time = Timer(BUCKETS)
        # Input, output and their sum, from the first call on that told its usage.
        self.tokens: tuple[Count, Count, Count] | None = None


class ModelCalls:
    """Series of model calls, on every page."""

    def __init__(self) -> None:
        told = (*MODEL, "feature_category", "unit_primitive", "finish_reason", "gitlab_realm")
        self.serving = Serving()
        self._flight = Family(Count, MODEL, open_labels=MODEL)
        self._calls = Family(_Calls, CALL, open_labels=told)
        self.shows: tuple[Show, ...] = (
            gauge("model_inferences_in_flight", "Model calls under way.", self._flight),
            self._show_ended,
            self._show_time,
            *(partial(self._show_tokens, place) for place in range(len(TOKENS))),
            *self.serving.shows,
        )

    def _show_ended(self) -> Metric:
        counts = {values: calls.ended for values, calls in self._calls.copy().items()}
        return counter_metric("model_inferences", "Model calls that ended.", CALL, counts)

    def _show_time(self) -> Metric:
        timers = {values: calls.time for values, calls in self._calls.copy().items()}
        name = "inference_request_duration_seconds"
        return histogram_metric(name, "Seconds of a model call.", CALL, timers)

    def _show_tokens(self, place: int) -> Metric:
        kind = TOKENS[place]
        counts = {
            values: calls.tokens[place]
            for values, calls in self._calls.copy().items()
            if calls.tokens is not None
        }
        text = f"Tokens of model calls: {kind}."
        return counter_metric(f"inference_{kind}_tokens", text, CALL, counts)

    def started(self, fact: ModelCallStarted) -> None:
        """A call left."""
        self._flight[fact.engine, fact.model].value += 1

    def called(self, fact: ModelCalled) -> None:
        """A call ended."""
        self._flight[fact.engine, fact.model].value -= 1
        labels = (
            fact.engine,
            fact.model,
            UNKNOWN,
            UNKNOWN,
            UNKNOWN,
            fact.realm or UNKNOWN,
            UNKNOWN,
            "no" if fact.error == "none" else "yes",
            fact.error,
            "yes" if fact.streaming else "no",
            fact.feature or UNKNOWN,
            fact.unit_primitive or UNKNOWN,
            fact.finish or UNKNOWN,
        )
        self.serving.called(fact)
        calls = self._calls[labels]
        calls.ended.value += 1
        calls.time.observe(fact.duration_s)
        usage = fact.usage
        if usage is not None:
            if calls.tokens is None:
                calls.tokens = (Count(), Count(), Count())
            given, made, both = calls.tokens
            given.value += usage.input_tokens
            made.value += usage.output_tokens
            both.value += usage.input_tokens + usage.output_tokens


class Platform:
    """Series of the agent platform; `live` are those of the sessions at hand."""

    def __init__(self, live: LiveSessions) -> None:
        self._live = live
        shows: list[Show] = [*live.shows]

        def counts(name: str, text: str, *labels: str, told: Sequence[str] = ()) -> Family[Count]:
            open_labels = ("flow_type", *told, *METADATA)
            family = Family(Count, (*labels, *METADATA), open_labels)
            shows.append(counter(name, text, family))
            return family

        rpc = ("grpc_type", "grpc_service", "grpc_method", "grpc_code", "flow_type")
        why = "failure_reason"
        session = "agent_platform_session"
        self._rpcs = counts(
            "grpc_server_handled", "RPCs that ended.", *rpc, told=("grpc_service", "grpc_method")
        )
        self._tool_failures = counts(
            *("agent_platform_tool_failure", "Tool calls that failed."),
            *("flow_type", "tool_name", why),
            told=("tool_name", why),
        )
        self._checkpoints = counts(
            "duo_workflow_checkpoint", "Checkpoints stored.", "endpoint", "status_code", "method"
        )
        self._received = counts("agent_platform_receive_start", "Start events.", "flow_type")
        self._begun = {
            mode: counts(f"{session}_{mode}", f"Sessions, mode {mode}.", "flow_type")
            for mode in ("start", "retry", "resume")
        }
        self._successes = counts(f"{session}_success", "Sessions that finished.", "flow_type")
        self._failures = counts(
            *(f"{session}_failure", "Sessions that failed.", "flow_type", why, "session_type"),
            told=(why,),
        )
        self._aborts = counts(
            f"{session}_abort", "Sessions whose client left.", "flow_type", "session_type"
        )
        self._actions, self._tools, self._turns, self._answers = _timers(shows)
        self.shows: tuple[Show, ...] = tuple(shows)

    @property
    def readers(self) -> Mapping[type[Fact], Callable[[Any], None]]:
        """What counts the facts of each kind."""
        return {
            RpcServed: self.served,
            ActionAnswered: self.action,
            ToolCalled: self.tool,
            CheckpointWritten: self.checkpoint,
            SessionStarted: self.started,
            SessionAnswered: self.answered,
            SessionEnded: self.ended,
        }

    def served(self, fact: RpcServed) -> None:
        """An RPC; those of gRPC's own services are not counted."""
        service, _, method = fact.method.strip("/").rpartition("/")
        if service.startswith("grpc."):
            return
        told = {name: str(value) for name, value in fact.fields}
        flow = told.get("workflow_definition") or UNKNOWN
        metadata = tuple(told.get(name) or UNKNOWN for name in METADATA)
        self._rpcs[fact.kind, service, method, fact.code, flow, *metadata].value += 1

    def action(self, fact: ActionAnswered) -> None:
        """An action that the client carried out."""
        self._live.stepped(fact)
        self._actions[(fact.action,)].observe(fact.duration_s)

    def tool(self, fact: ToolCalled) -> None:
        """A tool call."""
        self._live.stepped(fact)
        flow = fact.definition or UNKNOWN
        self._tools[fact.tool, flow, *_NO_METADATA].observe(fact.duration_s)
        if fact.failure:
            self._tool_failures[flow, fact.tool, fact.failure, *_NO_METADATA].value += 1

    def checkpoint(self, fact: CheckpointWritten) -> None:
        """A checkpoint in our own store: labelled as the request that it stands for."""
        self._live.stepped(fact)
        self._checkpoints["local_store", "200", "POST", *_NO_METADATA].value += 1

    def started(self, fact: SessionStarted) -> None:
        """A session's stream began."""
        self._live.started(fact)
        labels = (fact.definition or UNKNOWN, *_NO_METADATA)
        self._received[labels].value += 1
        begun = self._begun.get(fact.mode)
        if begun is not None:
            begun[labels].value += 1

    def answered(self, fact: SessionAnswered) -> None:
        """A session's first action."""
        self._answers[fact.definition or UNKNOWN, *_NO_METADATA].observe(fact.after_s)

    def ended(self, fact: SessionEnded) -> None:
        """A session's stream ended."""
        self._live.ended(fact)
        flow = fact.definition or UNKNOWN
        self._turns[(flow,)].observe(fact.duration_s)
        if fact.outcome == "finished":
            self._successes[flow, *_NO_METADATA].value += 1
        elif fact.outcome == "failed":
            reason = fact.reason or UNKNOWN
            self._failures[flow, reason, UNKNOWN, *_NO_METADATA].value += 1
        elif fact.outcome in ("aborted", "interrupted", "paused"):
            self._aborts[flow, UNKNOWN, *_NO_METADATA].value += 1


def _timers(shows: list[Show]) -> tuple[Family[Timer], ...]:
    """Seconds of client actions, of tool calls, of sessions' turns and until their first action.

    Adds how they are shown.
    """

    def timers(name: str, text: str, borders_s: Sequence[float], *labels: str) -> Family[Timer]:
        family = Family(partial(Timer, borders_s), labels, labels)
        shows.append(histogram(name, text, family))
        return family

    flow = ("flow_type", *METADATA)
    own = "duo_workflow"
    return (
        timers(
            "executor_actions_duration_seconds",
            "Seconds of an action.",
            STEP_BUCKETS,
            "action_class",
        ),
        timers(
            f"{own}_tool_call_seconds", "Seconds of a tool call.", STEP_BUCKETS, "tool_name", *flow
        ),
        timers(
            f"{own}_total_seconds", "Seconds of a session's turn.", TURN_BUCKETS, "workflow_type"
        ),
        timers(
            f"{own}_time_to_first_response_seconds",
            "Seconds to a turn's first action.",
            BUCKETS,
            *flow,
        ),
    )
