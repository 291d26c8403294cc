"""How one deployment does: calls in flight, and the time until its answers begin."""

from collections import deque
from math import exp, log

HALF_LIFE_S = 10.0
NOISE_S = 0.02
"""Added to what a deployment takes: differences far below it are nobody's loss."""
_KEPT = 64
_ENOUGH = 20


class Health:
    """Told of each call by who makes it; asked by who chooses. Times by the same clock, in seconds.

    The mean gives a first byte half its weight after `half_life_s`.
    """

    __slots__ = ("_at_s", "_rate", "_recent", "_weight", "in_flight", "mean_s")

    def __init__(self, half_life_s: float = HALF_LIFE_S) -> None:
        self._rate = -log(2.0) / half_life_s
        self._at_s = 0.0
        self.mean_s = 0.0
        """The mean of its first bytes, however old; 0 while there are none."""
        self._weight = 0.0
        self._recent: deque[float] = deque(maxlen=_KEPT)
        self.in_flight = 0
        """Calls that are under way. Who makes a call adds one, and takes it off at its end."""

    def answered(self, took_s: float, now_s: float) -> None:
        """A first byte came after `took_s`; or none had come by then, and the call was given up."""
        weight = self._weight * exp(self._rate * (now_s - self._at_s)) if self._weight else 0.0
        self._weight = weight + 1.0
        self.mean_s += (took_s - self.mean_s) / self._weight
        self._at_s = now_s
        self._recent.append(took_s)

    def first_byte_s(self, now_s: float, assumed_s: float) -> float:
        """The time until an answer begins, as it is expected now.

        `assumed_s` is what one takes of which nothing is known. It weighs as much as one fresh
        call, so one that was slow is tried again some half-lives later.
        """
        weight = self._weight
        if not weight:
            return assumed_s
        weight *= exp(self._rate * (now_s - self._at_s))
        return (self.mean_s * weight + assumed_s) / (weight + 1.0)

    def score(self, now_s: float, assumed_s: float, share: float = 1.0) -> float:
        """How long a call may have to wait here; less is better.

        `share` is the deployment's weight as a multiple of the mean one: who has more of it may
        have more calls in flight.
        """
        first_byte_s = assumed_s
        if self._weight:
            # `first_byte_s`, without a call: every call weighs two of these.
            weight = self._weight * exp(self._rate * (now_s - self._at_s))
            first_byte_s = (self.mean_s * weight + assumed_s) / (weight + 1.0)
        return (1.0 + self.in_flight / share) * (first_byte_s + NOISE_S)

    def p95_s(self) -> float | None:
        """What 95 % of the last 64 first bytes stayed below; None while fewer than 20 came."""
        count = len(self._recent)
        return sorted(self._recent)[(count * 95 + 99) // 100 - 1] if count >= _ENOUGH else None
