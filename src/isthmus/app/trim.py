"""Gives memory back that bursts have left, each minute, for as long as the server runs.

glibc keeps what was freed among what is in use: a large body, or a large batch in a thread, would
make the process larger for good. Other C libraries give back by themselves.
"""

import asyncio
import ctypes
from collections.abc import Awaitable, Callable
from typing import Final

MINUTE_S: Final = 60.0


def trim_heap() -> bool:
    """Have the C library give back the pages that it does not need; False when it cannot be told.

    It takes some milliseconds, in which other threads wait only when they need memory of their own.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True


async def keep_small(
    trim: Callable[[], bool] = trim_heap,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Trim after each minute; ends where there is nothing to be done."""
    while True:
        await pause(MINUTE_S)
        if not await asyncio.to_thread(trim):
            return
