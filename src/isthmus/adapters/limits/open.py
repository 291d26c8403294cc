"""The limiter that the settings ask for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.core.beside import beside
from isthmus.core.policies import Reserver
from isthmus.core.ports import Clock, Telemetry
from isthmus.settings_limits import LimitsSettings
from isthmus.settings_sources import SettingsError


@asynccontextmanager
async def open_limiter(
    settings: LimitsSettings, clock: Clock, telemetry: Telemetry
) -> AsyncIterator[Reserver]:
    """Counters in this process or, with `limits.url`, those that all processes share.

    A store that is away is a fact and no fault: see `ValkeyLimiter`. Raises SettingsError for a
    URL that makes no sense, and where the client is not installed.
    """
    url = settings.url.get_secret_value()
    if not url:
        yield InProcessLimiter(clock)
        return
    try:
        # Loaded only where it is asked for: it takes as long as a tenth of the start.
        from isthmus.adapters.limits.link import SCRIPT, ValkeyLink  # noqa: PLC0415
        from isthmus.adapters.limits.valkey import ValkeyLimiter  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError("limits.url: install `isthmus[valkey]` to use it") from error
    script = await asyncio.to_thread(SCRIPT.read_text, "utf-8")
    try:
        link = ValkeyLink(url, settings.timeout_s, script)
    except ValueError as error:
        raise SettingsError("limits.url: must be a redis:// or valkey:// URL") from error
    limiter = ValkeyLimiter(link, settings, clock, telemetry)
    await limiter.look()
    try:
        async with beside(limiter.run()):
            yield limiter
    finally:
        await limiter.leave()
        await link.close()
