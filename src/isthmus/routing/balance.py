"""Which of several equal deployments is asked first, and in which order the others follow.

Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
"""

from collections.abc import Sequence
from math import inf

from isthmus.routing.health import Health

BETTER = 0.75
"""The second that is drawn wins below this share of the first one's score: equals stay equal."""


def pick(weights: Sequence[float], healths: Sequence[Health], now_s: float, roll: float) -> int:
    """The position of the deployment to ask: two are drawn by weight, and the better one wins.

    Sequences are of one length, which is not zero. One of weight zero is picked where all are.
    `roll` is a sample of [0, 1).
    """
    count = len(weights)
    total = sum(weights)
    if count == 1 or total <= 0.0:
        return 0
    if count == 2:
        # As it is drawn of more, without a loop: most models are in one place or in two.
        first = 0 if roll * total < weights[0] else 1
    else:
        first, roll = _draw(weights, total, roll, -1)
    left = total - weights[first]
    if left <= 0.0:
        return first
    second = 1 - first if count == 2 else _draw(weights, left, roll, first)[0]
    one, other = healths[first], healths[second]
    a, b = one.mean_s, other.mean_s
    assumed_s, mean = min(a, b) or a or b or 1.0, total / count
    best = one.score(now_s, assumed_s, weights[first] / mean) * BETTER
    return second if other.score(now_s, assumed_s, weights[second] / mean) < best else first


def scores(weights: Sequence[float], healths: Sequence[Health], now_s: float) -> list[float]:
    """How long a call may have to wait at each; less is better, infinity for weight zero.

    One that nobody has asked yet counts as the fastest of the others.
    """
    assumed_s, mean = _assumed_s(healths), sum(weights) / max(1, len(weights))
    return [
        health.score(now_s, assumed_s, weight / mean) if weight > 0.0 else inf
        for health, weight in zip(healths, weights, strict=True)
    ]


def ranked(
    weights: Sequence[float], healths: Sequence[Health], now_s: float, roll: float
) -> tuple[int, ...]:
    """All positions: what `pick` gives, then the others, the best score first.

    Those of weight zero are the last. Empty for no deployments.
    """
    count, total = len(weights), sum(weights)
    if count < 2 or total <= 0.0:
        return tuple(range(count))
    chosen = pick(weights, healths, now_s, roll)
    waits = scores(weights, healths, now_s)
    others = sorted(range(count), key=waits.__getitem__)
    others.remove(chosen)
    return (chosen, *others)


def _assumed_s(healths: Sequence[Health]) -> float:
    return min((health.mean_s for health in healths if health.mean_s), default=1.0)


def _draw(weights: Sequence[float], total: float, roll: float, but: int) -> tuple[int, float]:
    """A position drawn by weight, and what is left of the roll: again a sample of [0, 1)."""
    at = roll * total
    last = 0
    for position, weight in enumerate(weights):
        if position == but or weight <= 0.0:
            continue
        if at < weight:
            return position, at / weight
        at -= weight
        last = position
    # Only rounding leads here.
    return last, 0.0
