"""A real server under a steady load: its memory stays, and everything it opened is closed again.

`SOAK_SECONDS` is how long; `make test-long` takes ten minutes. Without it there is nothing to see.
"""

import asyncio
import os
import random
import re
import urllib.request
from pathlib import Path

import pytest

from tests.faults.stand import KEY
from tests.soak.load import LEAVING, Load, play
from tests.soak.readings import MIB, Reading, grown_mib, read, slope_mib_h
from tests.support.faulty_upstream import faulty_upstream
from tests.support.process import RunningServer, prepare, start

SECONDS = float(os.environ.get("SOAK_SECONDS", "0"))
RATE = int(os.environ.get("SOAK_RATE", "100"))
LONG_S = 600.0
"""From here on the slope of memory is a figure."""
BURST_S, WARM_S = 60.0, 240.0
"""Until everything is full that has a bound. Of the burst, which keeps as many at once as there
ever are: 10,000 labels (callers, affinities, the hour's labels of usage), the languages of the last
16,384 suggestions, the allocators' room for what is under way. Then what the burst left is gone.
"""
BURST_RATE = 2_000
"""More than any machine answers: only how many there are at once limits it."""
SLOPE_MIB_H = 1.0
GROWN_MIB = 1.0
"""From the beginning of a soak to its end, however long: a single step has no slope."""
SETTLE_S = 60.0
_GAUGE = re.compile(r"^model_inferences_in_flight\{[^}]*\} ([0-9.]+)$", re.MULTILINE)
SCOPES = ("complete_code", "generate_code", "ai_gateway_model_provider_proxy")


def _environment(upstream: str, folder: Path) -> dict[str, str]:
    return {
        "ISTHMUS_PROVIDERS__ANTHROPIC__API_KEY": KEY.get_secret_value(),
        "ISTHMUS_PROVIDERS__ANTHROPIC__BASE_URL": upstream,
        "ISTHMUS_TRANSPORTS": "http",
        "ISTHMUS_GATEWAY__SUGGESTIONS_PER_MINUTE": "0",
        "ISTHMUS_LOGGING__FILE": str(folder / "isthmus.log"),
    }


async def _watched(pid: int, readings: list[Reading]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        readings.append(await asyncio.to_thread(read, pid, loop.time()))
        await asyncio.sleep(1)


def _in_flight(server: RunningServer) -> float:
    url = f"http://127.0.0.1:{server.metrics}/metrics"
    with urllib.request.urlopen(url, timeout=10) as reply:
        return sum(float(value) for value in _GAUGE.findall(reply.read().decode()))


async def _settled(server: RunningServer, before: Reading) -> Reading:
    """The first reading that has no more sockets than the start, or the last one."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + SETTLE_S
    while True:
        now = await asyncio.to_thread(read, server.process.pid, loop.time())
        if now.sockets <= before.sockets or loop.time() > until_s:
            return now
        await asyncio.sleep(0.5)


@pytest.mark.skipif(not SECONDS, reason="SOAK_SECONDS says for how long")
async def test_a_steady_load_leaves_nothing_behind(tmp_path: Path) -> None:
    async with faulty_upstream() as upstream:
        play(upstream)
        settings = _environment(upstream.url, tmp_path)
        server = await asyncio.to_thread(prepare, tmp_path, settings)
        # Else the server makes its database late, and loads what makes it: that is no leak.
        made = await asyncio.to_thread(server.command, "users", "list")
        assert made.returncode == 0, made.stderr
        await asyncio.to_thread(start, server)
        try:
            await _soaked(server)
        finally:
            await asyncio.to_thread(server.stop)


def _sketch(readings: list[Reading]) -> str:
    step = max(1, len(readings) // 20)
    return " ".join(f"{one.resident_bytes / MIB:.1f}" for one in readings[::step])


async def _soaked(server: RunningServer) -> None:
    loop = asyncio.get_running_loop()
    # Its token outlives the soak.
    headers = await asyncio.to_thread(server.headers, *SCOPES, ttl_s=SECONDS + 3600)
    headers |= {"x-gitlab-unit-primitive": "ai_gateway_model_provider_proxy"}
    load = Load(server.http, headers, random.Random(5))  # noqa: S311 - the same mix every time
    # The first requests open what stays open: idle connections, threads, caches.
    await load.run(10, 2)
    before = await asyncio.to_thread(read, server.process.pid, loop.time())
    if SECONDS >= LONG_S:
        await load.run(BURST_RATE, BURST_S)
        await load.run(RATE, WARM_S)
    load.statuses.clear()
    readings: list[Reading] = []
    watch = asyncio.ensure_future(_watched(server.process.pid, readings))
    try:
        await load.run(RATE, SECONDS)
    finally:
        watch.cancel()
    end = await _settled(server, before)
    slope, asked = slope_mib_h(readings), sum(load.statuses.values())
    print(  # noqa: T201 - it is what one looks at
        f"\n{load.statuses}\n{asked / SECONDS:.0f} requests/s\n"
        f"resident: {before.resident_bytes / MIB:.1f} MiB at the start, "
        f"{max(one.resident_bytes for one in readings) / MIB:.1f} at most, "
        f"{end.resident_bytes / MIB:.1f} at the end; "
        f"slope {slope:.2f} MiB/h, {grown_mib(readings):.2f} MiB in all\n"
        f"sockets: {before.sockets}, {max(one.sockets for one in readings)}, {end.sockets}; "
        f"threads: {before.threads}, {end.threads}\n"
        f"resident by time, MiB: {_sketch(readings)}"
    )
    assert load.statuses["200"] + load.statuses["left"] == asked, load.statuses
    assert load.statuses["left"] > asked * LEAVING / 2
    assert end.sockets <= before.sockets
    assert await asyncio.to_thread(_in_flight, server) == 0
    if SECONDS >= LONG_S:
        assert slope < SLOPE_MIB_H
        assert grown_mib(readings) < GROWN_MIB
