"""The Reserver port, on each implementation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from isthmus.core.errors import LimitExceeded
from isthmus.core.limits import Claim, LimitKey
from isthmus.core.policies import Reservation, Reserver
from tests.support.clock import HandClock
from tests.support.limits import opened

CALLS = LimitKey("calls", "u", 3, 60.0)
TOKENS = LimitKey("tokens", "u", 1_000, 60.0, "tokens")
COST = LimitKey("cost", "u", 5_000_000, 2_592_000.0, "cost")
SLOTS = LimitKey("slots", "u", 2, 60.0, "concurrency")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="module", params=["inprocess", "valkey"])
def url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "inprocess" else request.getfixturevalue("redis_url")


@pytest.fixture
async def limiter(clock: HandClock, url: str | None) -> AsyncIterator[Reserver]:
    async with opened(url, clock) as limiter:
        yield limiter


async def reserve(limiter: Reserver, tokens: int, *others: LimitKey) -> Reservation:
    return await limiter.reserve([*(Claim(key, 1) for key in others), Claim(TOKENS, tokens)])


async def test_all_claims_are_held_or_none(limiter: Reserver) -> None:
    for _ in range(5):
        with pytest.raises(LimitExceeded, match="tokens"):
            await reserve(limiter, 1_001, CALLS, SLOTS)
    await reserve(limiter, 100, CALLS, SLOTS)
    await reserve(limiter, 100, CALLS, SLOTS)
    with pytest.raises(LimitExceeded) as caught:
        await reserve(limiter, 100, CALLS, SLOTS)
    assert caught.value.rule == "slots"
    assert caught.value.retry_after_s > 0
    # The call that was refused counts nowhere.
    await reserve(limiter, 800, CALLS)


async def test_what_is_not_used_is_given_back(limiter: Reserver) -> None:
    for used in (0, 10, 20):
        held = await reserve(limiter, 900)
        held.settle({"tokens": used})
    held = await reserve(limiter, 970)
    with pytest.raises(LimitExceeded):
        await reserve(limiter, 1)
    held.settle({})
    with pytest.raises(LimitExceeded):
        await reserve(limiter, 1)


async def test_settling_twice_does_nothing(limiter: Reserver) -> None:
    first = await reserve(limiter, 500, SLOTS)
    await reserve(limiter, 500, SLOTS)
    for _ in range(3):
        first.settle({"tokens": 400})
    await reserve(limiter, 100, SLOTS)
    with pytest.raises(LimitExceeded):
        await reserve(limiter, 1)


async def test_requests_stay_counted(limiter: Reserver) -> None:
    for _ in range(3):
        (await reserve(limiter, 1, CALLS)).settle({"requests": 0, "tokens": 0})
    with pytest.raises(LimitExceeded, match="calls"):
        await reserve(limiter, 1, CALLS)


async def test_what_was_used_beyond_is_counted(limiter: Reserver, clock: HandClock) -> None:
    (await reserve(limiter, 100)).settle({"tokens": 1_500})
    with pytest.raises(LimitExceeded):
        await reserve(limiter, 1)
    clock.advance(62.0)
    await reserve(limiter, 1_000)


async def test_a_reservation_grows_while_there_is_room(limiter: Reserver) -> None:
    held = await reserve(limiter, 100, CALLS, SLOTS)
    for _ in range(9):
        await held.grow({"tokens": 100})
    with pytest.raises(LimitExceeded) as caught:
        await held.grow({"tokens": 1})
    assert caught.value.rule == "tokens"
    await held.grow({"cost": 10})
    held.settle({"tokens": 950})
    await reserve(limiter, 50, CALLS, SLOTS)
    with pytest.raises(LimitExceeded):
        await reserve(limiter, 1, CALLS)


async def test_growing_is_all_or_nothing(limiter: Reserver) -> None:
    held = await limiter.reserve([Claim(COST, 1_000_000), Claim(TOKENS, 100)])
    with pytest.raises(LimitExceeded, match="tokens"):
        await held.grow({"cost": 1_000_000, "tokens": 901})
    await limiter.reserve([Claim(COST, 4_000_000)])
    with pytest.raises(LimitExceeded, match="cost"):
        await limiter.reserve([Claim(COST, 1)])


async def test_slots_come_back_when_calls_end(limiter: Reserver, clock: HandClock) -> None:
    held = [await limiter.reserve([Claim(SLOTS, 1)]) for _ in range(2)]
    clock.advance(5.0)
    for _ in range(20):
        with pytest.raises(LimitExceeded):
            await limiter.reserve([Claim(SLOTS, 1)])
        held.pop(0).settle({})
        held.append(await limiter.reserve([Claim(SLOTS, 1)]))


async def test_a_shadow_counts_and_never_refuses(limiter: Reserver, clock: HandClock) -> None:
    over: list[int] = []
    for number in range(6):
        claims = [Claim(CALLS, 1, shadow=True), Claim(TOKENS, 100)]
        held = await limiter.reserve(claims)
        assert held.tightest is not None
        assert held.tightest.rule == "tokens"
        over += [number for state in held.shadowed if state.rule == "calls"]
        clock.advance(0.1)
    assert over == [3, 4, 5]
    with pytest.raises(LimitExceeded, match="calls"):
        await limiter.reserve([Claim(CALLS, 1)])


async def test_the_tightest_counter_is_told(limiter: Reserver) -> None:
    first = (await reserve(limiter, 100, CALLS)).tightest
    assert first is not None
    assert (first.rule, first.remaining, first.amount) == ("calls", 2, 3)
    second = (await reserve(limiter, 300)).tightest
    assert second is not None
    assert (second.rule, second.remaining, second.amount) == ("tokens", 600, 1_000)
    assert 59.0 < second.reset_s <= 61.0


async def test_where_all_are_shadows_nothing_is_tight(limiter: Reserver) -> None:
    held = await limiter.reserve([Claim(CALLS, 1, shadow=True)])
    assert held.tightest is None


async def test_who_leaves_while_it_waits_holds_nothing(limiter: Reserver) -> None:
    for turns in range(30):
        await _left(limiter, 500, turns)
    for _ in range(2):
        await reserve(limiter, 500, SLOTS)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "grow", "settle", "leave", "wait"]),
        st.integers(0, 7),
        st.integers(1, 400),
    ),
    max_size=60,
)


@tuned(max_examples=40)
@given(moves=MOVES)
def test_nothing_leaks(url: str | None, moves: list[tuple[str, int, int]]) -> None:
    asyncio.run(_play(url, moves))


async def _play(url: str | None, moves: list[tuple[str, int, int]]) -> None:
    """Whatever happens: never more slots than there are, and all of them free at the end."""
    clock = HandClock()
    held: list[Reservation] = []
    async with opened(url, clock) as limiter:
        for move, which, tokens in moves:
            match move:
                case "wait":
                    clock.advance(which)
                case "leave":
                    await _left(limiter, tokens, which)
                case "reserve":
                    with suppress(LimitExceeded):
                        held.append(await reserve(limiter, tokens, SLOTS))
                case "settle" if held:
                    held.pop(which % len(held)).settle({"tokens": 1})
                case _ if held:
                    with suppress(LimitExceeded):
                        await held[which % len(held)].grow({"tokens": tokens})
                case _:
                    pass
            assert len(held) <= SLOTS.amount
        for one in held:
            one.settle({"tokens": 0})
        clock.advance(130.0)
        for _ in range(SLOTS.amount):
            await reserve(limiter, 500, SLOTS)


async def _left(limiter: Reserver, tokens: int, turns: int) -> None:
    """A caller who leaves after some turns of the loop; what it got by then it gives back."""
    task = asyncio.ensure_future(reserve(limiter, tokens, SLOTS))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done = (await asyncio.gather(task, return_exceptions=True))[0]
    if not isinstance(done, BaseException):
        done.settle({"tokens": 0})
