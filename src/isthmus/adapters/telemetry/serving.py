"""Series of how model calls were served: waits, gaps, caches, costs, and tries that failed.

The names are ours: the contracts have none for them.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from prometheus_client.metrics_core import Metric

from isthmus.adapters.telemetry.exposition import (
    Show,
    counter,
    counter_metric,
    histogram_metric,
)
from isthmus.adapters.telemetry.family import Count, Family, Timer
from isthmus.core.events import AnswerReused, ModelCalled, TryFailed

UNKNOWN: Final = "unknown"
SERVED: Final = ("model_engine", "model_name", "deployment")
FIRST_BYTE_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
GAP_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
QUEUE_S: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WARMTH: Final = ("warm", "cold", "new")
MILLIONTH: Final = 1e-6


class _Served:
    """Numbers of one deployment: one look-up finds them all."""

    __slots__ = ("cost", "first_byte", "gap", "longest_gap", "queue", "read", "warmth", "written")

    def __init__(self) -> None:
        self.first_byte = Timer(FIRST_BYTE_S)
        self.gap = Timer(GAP_S)
        self.longest_gap = Timer(GAP_S)
        self.queue = Timer(QUEUE_S)
        self.read = Count()
        self.written = Count()
        self.cost = Count()
        self.warmth: dict[str, Count] = {}


_TIMERS: Final[tuple[tuple[str, str, Callable[[_Served], Timer]], ...]] = (
    ("first_byte", "Seconds to the first byte of an answer.", lambda one: one.first_byte),
    ("token_gap", "Mean seconds between pieces of an answer.", lambda one: one.gap),
    ("longest_token_gap", "Longest seconds between two pieces.", lambda one: one.longest_gap),
    ("queue", "Seconds in our queue, of calls that waited there.", lambda one: one.queue),
)
_COUNTS: Final[tuple[tuple[str, str, Callable[[_Served], Count], float], ...]] = (
    ("cache_read_tokens", "Tokens read from a cache.", lambda one: one.read, 1.0),
    ("cache_write_tokens", "Tokens written to a cache.", lambda one: one.written, 1.0),
    ("cost_usd", "What calls cost, where prices are known.", lambda one: one.cost, MILLIONTH),
)


class Serving:
    """Series of model calls by deployment, on every page."""

    def __init__(self) -> None:
        self._served = Family(_Served, SERVED, SERVED)
        failed = ("deployment", "model_name", "error_type", "then")
        self._failed = Family(Count, failed, failed[:2])
        reused = ("model_name", "feature_category")
        self._reused = Family(Count, reused, reused)
        self.shows: tuple[Show, ...] = (
            *(partial(self._show_times, *row) for row in _TIMERS),
            *(partial(self._show_counts, *row) for row in _COUNTS),
            self._show_warmth,
            counter("inference_tries_failed", "Tries that another one followed.", self._failed),
            counter("inference_reused", "Answers that were given again.", self._reused),
        )

    def called(self, fact: ModelCalled) -> None:
        """A call ended."""
        one = self._served[fact.engine, fact.model, fact.deployment or UNKNOWN]
        if fact.first_byte_s > 0.0:
            one.first_byte.observe(fact.first_byte_s)
        if fact.gap_s > 0.0:
            one.gap.observe(fact.gap_s)
            one.longest_gap.observe(fact.longest_gap_s)
        if fact.queued_s > 0.0:
            one.queue.observe(fact.queued_s)
        if fact.cost:
            one.cost.value += fact.cost
        usage = fact.usage
        if usage is not None:
            one.read.value += usage.cache_read_tokens
            one.written.value += usage.cache_write_tokens
        if fact.warmth in WARMTH:
            count = one.warmth.get(fact.warmth)
            if count is None:
                count = one.warmth[fact.warmth] = Count()
            count.value += 1

    def failed(self, fact: TryFailed) -> None:
        """A try failed."""
        self._failed[fact.deployment, fact.model, fact.error, fact.then].value += 1

    def reused(self, fact: AnswerReused) -> None:
        """An answer was given again."""
        self._reused[fact.model, fact.feature or UNKNOWN].value += 1

    def _show_times(self, name: str, text: str, of: Callable[[_Served], Timer]) -> Metric:
        timers = {values: of(one) for values, one in self._served.copy().items()}
        return histogram_metric(f"inference_{name}_seconds", text, SERVED, timers)

    def _show_counts(
        self, name: str, text: str, of: Callable[[_Served], Count], unit: float
    ) -> Metric:
        counts = {values: of(one) for values, one in self._served.copy().items()}
        return counter_metric(f"inference_{name}", text, SERVED, counts, unit)

    def _show_warmth(self) -> Metric:
        counts = {
            (*values, warmth): count
            for values, one in self._served.copy().items()
            for warmth, count in one.warmth.copy().items()
        }
        text = "Calls by whether they went where their prompt may be in a cache."
        return counter_metric("inference_affinity", text, (*SERVED, "warmth"), counts)
