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
from isthmus.adapters.telemetry.clients import UNKNOWN, Clients
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
from isthmus.adapters.telemetry.platform import BUCKETS, Labelled, Platform
from isthmus.adapters.telemetry.relay import Relays
from isthmus.adapters.telemetry.serving import Serving
from isthmus.adapters.telemetry.vitals import About, Vitals, repetition
from isthmus.core.events import (
    ActionRelayed,
    AnswerReused,
    Fact,
    FeatureUsed,
    HttpServed,
    ModelCalled,
    ModelCallStarted,
    QuotaAsked,
    RelayClosed,
    RelayOpened,
    SuggestionAsked,
    SuggestionTrimmed,
    TryFailed,
)
from isthmus.core.identity import LABELS
from isthmus.core.session_facts import SessionAsked

OWN_BUCKETS: Final = (*(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005), *(0.01, 0.05, 0.25, 1.0))
FINE_BUCKETS: Final = Histogram.DEFAULT_BUCKETS[:-1]
UNWATCHED: Final = frozenset(
    {"/monitoring/healthz", "/monitoring/ready", "/metrics", "/v1/models/definitions"}
)
MODEL: Final = ("model_engine", "model_name")
CALL: Final = (
    *MODEL,
    *LABELS,
    "error",
    "error_type",
    "streaming",
    "feature_category",
    "unit_primitive",
    "finish_reason",
)
TOKENS: Final = ("input", "output", "total")


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
        relay, models = Relays(), ModelCalls()
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
        self._clients = Clients()
        self._labelled: Mapping[type[Fact], Labelled] = {
            **platform.labelled,
            ModelCalled: models.called,
        }

    def take(self, batch: Sequence[Told]) -> None:
        """Count the facts of a batch."""
        readers, labelled, clients = self._readers, self._labelled, self._clients
        for _, request_id, fact in batch:
            kind = type(fact)
            if isinstance(fact, FeatureUsed | SessionAsked):
                clients.note(request_id, fact)
            if kind in readers:
                readers[kind](fact)
            elif kind in labelled:
                labelled[kind](fact, clients.of(request_id))

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
        told = (*MODEL, *LABELS, "feature_category", "unit_primitive", "finish_reason")
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

    def called(self, fact: ModelCalled, client: tuple[str, ...]) -> None:
        """A call ended; what a token says of the realm comes before what its client says."""
        self._flight[fact.engine, fact.model].value -= 1
        labels = (
            fact.engine,
            fact.model,
            *client[:3],
            fact.realm or client[3],
            client[4],
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
