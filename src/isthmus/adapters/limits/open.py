"""The limiter that the settings ask for."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.core.policies import Reserver
from isthmus.core.ports import Clock, Telemetry
from isthmus.settings_limits import LimitsSettings
from isthmus.settings_sources import SettingsError


@asynccontextmanager
async def open_limiter(
    settings: LimitsSettings,
    clock: Clock,
    telemetry: Telemetry,
    trust: Callable[[], ssl.SSLContext] | None = None,
) -> AsyncIterator[Reserver]:
    """Counters in this process or, with `limits.url`, those that all processes share.

    `trust` reads who vouches for a store that is reached by TLS. A store that is away is a fact and
    no fault: see `ValkeyLimiter`. Raises SettingsError for a URL that makes no sense, and where the
    client is not installed.
    """
    url = settings.url.get_secret_value()
    if not url:
        yield InProcessLimiter(clock)
        return
    try:
        from isthmus.adapters.limits.valkey import open_valkey  # noqa: PLC0415 - an extra, and slow
    except ImportError as error:
        raise SettingsError("limits.url: install `isthmus[valkey]` to use it") from error
    secure = trust is not None and urlsplit(url).scheme in {"rediss", "valkeys"}
    context = await asyncio.to_thread(trust) if trust is not None and secure else None
    async with open_valkey(settings, clock, telemetry, context) as limiter:
        yield limiter
