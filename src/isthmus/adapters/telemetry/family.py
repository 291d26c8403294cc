"""Series of a metric, as plain numbers: few of them, and counted without a lock.

Only the loop's thread counts. A page is made by another thread, from copies.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from typing import Final, Generic, TypeVar

from isthmus.core.identity import LABELS

OTHER: Final = "other"
SERIES_LIMIT: Final = 500
LABEL_LIMIT_CHARS: Final = 64

Series = TypeVar("Series")


class Count:
    """A number that a metric counts, since `since_s` (seconds since the epoch)."""

    __slots__ = ("since_s", "value")

    def __init__(self) -> None:
        self.since_s = time.time()
        self.value = 0


class Timer:
    """How many durations fell into each bucket, and their sum; `borders_s` are upper ones."""

    __slots__ = ("borders_s", "counts", "since_s", "sum_s")

    def __init__(self, borders_s: Sequence[float]) -> None:
        self.since_s = time.time()
        self.borders_s = borders_s
        # The last one holds what is over every border.
        self.counts = [0] * (len(borders_s) + 1)
        self.sum_s = 0.0

    def observe(self, duration_s: float) -> None:
        """Count a duration; one that equals a border is within it."""
        self.counts[bisect_left(self.borders_s, duration_s)] += 1
        self.sum_s += duration_s


class Family(dict[tuple[str, ...], Series], Generic[Series]):
    """Series of one metric by the values of its `labels`; a known series costs one look-up.

    `family[values]` makes what is missing. `open_labels` are those whose values come from outside:
    once there are SERIES_LIMIT series, new values of theirs are counted as `other`. Those of a
    client go first, at half of that: what was called matters more than by which release.
    """

    def __init__(
        self,
        make: Callable[[], Series],
        labels: Sequence[str] = (),
        open_labels: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self._make = make
        self._open = frozenset(index for index, label in enumerate(labels) if label in open_labels)
        self._first = frozenset(index for index in self._open if labels[index] in LABELS)

    def __missing__(self, values: tuple[str, ...]) -> Series:
        """The series with these label values, bounded."""
        size = len(self)
        closed = self._open if size >= SERIES_LIMIT else self._first
        if size < SERIES_LIMIT // 2:
            closed = frozenset[int]()
        bounded = tuple(
            OTHER if index in closed else value[:LABEL_LIMIT_CHARS]
            for index, value in enumerate(values)
        )
        found = self.get(bounded)
        if found is None:
            found = self[bounded] = self._make()
        return found
