"""A limiter for one process: there are only so many counters, and the longest unused one goes."""

from collections import OrderedDict
from collections.abc import Sequence
from math import inf
from typing import Final

from isthmus.adapters.limits.held import Held, Part, refusal
from isthmus.adapters.limits.window import Entry, Window, check
from isthmus.core.limits import Claim, LimitKey
from isthmus.core.policies import Reservation
from isthmus.core.ports import Clock

MAX_KEYS: Final = 100_000


class InProcessLimiter:
    """The Reserver port in memory."""

    def __init__(self, clock: Clock, max_keys: int = MAX_KEYS) -> None:
        if max_keys < 1:
            raise ValueError("max_keys must be at least 1")
        self._clock = clock
        self._max_keys = max_keys
        self._windows: OrderedDict[LimitKey, Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    async def take(self, key: LimitKey, cost: int) -> None:
        """Take `cost` units, all or none.

        Raises LimitExceeded; a cost above `amount` never fits, and is told to wait one window.
        Raises ValueError for a negative cost and for a window that is not positive.
        """
        check(key, cost)
        if cost == 0:
            return
        now_s = self._clock.now_s()
        window = Window(key) if cost > key.amount else self._window(key)
        if window.spend(cost, now_s) is None:
            raise refusal(window, cost, now_s)

    async def reserve(self, claims: Sequence[Claim]) -> Reservation:
        """See `Reserver`."""
        now_s, windows = self._clock.now_s(), self._windows
        parts: list[Part[Entry]] = []
        tightest, least = None, inf
        for claim in claims:
            key = claim.key
            window = windows.get(key)
            if window is None:
                window = self._fresh(key)
            else:
                windows.move_to_end(key)
            entry = window.spend(claim.units, now_s)
            part = Part(window, claim, entry)
            if entry is None:
                self._over(part, parts, now_s)
            parts.append(part)
            if not claim.shadow:
                # The window knows now what is left of it; later it would have to look again.
                share = (window.amount - window.used) / (window.amount or 1)
                if share < least:
                    tightest, least = window, share
        return Held(parts, self._grant, self._clock, tightest)

    async def _grant(self, parts: Sequence[Part[Entry]]) -> None:
        now_s = self._clock.now_s()
        for count, part in enumerate(parts):
            entry = part.counter.spend(part.units, now_s)
            if entry is None:
                self._over(part, parts[:count], now_s)
            else:
                part.hold(entry)

    def _over(self, part: Part[Entry], granted: Sequence[Part[Entry]], now_s: float) -> None:
        """What does not fit: counted in shadow, else refused, and what was granted goes back."""
        if not part.shadow:
            for each in granted:
                each.undo(now_s)
            raise refusal(part.counter, part.units, now_s)
        part.over = True
        part.hold(part.counter.force(part.units, now_s))

    def _window(self, key: LimitKey) -> Window:
        found = self._windows.get(key)
        if found is None:
            return self._fresh(key)
        self._windows.move_to_end(key)
        return found

    def _fresh(self, key: LimitKey) -> Window:
        made = self._windows[key] = Window(key)
        if len(self._windows) > self._max_keys:
            self._evict()
        return made

    def _evict(self) -> None:
        """The longest unused counter goes, but none that counts calls which still run."""
        newest = next(reversed(self._windows))
        for key, window in self._windows.items():
            if key is not newest and (key.counted != "concurrency" or not window.used):
                del self._windows[key]
                return
