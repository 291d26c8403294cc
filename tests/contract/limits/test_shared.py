"""Processes that share counters: exact together, seldom asking, and with a share of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from secrets import token_hex

import pytest
from hypothesis import given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from isthmus.adapters.limits.open import open_limiter
from isthmus.adapters.limits.valkey import ValkeyLimiter
from isthmus.core.errors import LimitExceeded
from isthmus.core.events import LimitStoreLost
from isthmus.core.limits import Claim, LimitKey
from isthmus.core.ports import Limiter
from isthmus.settings_limits import LimitsSettings
from isthmus.settings_sources import SettingsError
from tests.support.clock import HandClock
from tests.support.limits import Replicas, driven
from tests.support.sink import MemorySink

KEY = LimitKey("calls", "u", 10_000, 60.0)
SLOTS = LimitKey("slots", "u", 20, 60.0, "concurrency")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def replicas(redis_url: str, clock: HandClock) -> AsyncIterator[Replicas]:
    found = Replicas(redis_url, clock, LimitsSettings(local_share=0.1, lease_s=15))
    yield found
    await found.close()


async def passes(limiter: ValkeyLimiter, key: LimitKey, cost: int = 1) -> bool:
    try:
        await driven(limiter, limiter.take(key, cost))
    except LimitExceeded:
        return False
    return True


async def test_processes_count_together(replicas: Replicas) -> None:
    first, second = replicas.add(), replicas.add()
    key = LimitKey("few", "u", 10, 60.0)
    passed = [await passes(one, key) for _ in range(10) for one in (first, second)]
    assert sum(passed) == 10
    assert all(passed[:10])


async def test_a_hot_counter_is_asked_for_seldom(replicas: Replicas, clock: HandClock) -> None:
    limiter = replicas.add()
    for _ in range(5_000):
        clock.advance(0.001)
        assert await passes(limiter, KEY)
    assert replicas.links[0].calls < 150
    # A counter that is cold is asked for each time, and lends nothing.
    for _ in range(3):
        clock.advance(30.0)
        await driven(limiter, limiter.take(LimitKey("cold", "u", 100, 60.0), 1))
    await limiter.leave()
    assert await passes(replicas.add(), LimitKey("cold", "u", 98, 60.0), 96)


async def test_a_counter_that_is_spent_steadily_keeps_nobody_waiting(
    replicas: Replicas, clock: HandClock
) -> None:
    limiter = replicas.add()
    waited = 0
    for number in range(5_000):
        clock.advance(0.001)
        if number % 20 == 0:
            await limiter.send()
        call = asyncio.ensure_future(limiter.take(KEY, 1))
        await asyncio.sleep(0)
        waited += not call.done()
        await driven(limiter, call)
    assert waited < 10, "only until its rate is known"
    # Nobody spends any more: it is renewed once, and then given back.
    for _ in range(150):
        clock.advance(0.02)
        await limiter.send()
    calls = replicas.links[0].calls
    await limiter.send()
    assert replicas.links[0].calls == calls
    assert await passes(replicas.add(), KEY, 5_000)


async def test_what_is_lent_and_not_spent_goes_back(replicas: Replicas, clock: HandClock) -> None:
    first, second = replicas.add(), replicas.add()
    for _ in range(100):
        clock.advance(0.001)
        assert await passes(first, KEY)
    assert not await passes(second, KEY, 9_900)
    clock.advance(1.1)
    await first.send()
    assert await passes(second, KEY, 9_900)
    assert not await passes(second, KEY)


async def test_who_leaves_gives_back_at_once(replicas: Replicas, clock: HandClock) -> None:
    first, second = replicas.add(), replicas.add()
    for _ in range(100):
        clock.advance(0.001)
        assert await passes(first, KEY)
    held = await driven(first, first.reserve([Claim(SLOTS, 20)]))
    held.settle({})
    await first.leave()
    assert await passes(second, KEY, 9_900)
    await driven(second, second.reserve([Claim(SLOTS, 20)]))


async def test_a_store_whose_clock_is_set_back_bars_nobody_until_it_has_caught_up(
    replicas: Replicas, clock: HandClock
) -> None:
    dead, alive = replicas.add(), replicas.add()
    few = LimitKey("few", "u", 10, 60.0)
    replicas.store_ahead_s = 3 * 3_600.0
    assert await passes(dead, few, 10)
    await driven(dead, dead.reserve([Claim(SLOTS, 15)]))
    replicas.store_ahead_s = 0.0
    assert not await passes(alive, few)
    with pytest.raises(LimitExceeded):
        await driven(alive, alive.reserve([Claim(SLOTS, 6)]))
    # A window later at the latest, as if it had been spent when the clock was set.
    clock.advance(61.0)
    assert await passes(alive, few, 10)
    await driven(alive, alive.reserve([Claim(SLOTS, 20)]))


async def test_slots_of_a_process_that_died_are_given_to_others(
    replicas: Replicas, clock: HandClock
) -> None:
    dead, alive = replicas.add(), replicas.add()
    await driven(dead, dead.reserve([Claim(SLOTS, 15)]))
    await driven(alive, alive.reserve([Claim(SLOTS, 5)]))
    for _ in range(2):
        clock.advance(7.0)
        await alive.send()
        with pytest.raises(LimitExceeded):
            await driven(alive, alive.reserve([Claim(SLOTS, 1)]))
    clock.advance(1.1)
    await alive.send()
    await driven(alive, alive.reserve([Claim(SLOTS, 15)]))
    with pytest.raises(LimitExceeded):
        await driven(alive, alive.reserve([Claim(SLOTS, 1)]))


async def test_near_the_amount_little_is_kept_from_others(
    replicas: Replicas, clock: HandClock
) -> None:
    processes = [replicas.add() for _ in range(8)]
    passed = 0
    for _ in range(1_400):
        clock.advance(0.001)
        for one in processes:
            passed += await passes(one, KEY)
    # Each may hold a sixteenth of what was left when it asked; the rest was spent.
    assert 9_500 <= passed <= 10_000
    for _ in range(3):
        clock.advance(1.1)
        for one in processes:
            await one.send()
    for one in processes:
        while await passes(one, KEY):
            passed += 1
    assert passed == 10_000


async def test_alone_a_process_has_its_share(replicas: Replicas, clock: HandClock) -> None:
    limiter = replicas.add()
    link = replicas.links[0]
    key = LimitKey("few", "u", 100, 60.0)
    assert await passes(limiter, key, 60)
    held = [await driven(limiter, limiter.reserve([Claim(SLOTS, 1)])) for _ in range(2)]
    link.away = True
    clock.advance(2.0)
    passed = [await passes(limiter, key) for _ in range(20)]
    assert (sum(passed), all(passed[:10])) == (10, True)
    calls = link.calls
    assert not await passes(limiter, key)
    assert link.calls == calls, "nobody asks a store that is away"
    # Two run already, which is this process's share of 20.
    with pytest.raises(LimitExceeded):
        await limiter.reserve([Claim(SLOTS, 1)])
    held.pop().settle({})
    held.append(await limiter.reserve([Claim(SLOTS, 1)]))
    assert replicas.telemetry.of(LimitStoreLost) == [LimitStoreLost(lost=True, error="away")]
    clock.advance(60.0)
    assert await passes(limiter, key, 10)
    await limiter.look()
    link.away = False
    await limiter.look()
    assert replicas.telemetry.of(LimitStoreLost)[1:] == [LimitStoreLost(lost=False)]
    await limiter.send()
    # What was spent alone counts; what runs is known again.
    other = replicas.add()
    assert not await passes(other, key, 91)
    assert await passes(other, key, 90)
    await driven(other, other.reserve([Claim(SLOTS, 18)]))
    with pytest.raises(LimitExceeded):
        await driven(other, other.reserve([Claim(SLOTS, 1)]))


async def test_what_an_earlier_outage_granted_is_not_given_back_to_a_later_one(
    replicas: Replicas,
) -> None:
    limiter = replicas.add()
    link = replicas.links[0]
    key = LimitKey("tokens", "u", 1_000, 60.0, "tokens")
    link.away = True
    held = await driven(limiter, limiter.reserve([Claim(key, 100)]))
    link.away = False
    await limiter.look()
    await limiter.send()
    link.away = True
    assert await passes(limiter, key, 100)
    held.settle({"tokens": 0})
    assert not await passes(limiter, key)


async def test_a_call_that_waits_when_the_store_goes_is_served(replicas: Replicas) -> None:
    limiter = replicas.add()
    replicas.links[0].away = True
    assert await passes(limiter, KEY)
    assert await passes(limiter, KEY, 999)
    assert not await passes(limiter, KEY)


async def test_a_share_of_little_is_one(replicas: Replicas) -> None:
    limiter = replicas.add()
    replicas.links[0].away = True
    key = LimitKey("one", "u", 1, 60.0)
    assert [await passes(limiter, key) for _ in range(2)] == [True, False]


async def test_a_shadow_beyond_its_amount_does_not_wait(replicas: Replicas) -> None:
    limiter = replicas.add()
    claim = Claim(LimitKey("dry", "u", 2, 60.0), 1, shadow=True)
    over = 0
    for _ in range(10):
        held = await driven(limiter, limiter.reserve([claim]))
        over += len(held.shadowed)
    assert over == 8
    assert replicas.links[0].calls <= 4
    await limiter.send()
    assert not await passes(replicas.add(), LimitKey("dry", "u", 10, 60.0), 1)


SPENDING = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.01, 0.2, 1.1, 9.0]), st.integers(1, 40)),
    max_size=80,
)


@tuned(max_examples=30)
@given(moves=SPENDING)
def test_together_no_window_holds_more(redis_url: str, moves: list[tuple[int, float, int]]) -> None:
    """Whoever of three asks, and whatever is lent: 100 units in 10 s."""

    async def play() -> list[tuple[float, int]]:
        clock = HandClock()
        replicas = Replicas(redis_url, clock)
        three = [replicas.add() for _ in range(3)]
        key = LimitKey("any", "u", 100, 10.0)
        passed: list[tuple[float, int]] = []
        for who, wait_s, cost in moves:
            clock.advance(wait_s)
            for _ in range(3):
                if await passes(three[who], key, cost):
                    passed.append((clock.now_s(), cost))
            if cost % 5 == 0:
                await three[who].send()
        await replicas.close()
        return passed

    passed = asyncio.run(play())
    for start_s, _ in passed:
        within = [cost for then_s, cost in passed if start_s <= then_s < start_s + 10.0 - 1e-3]
        assert sum(within) <= 100


async def test_the_settings_say_where_counters_are(redis_url: str) -> None:
    key = LimitKey("opened", token_hex(8), 5, 3_600.0)
    async with AsyncExitStack() as stack:
        two: list[Limiter] = []
        for _ in range(2):
            settings = LimitsSettings.model_validate({"url": redis_url})
            opened = open_limiter(settings, HandClock(), MemorySink())
            two.append(await stack.enter_async_context(opened))
        await two[0].take(key, 3)
        with pytest.raises(LimitExceeded):
            await two[1].take(key, 3)
    async with open_limiter(LimitsSettings(), HandClock(), MemorySink()) as alone:
        await alone.take(key, 5)


async def test_a_url_that_makes_no_sense_is_told_at_start() -> None:
    settings = LimitsSettings.model_validate({"url": "http://secret@host"})
    with pytest.raises(SettingsError, match=r"limits\.url") as caught:
        async with open_limiter(settings, HandClock(), MemorySink()):
            pass
    assert "secret" not in str(caught.value)


async def test_a_store_that_is_away_at_the_start_is_a_fact() -> None:
    sink = MemorySink()
    settings = LimitsSettings.model_validate({"url": "redis://127.0.0.1:1"})
    async with open_limiter(settings, HandClock(), sink) as limiter:
        await limiter.take(KEY, 1_000)
        with pytest.raises(LimitExceeded):
            await limiter.take(KEY, 1)
    assert [fact.lost for fact in sink.of(LimitStoreLost)] == [True]
