"""Readiness: a flag and named checks, asked at most once a second."""

import asyncio

from isthmus.core.errors import Unavailable
from isthmus.edge.services import Readiness
from tests.support.clock import HandClock


class Check:
    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.pings = 0

    async def ping(self) -> None:
        self.pings += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure


async def test_not_serving_until_told() -> None:
    readiness = Readiness({}, HandClock())
    assert await readiness.state() == {"serving": False}
    readiness.set_serving(serving=True)
    assert await readiness.state() == {"serving": True}


async def test_each_check_is_named_and_one_failure_does_not_hide_another() -> None:
    checks = {
        "database": Check(),
        "keys": Check(Unavailable("No keys.")),
        "limits": Check(TimeoutError()),
    }
    readiness = Readiness(checks, HandClock())
    readiness.set_serving(serving=True)
    expected = {"serving": True, "database": True, "keys": False, "limits": False}
    assert await readiness.state() == expected


async def test_a_round_of_pings_is_shared_and_kept_for_a_second() -> None:
    clock = HandClock()
    check = Check()
    readiness = Readiness({"database": check}, clock)
    await asyncio.gather(*(readiness.state() for _ in range(20)))
    assert check.pings == 1
    check.failure = Unavailable("Down.")
    clock.advance(0.9)
    assert (await readiness.state())["database"]
    clock.advance(0.2)
    assert not (await readiness.state())["database"]
    assert check.pings == 2


async def test_the_flag_is_never_stale() -> None:
    readiness = Readiness({"database": Check()}, HandClock())
    readiness.set_serving(serving=True)
    assert (await readiness.state())["serving"]
    readiness.set_serving(serving=False)
    assert not (await readiness.state())["serving"]
