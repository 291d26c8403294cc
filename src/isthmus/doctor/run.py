"""Runs every check at once, each within its time."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from isthmus.adapters.outbound.client import open_client
from isthmus.app.foundation import SystemClock
from isthmus.doctor.case import Asked, Case, Check
from isthmus.doctor.checks import (
    clock,
    database,
    disk,
    egress,
    files,
    instance,
    issuers,
    keys,
    limiter,
    listeners,
    mcp,
    models,
    modes,
    platform,
    process,
    tls,
    token,
    variables,
    via,
)
from isthmus.doctor.finding import Finding, Subject
from isthmus.settings import Settings, SettingsError
from isthmus.settings_group import NONE

CHECKS: tuple[tuple[str, Check], ...] = (
    ("settings", variables.check),
    ("modes", modes.check),
    ("files", files.check),
    ("disk", disk.check),
    ("keys", keys.check),
    ("tls", tls.check),
    ("listeners", listeners.check),
    ("process", process.check),
    ("issuers", issuers.check),
    ("token", token.check),
    ("models", models.check),
    ("database", database.check),
    ("limits", limiter.check),
    ("platform", platform.check),
    ("mcp", mcp.check),
    ("instance", instance.check),
    ("egress", egress.check),
    ("via", via.check),
)
"""In the order of the report. The clock is judged by what these were answered."""

REPORT_S = 1.0
"""Of the whole time, what starting and telling may take."""


async def examine(
    settings: Settings,
    sources: Mapping[str, str],
    environ: Mapping[str, str],
    asked: Asked,
    limit_s: float,
) -> tuple[Finding, ...]:
    """Look at everything, in at most `limit_s`."""
    began_s = time.monotonic()
    system = SystemClock()
    async with AsyncExitStack() as stack:
        trust: list[Finding] = []
        try:
            client = await stack.enter_async_context(open_client(settings.outbound, system))
        except SettingsError as error:
            # What is wrong with the proxy, the check of egress tells.
            faults = [one for one in error.faults if "proxy_url" not in one]
            trust = [_untrusted(fault) for fault in faults]
            plain = settings.outbound.model_copy(
                update={
                    **{"ca_file": None, "ca_only": False, "client_cert_file": None},
                    "proxy_url": NONE,
                }
            )
            client = await stack.enter_async_context(open_client(plain, system))
        each_s = max(limit_s - REPORT_S - (time.monotonic() - began_s), 0.5)
        watched = clock.watched(client)
        began = each_s, system.now_s()
        case = Case(settings, sources, environ, asked, system, watched, *began)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_bounded(name, check, case)) for name, check in CHECKS]
        found = [*trust, *(one for task in tasks for one in task.result())]
        found += await _bounded("clock", clock.check, case)
    return tuple(found)


async def _bounded(name: str, check: Check, case: Case) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(case.limit_s):
            return await check(case)
    except TimeoutError:
        cause = f"the check did not end within {case.limit_s:.0f} s"
        mend = "isthmus doctor --timeout 60"
        return [Subject(name, "the whole check").fail(cause, "", mend)]
    except Exception as bug:  # noqa: BLE001 - one check that breaks must not hide what others found
        cause = f"the check itself broke ({type(bug).__name__})"
        return [Subject(name, "the whole check").fail(cause, "", "report this as a bug")]


def _untrusted(fault: str) -> Finding:
    setting, _, cause = fault.partition(": ")
    mend = "name a PEM file that this user can read, or leave the setting out"
    return Subject("trust", "certificates of outbound calls").fail(cause, setting, mend)
