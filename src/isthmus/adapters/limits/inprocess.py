"""A limiter for one process: each counter is one number, and there are only so many counters.

The generic cell rate algorithm: a counter remembers the time at which it would be empty again. It
lets `amount` units through at once and then refills evenly over `window_s`.
Source: ITU-T I.371, annex A ("virtual scheduling").
"""

from collections import OrderedDict
from math import inf
from typing import Final

from isthmus.core.errors import LimitExceeded
from isthmus.core.limits import LimitKey
from isthmus.core.ports import Clock

MAX_KEYS: Final = 100_000
# Sums of fractions of a window, on a clock that has run for years, are off by less than this.
_ROUNDING_S: Final = 1e-6


class InProcessLimiter:
    """The Limiter port in memory. When `max_keys` is passed, the longest unused counter goes."""

    def __init__(self, clock: Clock, max_keys: int = MAX_KEYS) -> None:
        if max_keys < 1:
            raise ValueError("max_keys must be at least 1")
        self._clock = clock
        self._max_keys = max_keys
        self._empty_at_s: OrderedDict[LimitKey, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._empty_at_s)

    async def take(self, key: LimitKey, cost: int) -> None:
        """Take `cost` units, all or none.

        Raises LimitExceeded; a cost above `amount` never fits, and is told to wait one window.
        Raises ValueError for a negative cost and for a window that is not positive.
        """
        if cost < 0 or not 0 < key.window_s < inf:
            raise ValueError("cost must not be negative, window_s must be positive and finite")
        if cost == 0:
            return
        if cost > key.amount:
            raise _exceeded(key, key.window_s)
        now_s = self._clock.now_s()
        empty_at_s = max(now_s, self._empty_at_s.get(key, now_s))
        wait_s = empty_at_s - now_s - key.window_s * (1 - cost / key.amount)
        if wait_s > _ROUNDING_S:
            self._empty_at_s.move_to_end(key)
            raise _exceeded(key, wait_s)
        self._empty_at_s[key] = empty_at_s + key.window_s * cost / key.amount
        self._empty_at_s.move_to_end(key)
        if len(self._empty_at_s) > self._max_keys:
            self._empty_at_s.popitem(last=False)


def _exceeded(key: LimitKey, wait_s: float) -> LimitExceeded:
    return LimitExceeded(f"The limit {key.rule!r} was reached.", wait_s)
