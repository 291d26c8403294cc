"""The Limiter port, on each implementation."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from isthmus.core.errors import LimitExceeded
from isthmus.core.limits import LimitKey
from isthmus.core.ports import Limiter
from tests.support.clock import HandClock
from tests.support.limits import opened

KEY = LimitKey("completions", "user-1", amount=10, window_s=60.0)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="module", params=["inprocess", "valkey"])
def url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "inprocess" else request.getfixturevalue("redis_url")


@pytest.fixture
async def limiter(clock: HandClock, url: str | None) -> AsyncIterator[Limiter]:
    async with opened(url, clock) as limiter:
        yield limiter


async def refused(limiter: Limiter, key: LimitKey, cost: int = 1) -> float:
    """The wait that a refusal names, in seconds."""
    with pytest.raises(LimitExceeded) as caught:
        await limiter.take(key, cost)
    return caught.value.retry_after_s


async def test_a_window_holds_its_amount_at_once(limiter: Limiter) -> None:
    for _ in range(10):
        await limiter.take(KEY, 1)
    assert await refused(limiter, KEY) == pytest.approx(60.0, abs=0.1)


async def test_a_cost_is_taken_whole_or_not_at_all(limiter: Limiter) -> None:
    await limiter.take(KEY, 7)
    assert await refused(limiter, KEY, 4) == pytest.approx(60.0, abs=0.1)
    await limiter.take(KEY, 3)
    await refused(limiter, KEY)


async def test_all_of_it_may_be_taken_in_one(limiter: Limiter, clock: HandClock) -> None:
    for amount in (1, 3, 7, 10, 49, 1_000_003, 10**12):
        key = LimitKey("whole", str(amount), amount, 0.7)
        await limiter.take(key, amount)
        assert await refused(limiter, key, amount) == pytest.approx(0.7, abs=0.1)
        clock.advance(0.7)
        await limiter.take(key, amount)


async def test_units_come_back_when_they_are_a_window_old(
    limiter: Limiter, clock: HandClock
) -> None:
    for _ in range(10):
        await limiter.take(KEY, 1)
        clock.advance(6.0)
    for _ in range(20):
        await limiter.take(KEY, 1)
        assert 5.0 < await refused(limiter, KEY) <= 6.0
        clock.advance(6.0)
    clock.advance(10_000.0)
    await limiter.take(KEY, 10)
    await refused(limiter, KEY)


async def test_one_in_a_while_is_exact(limiter: Limiter, clock: HandClock) -> None:
    key = LimitKey("poll", "device", 1, 5.0)
    for _ in range(50):
        await limiter.take(key, 1)
        clock.advance(4.99)
        await refused(limiter, key)
        clock.advance(0.011)


async def test_the_wait_that_is_named_is_long_enough(limiter: Limiter, clock: HandClock) -> None:
    for _ in range(10):
        clock.advance(1.7)
        await limiter.take(KEY, 1)
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
    assert 0 < min(waits) <= max(waits) <= 60.0
    # 600 s are ten windows; units may count a sixtieth of one too long.
    assert 97 <= passed <= 100


async def test_a_refusal_costs_nothing(limiter: Limiter, clock: HandClock) -> None:
    await limiter.take(KEY, 10)
    for _ in range(100):
        await refused(limiter, KEY)
    clock.advance(60.0)
    await limiter.take(KEY, 10)


async def test_subjects_rules_and_windows_count_apart(limiter: Limiter) -> None:
    await limiter.take(KEY, 10)
    for other in (
        LimitKey("completions", "user-2", 10, 60.0),
        LimitKey("chat", "user-1", 10, 60.0),
        LimitKey("completions", "user-1", 10, 3_600.0),
        LimitKey("completions", "user-1", 10, 60.0, "tokens"),
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
    for text in ("", "\0", "a b\r\n", "🦊", "\ud800", "x" * 10_000, "{tag}", "*"):
        key = LimitKey(text, text, 1, 60.0)
        await limiter.take(key, 1)
        await refused(limiter, key)


async def test_a_refusal_names_the_rule_and_not_whom_it_counts(limiter: Limiter) -> None:
    await limiter.take(KEY, 10)
    with pytest.raises(LimitExceeded) as caught:
        await limiter.take(KEY, 1)
    assert caught.value.rule == "completions"
    assert "completions" in caught.value.detail
    assert "user-1" not in caught.value.detail
    state = caught.value.state
    assert state is not None
    assert (state.remaining, state.amount) == (0, 10)


async def test_of_many_at_once_exactly_the_amount_pass(limiter: Limiter) -> None:
    for amount in (10, 160):
        key = LimitKey("many", str(amount), amount, 60.0)
        assert sum(await asyncio.gather(*(_passes(limiter, key) for _ in range(300)))) == amount


async def _passes(limiter: Limiter, key: LimitKey, cost: int = 1) -> bool:
    try:
        await limiter.take(key, cost)
    except LimitExceeded:
        return False
    return True


STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.001, 0.3, 1.0, 7.0, 30.0, 59.9]), st.integers(1, 6)),
    max_size=60,
)


@pytest.mark.parametrize("window_s", [1.0, 60.0])
@tuned(max_examples=40)
@given(steps=STEPS)
def test_no_window_ever_holds_more_than_the_amount(
    url: str | None, window_s: float, steps: list[tuple[float, int]]
) -> None:
    assert asyncio.run(_most_in_a_window(url, window_s, steps)) <= 10


async def _most_in_a_window(
    url: str | None, window_s: float, steps: list[tuple[float, int]]
) -> int:
    """The most units that any window saw; several may be on their way at once."""
    clock = HandClock()
    key = LimitKey("any", "u", 10, window_s)
    passed: list[tuple[float, int]] = []
    async with opened(url, clock) as limiter:
        for wait_s, cost in steps:
            clock.advance(wait_s)
            several = await asyncio.gather(*(_passes(limiter, key, cost) for _ in range(2)))
            passed += [(clock.now_s(), cost)] * sum(several)
    return max(
        (
            sum(cost for then_s, cost in passed if start_s <= then_s < start_s + window_s - 1e-3)
            for start_s, _ in passed
        ),
        default=0,
    )
