"""Writes what was counted, behind everybody's back: to a file first, and then to the database.

A batch is a file before the database sees it, and for as long as that has not said that it was
added. So a killed process loses what it has counted since its last batch, and no more; what it
leaves behind is added by whoever starts next, and once, since batches have ids.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from msgspec import Struct

from isthmus.adapters.usage.rollup import Counted, Rollup, rows_of
from isthmus.adapters.usage.spool import Spool
from isthmus.core.beside import beside
from isthmus.core.errors import Failure, Invalid
from isthmus.core.events import Noted
from isthmus.core.ports import Clock, Telemetry
from isthmus.core.usage import HOUR_S, UsageAdder, UsageBatch
from isthmus.settings_usage import UsageSettings

OpenStore: TypeAlias = Callable[[], Awaitable[UsageAdder]]
"""Opens the database when it is needed, and waits for it. Raises a Failure."""
PAUSE_FIRST_S: Final = 1.0
PAUSE_LAST_S: Final = 60.0
HELD_LIMIT: Final = 64
"""Batches that are kept in memory where no file can be written."""
IDS_KEPT: Final = timedelta(days=60)
"""How long the store knows a batch again; one that waited longer in a file is refused."""
PRUNE_S: Final = 6 * 3_600.0


class Writing(Struct, frozen=True):
    """What a writer needs besides the rollup."""

    spool: Spool
    open_store: OpenStore
    clock: Clock
    telemetry: Telemetry
    settings: UsageSettings


@asynccontextmanager
async def open_writer(rollup: Rollup, writing: Writing, drain_s: float) -> AsyncIterator[None]:
    """Write for as long as the context lasts.

    Leaving spills what is left to a file, and gives the database `drain_s` to take it; what it does
    not take is taken at the next start.
    """
    writer = _Writer(rollup, writing)
    async with beside(writer.spill(), writer.deliver()) as tasks:
        try:
            yield
        finally:
            writer.close()
            await asyncio.wait(tasks, timeout=drain_s)


class _Writer:
    def __init__(self, rollup: Rollup, writing: Writing) -> None:
        self._rollup = rollup
        self._writing = writing
        self._spool = writing.spool
        self._held: deque[UsageBatch] = deque()
        self._waiting = asyncio.Event()
        self._spilled = asyncio.Event()
        self._closing = asyncio.Event()
        self._failures = 0
        self._pruned_at_s = float("-inf")

    def close(self) -> None:
        """Have both tasks end, in their order."""
        self._closing.set()
        self._rollup.begun.set()
        self._rollup.full.set()

    async def spill(self) -> None:
        """Make batches until it is closing, and then the last one."""
        try:
            while not self._closing.is_set():
                await self._rollup.begun.wait()
                await _within(self._writing.settings.flush_s, self._rollup.full)
                await self._cut()
            # What was counted while the batch before was written.
            await self._cut()
        finally:
            self._spilled.set()
            self._waiting.set()

    async def _cut(self) -> None:
        counted = self._rollup.cut()
        if counted:
            await self._keep(counted)

    async def _keep(self, counted: Counted) -> None:
        batch_id = _batch_id(self._writing.clock.utc())
        batch, dropped = await asyncio.to_thread(self._put, batch_id, counted)
        if batch is not None:
            self._tell("error", "usage cannot be spooled: no file can be written", 1)
            if len(self._held) >= HELD_LIMIT:
                self._held.popleft()
                dropped += 1
            self._held.append(batch)
        if dropped:
            self._tell("error", "usage was dropped: the spool is full", dropped)
        self._waiting.set()

    def _put(self, batch_id: str, counted: Counted) -> tuple[UsageBatch | None, int]:
        """On a thread: the batch if it is in no file, and how many had to go for it."""
        batch = UsageBatch(batch_id, rows_of(counted))
        try:
            return None, self._spool.put(batch)
        except OSError:
            return batch, 0

    async def deliver(self) -> None:
        """Add batches to the store until it is closing and nothing is left, or it takes none."""
        await _within(PAUSE_FIRST_S, self._spilled)
        if await asyncio.to_thread(self._spool.ids):
            self._waiting.set()
        while not (self._spilled.is_set() and (self._failures or not self._waiting.is_set())):
            await self._waiting.wait()
            self._waiting.clear()
            try:
                await self._empty()
            except Failure as failure:
                await self._failed(failure)
            else:
                if self._failures:
                    self._tell("info", "usage is written again", self._failures)
                self._failures = 0

    async def _empty(self) -> None:
        ids = await asyncio.to_thread(self._spool.ids)
        if not (ids or self._held):
            return
        store = await self._writing.open_store()
        while self._held:
            await self._add(store, self._held[0])
            self._held.popleft()
        for batch_id in ids:
            batch = await asyncio.to_thread(self._spool.read, batch_id)
            if batch is not None and await self._add(store, batch):
                await asyncio.to_thread(self._spool.remove, batch_id)
        await self._prune(store)

    async def _add(self, store: UsageAdder, batch: UsageBatch) -> bool:
        """Whether it is in the store; one that never can be is set aside. Raises a Failure."""
        oldest = _batch_id(self._writing.clock.utc() - IDS_KEPT, "")
        if batch.id < oldest:
            return await self._refuse(batch, "it is too old to be known again")
        try:
            await store.add(batch)
        except Invalid as refused:
            return await self._refuse(batch, refused.detail)
        return True

    async def _refuse(self, batch: UsageBatch, reason: str) -> bool:
        await asyncio.to_thread(self._spool.set_aside, batch.id)
        self._tell("error", f"a batch of usage was refused: {reason}", len(batch.rows))
        return False

    async def _failed(self, failure: Failure) -> None:
        if not self._failures:
            self._tell("warning", f"usage waits in files: {failure.detail}", 1)
        self._failures += 1
        pause_s = min(PAUSE_LAST_S, PAUSE_FIRST_S * 2.0 ** min(self._failures - 1, 10))
        await _within(pause_s, self._spilled)
        self._waiting.set()

    async def _prune(self, store: UsageAdder) -> None:
        clock = self._writing.clock
        if clock.now_s() - self._pruned_at_s < PRUNE_S:
            return
        self._pruned_at_s, now = clock.now_s(), clock.utc()
        oldest = now - timedelta(days=self._writing.settings.keep_days)
        await store.prune(int(oldest.timestamp()) // HOUR_S, _batch_id(now - IDS_KEPT, ""))

    def _tell(self, level: str, event: str, count: int) -> None:
        self._writing.telemetry.emit(Noted(level, event, (("count", str(count)),)))


def _batch_id(at: datetime, ending: str | None = None) -> str:
    """An id that sorts by its time."""
    chance = secrets.token_hex(8) if ending is None else ending
    return f"{int(at.timestamp() * 1_000_000):020d}-{chance}"


async def _within(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
