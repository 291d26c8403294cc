"""Which of several equal deployments is asked first, and in which order the others follow.

Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
"""

from collections.abc import Sequence

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
    first, roll = _draw(weights, total, roll, -1)
    left = total - weights[first]
    if left <= 0.0:
        return first
    second = 1 - first if count == 2 else _draw(weights, left, roll, first)[0]
    # A deployment's share of the mean weight is the number of calls that it may have in flight
    # for each one that the others have.
    mean = total / count
    best = healths[first].score(now_s, weights[first] / mean) * BETTER
    return second if healths[second].score(now_s, weights[second] / mean) < best else first


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
    mean = total / count
    scores = [
        health.score(now_s, weight / mean) if weight > 0.0 else float("inf")
        for health, weight in zip(healths, weights, strict=True)
    ]
    others = sorted(range(count), key=scores.__getitem__)
    others.remove(chosen)
    return (chosen, *others)


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
