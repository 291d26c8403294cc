"""Open doors are told of at once and each hour; closed ones never."""

import asyncio

import pytest

from isthmus.app.reminder import HOUR_S, WARNING, remind
from isthmus.core.events import Noted
from tests.support.sink import MemorySink


class Hours:
    """A pause that ends at once, so many times."""

    def __init__(self, most: int) -> None:
        self._left = most
        self.slept: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._left -= 1
        if not self._left:
            raise asyncio.CancelledError


async def test_it_is_told_at_the_start_and_each_hour() -> None:
    sink, hours = MemorySink(), Hours(3)
    with pytest.raises(asyncio.CancelledError):
        await remind(("auth.bypass_external",), sink, hours.pause)
    told = sink.of(Noted)
    assert [(one.level, one.event) for one in told] == [("warning", WARNING)] * 3
    assert told[0].details[0][0] == "auth.bypass_external"
    assert hours.slept == [HOUR_S] * 3


async def test_nothing_is_told_where_every_door_is_closed() -> None:
    sink, hours = MemorySink(), Hours(1)
    await remind((), sink, hours.pause)
    assert (sink.of(Noted), hours.slept) == ([], [])
