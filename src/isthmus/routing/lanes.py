"""A gate before an upstream that takes so many calls at once: who waits, how long, who is next."""

import asyncio
from collections import OrderedDict, deque
from math import inf
from typing import Literal, TypeAlias

from isthmus.core.errors import LimitExceeded
from isthmus.core.ports import Clock

Lane: TypeAlias = Literal["interactive", "chat", "background"]
LANES: tuple[Lane, ...] = ("interactive", "chat", "background")
"""Kinds of calls, the most urgent first."""

QUEUE_LIMIT = 256
MAX_WAIT_S = 10.0
AGE_S = 5.0


class _Waiter:
    """`turn` ends with a reason why it will not come, "" when it has come."""

    __slots__ = ("due_s", "granted", "queued", "tenant", "turn")

    def __init__(self, turn: "asyncio.Future[str]", tenant: str, due_s: float) -> None:
        self.turn = turn
        self.tenant = tenant
        self.due_s = due_s
        self.queued = True
        self.granted = False


class _Queue:
    """One lane: its tenants with waiting calls, the next one first."""

    def __init__(self) -> None:
        self.tenants: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self.count = 0

    def due_s(self) -> float:
        """When the next call counts as urgent."""
        return next(iter(self.tenants.values()))[0].due_s

    def add(self, waiter: _Waiter) -> None:
        self.tenants.setdefault(waiter.tenant, deque()).append(waiter)
        self.count += 1

    def remove(self, waiter: _Waiter) -> None:
        if waiter.queued:
            waiter.queued = False
            self.count -= 1
            mine = self.tenants[waiter.tenant]
            mine.remove(waiter)
            if not mine:
                del self.tenants[waiter.tenant]

    def take(self) -> _Waiter:
        """The next call; its tenant's others wait until each other tenant had a turn."""
        waiter = next(iter(self.tenants.values()))[0]
        self.remove(waiter)
        if waiter.tenant in self.tenants:
            self.tenants.move_to_end(waiter.tenant)
        return waiter

    def newest_of_the_greediest(self, tenant: str) -> _Waiter | None:
        """The last call of who waits with the most; None when that is no more than `tenant`'s."""
        mine = len(self.tenants.get(tenant, ())) + 1
        most = max(self.tenants.values(), key=len)
        return most[-1] if len(most) > mine else None


class Gate:
    """At most `limit` calls inside; who enters must leave.

    When it is full, interactive calls go before chat before background ones, but a call that waits
    gains a lane in `age_s`; within a lane tenants take turns. Each lane holds `queue_limit` calls;
    when it is full, the tenant with the most of them gives up its last for one with fewer. Belongs
    to one event loop. `name` is the deployment's.
    """

    def __init__(
        self,
        name: str,
        limit: int,
        clock: Clock,
        *,
        queue_limit: int = QUEUE_LIMIT,
        max_wait_s: float = MAX_WAIT_S,
        age_s: float = AGE_S,
    ) -> None:
        self._name = name
        self._limit = self._free = limit
        self._clock = clock
        self._queue_limit = queue_limit
        self._max_wait_s = max_wait_s
        self._age_s = age_s
        self._lanes = {lane: _Queue() for lane in LANES}
        self._callers = 0
        """Calls that are in `wait`: never fewer than those that want a turn."""

    @property
    def waiting(self) -> int:
        """Calls that wait for a turn."""
        return sum(queue.count for queue in self._lanes.values())

    def enter_now(self) -> bool:
        """Enter if there is a place; else `wait` for one."""
        if self._free > 0:
            self._free -= 1
            return True
        return False

    async def wait(self, lane: Lane, tenant: str, within_s: float = inf) -> None:
        """Enter when it is this call's turn, within `within_s` and the gate's own limit.

        Raises LimitExceeded when the turn does not come, or when too many wait already.
        """
        if self.enter_now():
            return
        queue = self._lanes[lane]
        if queue.count >= self._queue_limit:
            self._make_room(queue, tenant)
        loop = asyncio.get_running_loop()
        due_s = self._clock.now_s() + LANES.index(lane) * self._age_s
        waiter = _Waiter(loop.create_future(), tenant, due_s)
        queue.add(waiter)
        limit_s = min(within_s, self._max_wait_s)
        timer = loop.call_later(limit_s, self._refuse, queue, waiter, "No turn came in time")
        self._callers += 1
        try:
            reason = await waiter.turn
        except asyncio.CancelledError:
            queue.remove(waiter)
            if waiter.granted:
                # The caller left in the moment of its turn.
                self.leave()
            raise
        finally:
            self._callers -= 1
            timer.cancel()
        if reason:
            raise self._refusal(reason)

    def leave(self) -> None:
        """A call that was inside is over."""
        self._free += 1
        if self._callers:
            self._let_in()

    def _let_in(self) -> None:
        while self._free > 0:
            waiting = [queue for queue in self._lanes.values() if queue.count]
            if not waiting:
                return
            waiter = min(waiting, key=_Queue.due_s).take()
            if not waiter.turn.done():
                self._free -= 1
                waiter.granted = True
                waiter.turn.set_result("")

    def _make_room(self, queue: _Queue, tenant: str) -> None:
        greediest = queue.newest_of_the_greediest(tenant) if queue.count else None
        if greediest is None:
            raise self._refusal("Too many calls wait")
        self._refuse(queue, greediest, "Too many calls wait")

    def _refuse(self, queue: _Queue, waiter: _Waiter, reason: str) -> None:
        queue.remove(waiter)
        if not waiter.turn.done():
            waiter.turn.set_result(reason)

    def _refusal(self, reason: str) -> LimitExceeded:
        detail = f"{reason} in the queue of `{self._name}`."
        return LimitExceeded(detail, self._max_wait_s, rule=f"queue:{self._name}")
