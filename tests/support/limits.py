"""Limiters for tests: on one clock that is wound by hand, the store's included."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import TypeVar

from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.adapters.limits.link import SCRIPT, Link, StoreLostError, ValkeyLink
from isthmus.adapters.limits.valkey import ValkeyLimiter
from isthmus.core.beside import beside
from isthmus.core.policies import Reserver
from isthmus.settings_limits import LimitsSettings
from tests.support.clock import HandClock
from tests.support.sink import MemorySink

Result = TypeVar("Result")
TEXT = SCRIPT.read_text(encoding="utf-8")


class OwnLink:
    """Counters of one test alone; counts the calls, and is away when it is told to be."""

    def __init__(self, link: Link, prefix: str) -> None:
        self._link = link
        self._prefix = prefix
        self.calls = 0
        self.away = False

    async def run(self, keys: Sequence[str], numbers: Sequence[str | int]) -> list[int]:
        self.calls += 1
        if self.away:
            raise StoreLostError("away")
        return await self._link.run([self._prefix + key for key in keys], numbers)


class Replicas:
    """Processes that share counters."""

    def __init__(self, url: str, clock: HandClock, settings: LimitsSettings | None = None) -> None:
        self.clock = clock
        self.telemetry = MemorySink()
        self.links: list[OwnLink] = []
        self.store_ahead_s = 0.0
        self._settings = settings or LimitsSettings()
        self._prefix = f"test:{token_hex(6)}:"
        self._link = ValkeyLink(url, 10.0, TEXT)

    def add(self) -> ValkeyLimiter:
        """Another process; its `send` is for the test to call, or its `run` to run."""
        link = OwnLink(self._link, self._prefix)
        self.links.append(link)

        def store_ms() -> int:
            return round((self.clock.now_s() + self.store_ahead_s) * 1000)

        return ValkeyLimiter(link, self._settings, self.clock, self.telemetry, store_ms)

    async def close(self) -> None:
        await self._link.close()


@asynccontextmanager
async def opened(url: str | None, clock: HandClock) -> AsyncIterator[Reserver]:
    """A limiter of one process: in memory, or with counters on the server at `url`."""
    if url is None:
        yield InProcessLimiter(clock)
        return
    replicas = Replicas(url, clock)
    limiter = replicas.add()
    try:
        async with beside(limiter.run()):
            yield limiter
    finally:
        await limiter.leave()
        await replicas.close()


async def driven(limiter: ValkeyLimiter, call: Awaitable[Result]) -> Result:
    """A call whose batches the test sends."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    while not task.done():
        await limiter.send()
        await asyncio.sleep(0)
    return await task
