"""How a scrape reads our series: as metric families of prometheus_client, made anew each time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from isthmus.adapters.telemetry.family import Count, Family, Timer

Show = Callable[[], Metric]
"""Makes a metric family of the numbers as they are now."""


class Shown(Collector):
    """What a registry asks for at each scrape."""

    def __init__(self, shows: Sequence[Show]) -> None:
        self._shows = tuple(shows)

    def collect(self) -> Iterable[Metric]:
        """The metrics, in order."""
        return [show() for show in self._shows]


def counter(name: str, text: str, family: Family[Count]) -> Show:
    """Shows a family as a counter."""
    return lambda: counter_metric(name, text, family.labels, family.copy())


def gauge(name: str, text: str, family: Family[Count]) -> Show:
    """Shows a family as a gauge."""

    def show() -> Metric:
        metric = GaugeMetricFamily(name, text, labels=family.labels)
        for values, count in family.copy().items():
            metric.add_metric(values, count.value)
        return metric

    return show


def histogram(name: str, text: str, family: Family[Timer]) -> Show:
    """Shows a family as a histogram."""
    return lambda: histogram_metric(name, text, family.labels, family.copy())


def counter_metric(
    name: str,
    text: str,
    labels: Sequence[str],
    counts: Mapping[tuple[str, ...], Count],
    unit: float = 1,
) -> Metric:
    """A counter's series, by the values of `labels`; `unit` is what a count of one stands for."""
    metric = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts.items():
        metric.add_metric(values, count.value * unit, created=count.since_s)
    return metric


def histogram_metric(
    name: str, text: str, labels: Sequence[str], timers: Mapping[tuple[str, ...], Timer]
) -> Metric:
    """A histogram's series, by the values of `labels`."""
    metric = HistogramMetricFamily(name, text, labels=labels)
    for values, timer in timers.items():
        borders = (*map(str, timer.borders_s), "+Inf")
        # Summed from one copy, so that no bucket is ever less than the one before it.
        sums = accumulate(timer.counts.copy())
        metric.add_metric(values, list(zip(borders, sums, strict=True)), timer.sum_s)
        held = dict(zip(labels, values, strict=True))
        metric.add_sample(f"{name}_created", held, timer.since_s)
    return metric
