"""Usage and cost: facts -> rows in the database, whichever transports this process serves.

What counts is loaded when there is something to count, so that the start does not wait for it.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from isthmus.adapters.telemetry.pipeline import Sink, Told
from isthmus.app.database import database_file
from isthmus.app.foundation import Foundation
from isthmus.app.late import Late
from isthmus.core.beside import beside
from isthmus.core.errors import Unavailable
from isthmus.core.events import ModelCalled, SuggestionAsked, SuggestionJudged
from isthmus.settings import SettingsError

if TYPE_CHECKING:  # loaded late
    from isthmus.app.stores import Stores
    from isthmus.core.usage import UsageAdder

FOLDER: Final = "usage"
LOAD_S: Final = 10.0
"""When what an earlier process left behind is looked for, if nothing is counted before."""
PATIENCE_S: Final = 600.0
"""How long files wait for somebody else to make the database, before it is made for them."""
LOOK_S: Final = 5.0
DRAIN_S: Final = 5.0
_COUNTED: Final = frozenset({ModelCalled, SuggestionAsked, SuggestionJudged})


class Early:
    """A sink that keeps what is to be counted until somebody counts it."""

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self._kept: list[Told] = []
        self._sink: Sink = self._keep

    def take(self, batch: Sequence[Told]) -> None:
        """Keep it, or hand it on."""
        self._sink(batch)

    def hand_over(self, sink: Sink) -> None:
        """What was kept, and all that comes, is the sink's."""
        kept, self._kept, self._sink = self._kept, [], sink
        sink(kept)

    @property
    def idle(self) -> bool:
        """Whether nothing is kept."""
        return not self._kept

    def _keep(self, batch: Sequence[Told]) -> None:
        self._kept += [told for told in batch if type(told[2]) in _COUNTED]
        if self._kept:
            self.wanted.set()


@asynccontextmanager
async def open_usage(foundation: Foundation, stores: "Late[Stores]") -> AsyncIterator[None]:
    """Count from now on. The database is opened when there is something to write."""
    if not foundation.settings.usage.enabled:
        yield
        return
    early, closing = Early(), asyncio.Event()
    foundation.telemetry.join(early.take)
    async with beside(_count(foundation, stores, early, closing)) as tasks:
        try:
            yield
        finally:
            # What was told last is counted as well.
            foundation.telemetry.drain()
            closing.set()
            early.wanted.set()
            await asyncio.wait(tasks)


async def _count(
    foundation: Foundation, stores: "Late[Stores]", early: Early, closing: asyncio.Event
) -> None:
    await _within(LOAD_S, early.wanted)
    if closing.is_set() and early.idle:
        return
    await asyncio.to_thread(importlib.import_module, "isthmus.adapters.usage.writer")
    from isthmus.adapters.stores.usage_lite import LiteUsage  # noqa: PLC0415 - late
    from isthmus.adapters.usage.rollup import Rollup  # noqa: PLC0415 - late
    from isthmus.adapters.usage.spool import Spool  # noqa: PLC0415 - late
    from isthmus.adapters.usage.writer import Writing, open_writer  # noqa: PLC0415 - late

    settings = foundation.settings
    file = database_file(settings)
    lite = None if file is None else LiteUsage(file)
    patient_until_s = foundation.clock.now_s() + PATIENCE_S

    async def opened() -> "UsageAdder":
        # Who is only to serve HTTP does without the stores as long as that is possible.
        while lite is not None and stores.opened is None:
            if await lite.usable():
                return lite
            if closing.is_set() or foundation.clock.now_s() > patient_until_s:
                break
            await _within(LOOK_S, closing)
        try:
            return (await stores.get()).usage
        except SettingsError as error:
            raise Unavailable("The database cannot be opened.") from error

    spool = Spool(settings.data_dir / FOLDER, settings.usage.spool_limit_bytes)
    rollup = Rollup(tokens=settings.usage.tokens)
    writing = Writing(spool, opened, foundation.clock, foundation.telemetry, settings.usage)
    async with open_writer(rollup, writing, min(DRAIN_S, settings.drain.deadline_s)):
        early.hand_over(rollup.take)
        await closing.wait()


async def _within(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
