"""Who waits before a full upstream, who is next, and that no place is ever lost."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random

import pytest

from isthmus.core.errors import LimitExceeded
from isthmus.routing.lanes import AGE_S, LANES, Gate, Lane
from tests.support.clock import HandClock


class Stand:
    """A gate with one place, which is taken, and the order in which others came in."""

    def __init__(self, limit: int = 1, queue_limit: int = 256, max_wait_s: float = 60.0) -> None:
        self.clock = HandClock()
        self.gate = Gate("d", limit, self.clock, queue_limit=queue_limit, max_wait_s=max_wait_s)
        self.order: list[str] = []
        for _ in range(limit):
            assert self.gate.enter_now()

    async def call(self, name: str, lane: Lane = "chat", tenant: str = "t") -> None:
        await self.gate.wait(lane, tenant)
        self.order.append(name)

    async def queued(
        self, group: asyncio.TaskGroup, name: str, lane: Lane = "chat", tenant: str = "t"
    ) -> "asyncio.Task[None]":
        task = group.create_task(self.call(name, lane, tenant))
        await asyncio.sleep(0)
        return task

    async def serve(self, times: int) -> Sequence[str]:
        for _ in range(times):
            self.gate.leave()
            await asyncio.sleep(0)
        return self.order


async def test_with_places_nobody_waits() -> None:
    gate = Gate("d", 2, HandClock())
    assert gate.enter_now()
    await gate.wait("chat", "t")
    assert not gate.enter_now()
    gate.leave()
    assert gate.enter_now()


async def test_the_urgent_lane_goes_first() -> None:
    stand = Stand()
    async with asyncio.TaskGroup() as group:
        for lane in reversed(LANES):
            await stand.queued(group, lane, lane)
        assert await stand.serve(3) == list(LANES)


async def test_who_waits_long_gains_a_lane() -> None:
    stand = Stand()
    async with asyncio.TaskGroup() as group:
        await stand.queued(group, "old", "background")
        stand.clock.advance(2 * AGE_S - 0.1)
        await stand.queued(group, "before", "interactive")
        stand.clock.advance(0.2)
        for n in range(3):
            await stand.queued(group, f"after {n}", "interactive")
        assert await stand.serve(5) == ["before", "old", "after 0", "after 1", "after 2"]


async def test_background_is_served_however_many_interactive_calls_come() -> None:
    stand = Stand()
    async with asyncio.TaskGroup() as group:
        await stand.queued(group, "background", "background")
        for n in range(100):
            await stand.queued(group, f"{n}", "interactive")
            stand.clock.advance(0.2)
            await stand.serve(1)
        await stand.serve(1)
    assert stand.order.index("background") == pytest.approx(2 * AGE_S / 0.2, abs=2)


async def test_tenants_take_turns() -> None:
    stand = Stand()
    async with asyncio.TaskGroup() as group:
        for n in range(4):
            await stand.queued(group, f"a{n}", tenant="a")
        for name in ("b0", "b1", "c0"):
            await stand.queued(group, name, tenant=name[0])
        assert await stand.serve(7) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


async def test_a_turn_that_does_not_come_is_refused_by_name() -> None:
    stand = Stand(max_wait_s=0.001)
    with pytest.raises(LimitExceeded, match="queue of `d`") as caught:
        await stand.call("late")
    assert caught.value.rule == "queue:d"
    assert caught.value.retry_after_s == 0.001
    assert stand.gate.waiting == 0
    stand.gate.leave()
    assert stand.gate.enter_now()


async def test_a_caller_with_less_time_waits_for_less() -> None:
    stand = Stand()
    with pytest.raises(LimitExceeded, match="No turn"):
        await stand.gate.wait("chat", "t", within_s=0.001)


async def test_a_full_queue_refuses() -> None:
    stand = Stand(queue_limit=2)
    async with asyncio.TaskGroup() as group:
        for name in ("1", "2"):
            await stand.queued(group, name)
        with pytest.raises(LimitExceeded, match="Too many"):
            await stand.call("3")
        await stand.queued(group, "other lane", "interactive")
        assert await stand.serve(3) == ["other lane", "1", "2"]


async def test_no_queue_refuses_at_once() -> None:
    stand = Stand(queue_limit=0)
    with pytest.raises(LimitExceeded, match="Too many"):
        await stand.call("1")


async def test_who_fills_the_queue_makes_room_for_others() -> None:
    stand = Stand(queue_limit=3)
    async with asyncio.TaskGroup() as group:
        greedy = [
            group.create_task(_outcome(partial(stand.call, f"a{n}", tenant="a"))) for n in range(3)
        ]
        await asyncio.sleep(0)
        await stand.queued(group, "b0", tenant="b")
        with pytest.raises(LimitExceeded, match="Too many"):
            await stand.call("b1", tenant="b")
        assert await stand.serve(3) == ["a0", "b0", "a1"]
    assert [task.result() for task in greedy] == ["", "", "LimitExceeded"]


async def test_a_waiter_that_leaves_is_passed_over() -> None:
    stand = Stand()
    async with asyncio.TaskGroup() as group:
        gone = await stand.queued(group, "gone")
        await stand.queued(group, "next")
        gone.cancel()
        # Its turn comes before it could say that it left.
        assert await stand.serve(1) == ["next"]
    assert stand.gate.waiting == 0


async def test_a_waiter_that_leaves_makes_room() -> None:
    stand = Stand(queue_limit=1)
    async with asyncio.TaskGroup() as group:
        gone = await stand.queued(group, "gone")
        gone.cancel()
        await asyncio.wait((gone,))
        assert stand.gate.waiting == 0
        await stand.queued(group, "next")
        assert await stand.serve(1) == ["next"]


async def test_one_of_two_calls_makes_room_for_another_tenant() -> None:
    stand = Stand(queue_limit=2)
    async with asyncio.TaskGroup() as group:
        group.create_task(_outcome(partial(stand.call, "a0", tenant="a")))
        group.create_task(_outcome(partial(stand.call, "a1", tenant="a")))
        await asyncio.sleep(0)
        await stand.queued(group, "b0", tenant="b")
        assert await stand.serve(2) == ["a0", "b0"]


async def test_a_waiter_that_leaves_in_the_moment_of_its_turn_gives_it_back() -> None:
    stand = Stand()
    async with asyncio.TaskGroup() as group:
        gone = await stand.queued(group, "gone")
        stand.gate.leave()
        gone.cancel()
        await asyncio.wait((gone,))
        assert gone.cancelled()
        assert stand.order == []
    assert stand.gate.enter_now()
    assert not stand.gate.enter_now()


async def test_no_place_is_lost_and_none_is_given_twice_whoever_leaves_when() -> None:
    roll = Random(11)  # noqa: S311 - a reproducible sample
    gate = Gate("d", 3, HandClock(), queue_limit=20, max_wait_s=60.0)
    inside = served = 0

    async def call(tenant: str) -> None:
        nonlocal inside, served
        await gate.wait(LANES[roll.randrange(3)], tenant)
        inside += 1
        served += 1
        try:
            assert inside <= 3
            for _ in range(roll.randrange(4)):
                await asyncio.sleep(0)
        finally:
            inside -= 1
            gate.leave()

    tasks: list[asyncio.Task[str]] = []
    async with asyncio.TaskGroup() as group:
        for n in range(3000):
            tasks.append(group.create_task(_outcome(partial(call, f"t{n % 5}"))))
            if roll.random() < 0.3:
                tasks[roll.randrange(max(0, n - 20), n + 1)].cancel()
            if roll.random() < 0.4:
                await asyncio.sleep(0)
    assert served > 500
    assert any(task.cancelled() for task in tasks)
    assert (gate.waiting, inside) == (0, 0)
    assert [gate.enter_now() for _ in range(4)] == [True, True, True, False]


async def _outcome(call: Callable[[], Awaitable[None]]) -> str:
    try:
        await call()
    except LimitExceeded as failure:
        return type(failure).__name__
    return ""
