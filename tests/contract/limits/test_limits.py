"""The Limiter port, on each implementation."""

import asyncio
import math

import pytest

from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.core.errors import LimitExceeded
from isthmus.core.limits import LimitKey
from isthmus.core.ports import Limiter
from tests.support.clock import HandClock

KEY = LimitKey("completions", "user-1", amount=10, window_s=60.0)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=["inprocess"])
def limiter(clock: HandClock) -> Limiter:
    return InProcessLimiter(clock)


async def refused(limiter: Limiter, key: LimitKey, cost: int = 1) -> float:
    """The wait that a refusal names, in seconds."""
    with pytest.raises(LimitExceeded) as caught:
        await limiter.take(key, cost)
    return caught.value.retry_after_s


async def test_a_window_holds_its_amount_at_once(limiter: Limiter) -> None:
    for _ in range(10):
        await limiter.take(KEY, 1)
    assert await refused(limiter, KEY) == pytest.approx(6.0, abs=0.1)


async def test_a_cost_is_taken_whole_or_not_at_all(limiter: Limiter) -> None:
    await limiter.take(KEY, 7)
    assert await refused(limiter, KEY, 4) == pytest.approx(6.0, abs=0.1)
    await limiter.take(KEY, 3)
    await refused(limiter, KEY)


async def test_all_of_it_may_be_taken_in_one(limiter: Limiter, clock: HandClock) -> None:
    for amount in (1, 3, 7, 10, 49, 1_000_003):
        key = LimitKey("whole", "u", amount, 0.7)
        await limiter.take(key, amount)
        assert await refused(limiter, key, amount) == pytest.approx(0.7, abs=0.1)
    clock.advance(0.7)
    for amount in (1, 3, 7, 10, 49, 1_000_003):
        await limiter.take(LimitKey("whole", "u", amount, 0.7), amount)


async def test_it_refills_evenly(limiter: Limiter, clock: HandClock) -> None:
    await limiter.take(KEY, 10)
    for _ in range(20):
        await refused(limiter, KEY)
        clock.advance(6.0)
        await limiter.take(KEY, 1)
    clock.advance(10_000.0)
    await limiter.take(KEY, 10)
    await refused(limiter, KEY)


async def test_the_wait_that_is_named_is_long_enough(limiter: Limiter, clock: HandClock) -> None:
    await limiter.take(KEY, 10)
    for cost in (1, 3, 10):
        clock.advance(await refused(limiter, KEY, cost))
        await limiter.take(KEY, cost)


async def test_over_a_long_time_no_more_passes_than_may(limiter: Limiter, clock: HandClock) -> None:
    passed = 0
    waits: list[float] = []
    for _ in range(1_000):
        try:
            await limiter.take(KEY, 1)
            passed += 1
        except LimitExceeded as refusal:
            waits.append(refusal.retry_after_s)
        clock.advance(0.6)
    assert 0 < min(waits) <= max(waits) <= 6.1
    # 600 s are ten windows, after the one that was full at the start.
    assert 108 <= passed <= 110


async def test_a_refusal_costs_nothing(limiter: Limiter, clock: HandClock) -> None:
    await limiter.take(KEY, 10)
    for _ in range(100):
        await refused(limiter, KEY)
    clock.advance(6.0)
    await limiter.take(KEY, 1)


async def test_subjects_rules_and_windows_count_apart(limiter: Limiter) -> None:
    await limiter.take(KEY, 10)
    for other in (
        LimitKey("completions", "user-2", 10, 60.0),
        LimitKey("chat", "user-1", 10, 60.0),
        LimitKey("completions", "user-1", 10, 3_600.0),
        LimitKey("completions:user-1", "", 10, 60.0),
        LimitKey("", "completions:user-1", 10, 60.0),
    ):
        await limiter.take(other, 10)
        await refused(limiter, other)


async def test_what_can_never_fit_is_refused_and_takes_nothing(limiter: Limiter) -> None:
    assert await refused(limiter, KEY, 11) == pytest.approx(60.0)
    await limiter.take(KEY, 10)
    nothing = LimitKey("closed", "u", 0, 60.0)
    assert await refused(limiter, nothing) > 0


async def test_no_cost_is_free(limiter: Limiter) -> None:
    await limiter.take(KEY, 10)
    await limiter.take(KEY, 0)
    await limiter.take(LimitKey("closed", "u", 0, 60.0), 0)


async def test_a_number_that_makes_no_sense_is_a_bug(limiter: Limiter) -> None:
    for key, cost in (
        (KEY, -1),
        (LimitKey("r", "s", 1, 0.0), 1),
        (LimitKey("r", "s", 1, -1.0), 1),
        (LimitKey("r", "s", 1, math.nan), 1),
        (LimitKey("r", "s", 1, math.inf), 1),
    ):
        with pytest.raises(ValueError, match="must"):
            await limiter.take(key, cost)
    await limiter.take(KEY, 10)


async def test_any_text_may_be_counted(limiter: Limiter) -> None:
    for text in ("", "\0", "a b\r\n", "🦊", "x" * 10_000, "{tag}", "*"):
        key = LimitKey(text, text, 1, 60.0)
        await limiter.take(key, 1)
        await refused(limiter, key)


async def test_a_refusal_does_not_say_who(limiter: Limiter) -> None:
    await limiter.take(KEY, 10)
    with pytest.raises(LimitExceeded) as caught:
        await limiter.take(KEY, 1)
    assert "completions" in caught.value.detail
    assert "user-1" not in caught.value.detail


async def test_of_many_at_once_exactly_the_amount_pass(limiter: Limiter) -> None:
    async def attempt() -> bool:
        try:
            await limiter.take(KEY, 1)
        except LimitExceeded:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt()) for _ in range(100)]
    assert sum(task.result() for task in tasks) == 10
