"""The departure layer on a loop of its own: who is cancelled, by whom, and what is left behind."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message, Receive, Scope, Send

from isthmus.edge.http.departure import Departure
from isthmus.edge.http.exchange import EXCHANGE, Exchange, exchange_of
from tests.support.clock import HandClock

ROUND_S = 0.002
PATIENCE_S = 5.0


class Line:
    """A request whose body has come, and whose caller leaves when told to."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.heard = asyncio.Event()
        self._body = True

    async def receive(self) -> Message:
        if self._body:
            self._body = False
            return {"type": "http.request", "body": b"{}", "more_body": False}
        self.heard.set()
        await self.left.wait()
        return {"type": "http.disconnect"}


async def _nowhere(message: Message) -> None:
    raise AssertionError(message)


def layer(work: Callable[[], Awaitable[None]], *, reads: bool = True) -> Departure:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        if reads:
            await exchange_of(scope).receive()
        await work()

    return Departure(app, ROUND_S)


async def asked(departure: Departure, line: Line) -> int:
    """One request; how many cancellations its task still has to answer for."""
    scope: Scope = {"type": "http", "headers": []}
    scope[EXCHANGE] = Exchange(scope, line.receive, _nowhere, HandClock())
    await departure(scope, line.receive, _nowhere)
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_caller_that_leaves_ends_the_handler_and_nothing_else() -> None:
    line = Line()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        request = group.create_task(asked(layer(forever), line))
        await line.heard.wait()
        line.left.set()
    assert request.result() == 0


async def test_the_rounds_begin_anew_after_a_pause() -> None:
    departure = layer(forever)
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(2):
            line = Line()
            line.left.set()
            assert await asked(departure, line) == 0
            await asyncio.sleep(3 * ROUND_S)


async def test_a_request_that_is_answered_leaves_no_watch() -> None:
    line = Line()

    async def answered_late() -> None:
        await line.heard.wait()

    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE_S):
        assert await asked(layer(answered_late), line) == 0
    assert asyncio.all_tasks() == before


async def test_a_caller_that_is_still_sending_is_left_to_the_handler() -> None:
    line = Line()

    async def some_rounds() -> None:
        await asyncio.sleep(5 * ROUND_S)

    assert await asked(layer(some_rounds, reads=False), line) == 0
    assert not line.heard.is_set()


async def test_a_cancellation_by_somebody_else_is_not_swallowed() -> None:
    for leaves in (False, True):
        line = Line()
        async with asyncio.timeout(PATIENCE_S):
            request = asyncio.get_running_loop().create_task(asked(layer(forever), line))
            await line.heard.wait()
            if leaves:
                line.left.set()
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request


async def test_a_handler_that_fails_while_it_is_cancelled_has_its_failure() -> None:
    line = Line()
    seen: list[int] = []

    async def breaks() -> None:
        try:
            await forever()
        finally:
            raise KeyError("cleaning up")

    async def request() -> None:
        with pytest.raises(KeyError):
            await asked(layer(breaks), line)
        task = asyncio.current_task()
        assert task is not None
        seen.append(task.cancelling())

    line.left.set()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(request())
    assert seen == [0]


async def test_a_request_that_was_watched_waits_for_no_collection() -> None:
    line = Line()

    async def work() -> None:
        await line.heard.wait()
        await asyncio.sleep(ROUND_S)

    gc.collect()
    gc.disable()
    before = _exchanges()
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert await asked(layer(work), line) == 0
        assert _exchanges() <= before
    finally:
        gc.enable()


def _exchanges() -> set[int]:
    return {id(each) for each in gc.get_objects() if isinstance(each, Exchange)}
