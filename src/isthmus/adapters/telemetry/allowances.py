"""Series of what may be used: credits that a portal counts, limits that the operator publishes.

Source: HTTP gateway contract, section 8.7.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from prometheus_client import Histogram

from isthmus.adapters.telemetry.exposition import Show, counter, gauge, histogram
from isthmus.adapters.telemetry.family import Count, Family, Timer
from isthmus.core.events import QuotaAsked
from isthmus.settings import EngineLimit

EngineLimits = Mapping[str, Mapping[str, EngineLimit]]
"""Engine -> model -> its published limits."""

_MODEL = ("model_engine", "model_name")
_LIMITS = (
    ("concurrency", "model_inferences_max_concurrent", "Calls at once that a model takes."),
    ("input_tokens", "model_max_input_tokens", "Tokens that a model reads."),
    ("output_tokens", "model_max_output_tokens", "Tokens that a model writes."),
    ("total_tokens", "model_max_total_tokens", "Tokens that a model reads and writes."),
)


def limit_gauges(limits: EngineLimits) -> Sequence[Show]:
    """One gauge a kind of limit; what is not published has no series."""
    shows: list[Show] = []
    for field, name, text in _LIMITS:
        family = Family(Count, _MODEL)
        for engine, models in limits.items():
            for model, limit in models.items():
                value: int | None = getattr(limit, field)
                if value is not None:
                    family[engine, model].value = value
        shows.append(gauge(name, text, family))
    return shows


class Credits:
    """Series of questions to the portal."""

    def __init__(self) -> None:
        realm = ("realm",)
        self._checks = Family(Count, ("result", "realm"), open_labels=realm)
        self._calls = Family(Count, ("outcome", "status"))
        self._latency = Family(partial(Timer, Histogram.DEFAULT_BUCKETS[:-1]), realm, realm)
        prefix = "usage_quota_customersdot"
        self.shows: tuple[Show, ...] = (
            counter("usage_quota_check", "Uses that were checked for credits.", self._checks),
            counter(f"{prefix}_requests", "Questions to the portal.", self._calls),
            histogram(f"{prefix}_latency_seconds", "Seconds that it took.", self._latency),
        )

    def asked(self, fact: QuotaAsked) -> None:
        """A check; only one that was not answered from memory is a question."""
        self._checks[fact.result, fact.realm].value += 1
        if fact.asked:
            self._calls[fact.result, str(fact.status) if fact.status else "none"].value += 1
            self._latency[(fact.realm,)].observe(fact.duration_s)
