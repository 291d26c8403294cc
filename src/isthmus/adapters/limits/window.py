"""One counter in memory: a window that slides over the units that were spent, and slots in use.

A window never holds more than its amount, wherever it is laid: each unit counts until it is a
window old. Neighbours in time share an entry that is as young as its youngest unit, so a counter
has at most `GRAINS` entries or so, and a unit may count for one sixtieth of the window too long.
The cell-rate algorithm would be one number a counter, but lets twice the amount through a window
that begins with a burst.
"""

from collections import deque
from math import inf
from typing import Final

from isthmus.core.limits import LimitKey, LimitState

GRAINS: Final = 60
BUSY_RETRY_S: Final = 1.0
"""When to try again where it is not known which call ends next."""
# Times of a clock that has run for years are off by less than this when they are added up.
_ROUNDING_S: Final = 1e-6


class Entry:
    """Units that were spent within one grain of a window."""

    __slots__ = ("last_s", "since_s", "units")

    def __init__(self, now_s: float) -> None:
        self.since_s = now_s
        self.last_s = now_s
        self.units = 0


class Window:
    """A counter of `key.amount` units a `key.window_s`, or of that many slots at once."""

    __slots__ = ("_entries", "_grain_s", "_span_s", "amount", "key", "used")

    def __init__(self, key: LimitKey, amount: int | None = None) -> None:
        self.key = key
        self.amount = key.amount if amount is None else amount
        self.used = 0
        self._span_s = inf if key.counted == "concurrency" else key.window_s
        self._grain_s = self._span_s / GRAINS
        self._entries: deque[Entry] = deque()

    def spend(self, units: int, now_s: float) -> Entry | None:
        """Count `units`, or nothing when they do not fit. Give them back with what is returned."""
        entries, used = self._entries, self.used + units
        if entries:
            if entries[0].last_s + self._span_s <= now_s + _ROUNDING_S:
                self._forget(now_s)
                return None if self.used + units > self.amount else self._count(units, now_s)
            entry = entries[-1]
            if used <= self.amount and now_s - entry.since_s < self._grain_s:
                # As `_count` does, without a call: so end nearly all calls of a busy counter.
                entry.last_s = now_s
                entry.units += units
                self.used = used
                return entry
        return None if used > self.amount else self._count(units, now_s)

    def force(self, units: int, now_s: float) -> Entry:
        """Count `units` that are spent already, fit or not."""
        self._forget(now_s)
        return self._count(units, now_s)

    def give_back(self, ticket: Entry, units: int, _now_s: float, /) -> None:
        """Units of `ticket` were not spent after all; those that count no more are not missed."""
        units = min(units, ticket.units)
        ticket.units -= units
        self.used -= units
        if ticket.units:
            return
        entries = self._entries
        while entries and not entries[0].units:
            entries.popleft()
        while entries and not entries[-1].units:
            entries.pop()

    def end(self) -> int:
        """Count no more; returns what counted. What is given back later is not missed here."""
        used, self.used = self.used, 0
        for entry in self._entries:
            entry.units = 0
        self._entries.clear()
        return used

    def left(self, now_s: float) -> int:
        """Units that are still to be had."""
        entries = self._entries
        if entries and entries[0].last_s + self._span_s <= now_s + _ROUNDING_S:
            self._forget(now_s)
        left = self.amount - self.used
        return max(0, left)

    def state(self, now_s: float) -> LimitState:
        """How it stands."""
        key, left = self.key, self.left(now_s)
        reset_s = self._entries[-1].last_s + self._span_s - now_s if self._entries else 0.0
        if reset_s == inf:
            reset_s = BUSY_RETRY_S
        return LimitState(key.rule, key.counted, key.amount, key.window_s, left, reset_s)

    def wait_s(self, units: int, now_s: float) -> float:
        """Seconds until `units` fit; a whole window where they never do."""
        if self._span_s == inf:
            return BUSY_RETRY_S
        missing = units - (self.amount - self.used)
        if units <= self.amount:
            for entry in self._entries:
                missing -= entry.units
                if missing <= 0:
                    return max(0.0, entry.last_s + self._span_s - now_s)
        return self._span_s

    def _forget(self, now_s: float) -> None:
        entries, old_s = self._entries, now_s + _ROUNDING_S - self._span_s
        while entries and entries[0].last_s <= old_s:
            entry = entries.popleft()
            self.used -= entry.units
            entry.units = 0

    def _count(self, units: int, now_s: float) -> Entry:
        entries = self._entries
        if entries and now_s - entries[-1].since_s < self._grain_s:
            entry = entries[-1]
            entry.last_s = now_s
        else:
            entry = Entry(now_s)
            entries.append(entry)
        entry.units += units
        self.used += units
        return entry


def check(key: LimitKey, cost: int) -> None:
    """Raises ValueError for a negative cost, and for a window that is not positive and finite."""
    if cost < 0 or not 0 < key.window_s < inf:
        raise ValueError("cost must not be negative, window_s must be positive and finite")
