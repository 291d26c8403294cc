"""Warns of open doors: at the start and each hour, for as long as the server runs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from isthmus.auth.bypass import MEANING
from isthmus.core.events import Noted
from isthmus.core.ports import Telemetry

HOUR_S: Final = 3_600.0
WARNING: Final = "Authentication is weakened; never run this way where others reach it."


async def remind(
    names: Sequence[str],
    telemetry: Telemetry,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Tell of the settings that weaken authentication, now and after each hour; ends if none do."""
    details = tuple((name, MEANING[name]) for name in names)
    while details:
        telemetry.emit(Noted("warning", WARNING, details))
        await pause(HOUR_S)
