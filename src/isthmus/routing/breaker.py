"""Whether one deployment may be asked: shut after failures, tried again by one call at a time."""

from collections.abc import Callable
from math import inf
from random import random
from typing import Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "half open", "dead"]
Fault: TypeAlias = Literal["failed", "limited", "key"]
"""Why a call failed: of itself, for it asked too often, or because the key was refused."""

FIRST_PAUSE_S = 5.0
LAST_PAUSE_S = 60.0
CALM_S = 60.0
"""One that opens within this time of its closing is open for longer than the last time."""
LIMITED_MOST_S = 3600.0
_ROW = 0b11111
_WINDOW = (1 << 20) - 1
_HALF = 10


class Breaker:
    """The breaker of one deployment.

    Closed, it opens at five failures in a row, or ten among the last twenty calls. Open, it waits
    5 s, twice as long each time up to 60 s, give or take a fifth by `roll`, a sample of [0, 1).
    Half open, one call at a time is let through: the first that succeeds closes it, one that fails
    opens it again. A refused key kills it until `revived`. What asks for a pause (`Retry-After`)
    is open for that long, then closed without a trial. A call that failed by its caller's fault
    has succeeded here. Results that come while it is open are of calls that began before; they
    change nothing. Methods that change it return the state that it moved to, or None.
    """

    __slots__ = (
        *("_closed_at_s", "_dead", "_pauses", "_recent", "_roll", "_trial", "_until_s"),
        *("probing", "shut"),
    )

    def __init__(self, roll: Callable[[], float] = random) -> None:
        self._roll = roll
        self.shut = False
        """Whether a call must be claimed; else any may go."""
        self._dead = False
        self._trial = False
        self._until_s = -inf
        self._closed_at_s = -inf
        self._pauses = 0
        self._recent = 0
        """The last twenty calls, one bit each, the newest the lowest; set when it failed."""
        self.probing = False
        """Whether the one call of a half-open breaker is out: set by the `claim` that took it."""

    def allows(self, now_s: float) -> bool:
        """Whether a call could be claimed now."""
        return not self.shut or (now_s >= self._until_s and not (self.probing or self._dead))

    def claim(self, now_s: float) -> bool:
        """Whether a call may go now; half open, it takes the only place (`probing`)."""
        if not self.shut:
            return True
        if not self.allows(now_s):
            return False
        self.probing = self._trial
        return True

    def succeeded(self, now_s: float) -> State | None:
        """The deployment answered a call."""
        if not self.shut:
            self._recent = self._recent << 1 & _WINDOW
            return None
        if self._dead or now_s < self._until_s:
            return None
        self.shut = self.probing = False
        self._recent = 0
        self._closed_at_s = now_s
        return "closed"

    def failed(
        self, now_s: float, kind: Fault = "failed", retry_after_s: float | None = None
    ) -> State | None:
        """It did not, and not by the caller's fault. `retry_after_s` is what it asks for."""
        if self._dead:
            return None
        if kind == "key":
            self.shut = self._dead = True
            self.probing = False
            return "dead"
        pause_s = min(retry_after_s or 0.0, LIMITED_MOST_S)
        if self.shut and now_s < self._until_s:
            self._until_s = max(self._until_s, now_s + pause_s)
            return None
        if self.shut and self._trial:
            return self._open(now_s, pause_s)
        was_shut, self.shut = self.shut, False
        return self._count(now_s, kind, pause_s) or ("closed" if was_shut else None)

    def abandoned(self) -> None:
        """A call was given up before it told anything: its place, if it had it, is free again."""
        self.probing = False

    def revived(self) -> State | None:
        """The configuration was read again: a key that was refused may be another one now."""
        if not self._dead:
            return None
        self.shut = self._dead = self._trial = False
        self._recent = self._pauses = 0
        self._until_s = -inf
        return "closed"

    def state(self, now_s: float) -> State:
        """How it stands."""
        if self._dead:
            return "dead"
        if not self.shut:
            return "closed"
        if now_s < self._until_s:
            return "open"
        return "half open" if self._trial else "closed"

    def ready_in_s(self, now_s: float) -> float:
        """Seconds until a call may be let through: zero now, infinity when it is dead.

        A call that is out on trial counts as the shortest pause: nobody knows when it ends.
        """
        if self._dead:
            return inf
        if not self.shut:
            return 0.0
        return FIRST_PAUSE_S if self.probing else max(0.0, self._until_s - now_s)

    def _count(self, now_s: float, kind: Fault, pause_s: float) -> State | None:
        if kind == "limited" and pause_s > 0.0:
            self.shut, self._trial, self._until_s = True, False, now_s + pause_s
            return "open"
        self._recent = (self._recent << 1 | 1) & _WINDOW
        if self._recent & _ROW != _ROW and self._recent.bit_count() < _HALF:
            return None
        if now_s - self._closed_at_s > CALM_S:
            self._pauses = 0
        return self._open(now_s, pause_s)

    def _open(self, now_s: float, at_least_s: float) -> State:
        pause_s: float = min(FIRST_PAUSE_S * 2.0**self._pauses, LAST_PAUSE_S)
        pause_s *= 0.8 + 0.4 * self._roll()
        self._pauses = min(self._pauses + 1, 10)
        self.shut = self._trial = True
        self.probing = False
        self._until_s = now_s + max(pause_s, at_least_s)
        return "open"
