"""What only the limiter in memory promises: its size."""

import pytest

from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.core.errors import LimitExceeded
from isthmus.core.limits import LimitKey
from tests.support.clock import HandClock


def key(number: int) -> LimitKey:
    return LimitKey("r", f"user-{number}", 2, 60.0)


async def test_there_are_only_so_many_counters_and_the_longest_unused_goes() -> None:
    limiter = InProcessLimiter(HandClock(), max_keys=3)
    for number in range(3):
        await limiter.take(key(number), 2)
    # A refusal is a use, too: whoever hammers keeps the counter that holds them back.
    with pytest.raises(LimitExceeded):
        await limiter.take(key(0), 1)
    await limiter.take(key(3), 2)
    assert len(limiter) == 3
    with pytest.raises(LimitExceeded):
        await limiter.take(key(0), 1)
    await limiter.take(key(1), 1)


async def test_many_subjects_leave_a_bounded_memory() -> None:
    limiter = InProcessLimiter(HandClock(), max_keys=100)
    for number in range(10_000):
        await limiter.take(key(number), 1)
    assert len(limiter) == 100


async def test_what_never_fits_is_not_remembered() -> None:
    limiter = InProcessLimiter(HandClock())
    with pytest.raises(LimitExceeded):
        await limiter.take(key(1), 3)
    assert len(limiter) == 0


def test_a_size_of_nothing_is_a_bug() -> None:
    with pytest.raises(ValueError, match="max_keys"):
        InProcessLimiter(HandClock(), max_keys=0)
