"""Prunes sessions that nobody has touched for days, each hour, for as long as the server runs."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from isthmus.core.errors import Failure
from isthmus.core.events import Noted
from isthmus.core.ports import Clock, Telemetry
from isthmus.platform.prune import Pruning

HOUR_S: Final = 3_600.0
_OVERLAP: Final = timedelta(seconds=1)


async def prune_old(
    pruning: Pruning,
    days: int,
    clock: Clock,
    telemetry: Telemetry,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Prune what is older than `days`, each session once; ends if they are 0.

    A round that failed is told of, and begun again.
    """
    after: datetime | None = None
    while days:
        before = clock.utc() - timedelta(days=days)
        try:
            await _round(pruning, before, after, telemetry)
        except Failure as failure:
            told = (("failure", type(failure).__name__),)
            telemetry.emit(Noted("warning", "Old sessions could not be pruned.", told))
        else:
            after = before - _OVERLAP
        await pause(HOUR_S)


async def _round(
    pruning: Pruning, before: datetime, after: datetime | None, telemetry: Telemetry
) -> None:
    pruned = [each.steps async for each in pruning.idle(before, after) if each.steps]
    if pruned:
        counted = (("sessions", str(len(pruned))), ("steps", str(sum(pruned))))
        telemetry.emit(Noted("info", "Old sessions were pruned.", counted))
