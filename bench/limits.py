"""Whether processes that share one store keep to their limits, and what that costs a call.

`python -m bench.limits` runs 8 processes with 500 clients for three minutes. In the middle the
store is killed, and started again a little later.
"""

import argparse
import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate, pairwise
from operator import itemgetter
from pathlib import Path
from statistics import median

import msgspec

from bench import replicas
from bench.machine import free_port, wait_for_port
from bench.plan import BIG, SMALL, Grant, Notes, Plan

SHARE = 0.1
START_S = 8.0
"""How long processes have to start."""
ASKED_MS = 0.2
TURNS = 12
"""Of each of two groups of servers that are compared."""
WARM_S = 20.0
"""Sixteen servers load what they load late, on two cores."""
PACE_S = 1.0
SETTLE_S = 1.0
"""How long after a kill or a start nothing is judged: it takes a moment to be noticed."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much of what."""

    processes: int
    clients: int
    seconds: float
    window_s: float
    scale: float = 1.0
    """Of the amounts: a whole server does less than a limiter alone."""

    @property
    def requests(self) -> int:
        """Calls a window: a part of what the clients would like."""
        return int(400 * self.scale * self.window_s)

    @property
    def tokens(self) -> int:
        """Tokens a window, of the other half of the clients."""
        return int(100_000 * self.scale * self.window_s)

    @property
    def slots(self) -> int:
        """Calls at once."""
        return self.clients // 2

    def rules(self) -> list[dict[str, object]]:
        """The limits."""
        window: dict[str, object] = {"window": self.window_s, "by": "instance"}
        calls = {"name": "calls", "amount": self.requests, "where": {"feature": SMALL}}
        tokens = {"name": "tokens", "amount": self.tokens, "where": {"feature": BIG}}
        slots: dict[str, object] = {"name": "at-once", "amount": self.slots}
        return [
            window | calls,
            window | tokens | {"counts": "tokens"},
            slots | {"counts": "concurrency"},
        ]


@dataclass(frozen=True, slots=True)
class Found:
    """Parts of amounts: 1.0 is exactly the amount. Waits in milliseconds, CPU in microseconds."""

    requests: float
    tokens: float
    slots: float
    used_requests: float
    used_tokens: float
    alone: float
    """The most that one process spent in a window while the store was away, of its share."""
    after: float
    p50_ms: float
    p99_ms: float
    lag_p99_ms: float
    """What the machine alone added to a nap, in the same processes."""
    asked: float
    """Part of the calls that waited for an answer at all."""
    calls: int
    refused: int
    noticed: int
    losses: int
    cpu_us: float


def measure(load: Load, folder: Path) -> Found:
    """Run it, with the kill in the middle."""
    store = _Store(folder)
    store.start()
    start_s = time.monotonic() + START_S
    end_s = start_s + load.seconds
    outs = [folder / f"notes-{number}" for number in range(load.processes)]
    plan = Plan(
        {"url": store.url, "rules": load.rules(), "local_share": SHARE, "retry_s": 0.5},
        load.clients // load.processes,
        start_s,
        end_s,
        "",
    )
    spenders: list[subprocess.Popen[bytes]] = []
    try:
        for out in outs:
            told = msgspec.json.encode(msgspec.structs.replace(plan, out=str(out))).decode()
            spenders.append(subprocess.Popen([sys.executable, "-m", "bench.spender", told]))
        killed_s = start_s + load.seconds / 2
        time.sleep(max(0.0, killed_s - time.monotonic()))
        killed_s = time.monotonic()
        store.kill()
        # This process may have been kept from running in between.
        dead_s = time.monotonic()
        time.sleep(load.seconds / 4)
        started_s = time.monotonic()
        store.start()
        for spender in spenders:
            if spender.wait(load.seconds + 60):
                raise RuntimeError("a process failed")
    finally:
        for spender in spenders:
            spender.kill()
            spender.wait()
        store.kill()
    notes = [msgspec.msgpack.decode(out.read_bytes(), type=Notes) for out in outs]
    return judge(load, notes, (start_s, killed_s, dead_s, started_s, end_s))


def measure_servers(load: Load, folder: Path) -> Found:
    """The same with real servers; waits are their own share of each answer."""
    store = _Store(folder)
    store.start()
    limits: dict[str, object] = {"url": store.url, "local_share": str(SHARE), "retry_s": "0.5"}
    limits["rules"] = replicas.rules(load.requests, load.tokens, load.window_s)
    try:
        with replicas.replicas(folder, load.processes, limits) as found:
            start_s = time.monotonic() + 1.0
            end_s = start_s + load.seconds
            plan = Plan({}, load.clients // load.processes, start_s, end_s, "")
            killed_s, started_s = start_s + load.seconds / 2, start_s + load.seconds * 3 / 4
            timers = [
                threading.Timer(killed_s - time.monotonic(), store.kill),
                threading.Timer(started_s - time.monotonic(), store.start),
            ]
            for timer in timers:
                timer.start()
            asyncio.run(replicas.drive(found, plan))
            for timer in timers:
                timer.join()
            times = (start_s, killed_s, killed_s + SETTLE_S, started_s, end_s)
            return judge(load, [one.notes for one in found], times)
    finally:
        store.kill()


@dataclass(frozen=True, slots=True)
class Added:
    """Milliseconds of calls at an even pace: with shared limits, and what that is more.

    Each figure is the median of what the turns had. `noise_p99_ms` is by how much the 99th
    percentiles of two turns without limits, one after the other, were apart.
    """

    calls: int
    p50_ms: float
    p99_ms: float
    added_p50_ms: float
    added_p99_ms: float
    own_added_p99_ms: float
    """Of the servers' own share of each answer."""
    noise_p99_ms: float


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one group of servers had in one turn: whole calls, and the servers' own share."""

    calls: int
    p50_ms: float
    p99_ms: float
    own_p99_ms: float


def measure_added(load: Load, folder: Path) -> Added:
    """The same calls at servers with shared limits, and at others without, by turns.

    The clients ask for less than the amounts: what a refused call takes is no cost to anybody.
    """
    store = _Store(folder)
    store.start()
    limits: dict[str, object] = {"url": store.url}
    limits["rules"] = replicas.rules(load.requests, load.tokens, load.window_s)
    plain, limited = folder / "plain", folder / "limited"
    plain.mkdir()
    limited.mkdir()
    try:
        with (
            replicas.replicas(plain, load.processes, {}) as without,
            replicas.replicas(limited, load.processes, limits) as within_limits,
        ):
            time.sleep(WARM_S)
            for group in (without, within_limits):
                _turn(group, load, WARM_S)
            seconds = load.seconds / 2 / TURNS
            turns: tuple[list[_Turn], list[_Turn]] = ([], [])
            # Neither always comes first: what the machine does in between is nobody's.
            for number in range(2 * TURNS):
                side = (number + 1) // 2 % 2
                turns[side].append(_turn((without, within_limits)[side], load, seconds))
    finally:
        store.kill()
    return _added(*turns)


def _turn(group: list[replicas.Replica], load: Load, seconds: float) -> _Turn:
    for one in group:
        one.notes = Notes()
    start_s = time.monotonic() + 0.5
    plan = Plan({}, load.clients // load.processes, start_s, start_s + seconds, "", PACE_S)
    asyncio.run(replicas.drive(group, plan))
    if sum(one.notes.refused for one in group):
        raise RuntimeError("a call was refused: the amounts are too small")
    took = sorted(s * 1000 for one in group for s in one.notes.took_s)
    own = sorted(s * 1000 for one in group for s in one.notes.waits_s)
    return _Turn(len(took), median(took), _p99(took), _p99(own))


def _added(without: Sequence[_Turn], within_limits: Sequence[_Turn]) -> Added:
    def middle(turns: Sequence[_Turn]) -> tuple[float, ...]:
        figures = ((one.p50_ms, one.p99_ms, one.own_p99_ms) for one in turns)
        return tuple(median(each) for each in zip(*figures, strict=True))

    base, found = middle(without), middle(within_limits)
    noise = median(abs(one.p99_ms - two.p99_ms) for one, two in pairwise(without))
    added = [one - two for one, two in zip(found, base, strict=True)]
    calls = sum(one.calls for one in within_limits)
    return Added(calls, found[0], found[1], added[0], added[1], added[2], noise)


def _p99(sorted_ms: Sequence[float]) -> float:
    return sorted_ms[int(len(sorted_ms) * 0.99)]


class _Store:
    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        if program is None:
            raise SystemExit("neither valkey-server nor redis-server is installed")
        told = [
            "--port",
            str(self._port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        self._process = subprocess.Popen(
            [program, *told], cwd=self._folder, stdout=subprocess.DEVNULL
        )
        wait_for_port(self._port)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


def judge(load: Load, notes: Sequence[Notes], times: tuple[float, ...]) -> Found:
    """What the notes say, before the kill, between, and after."""
    start_s, killed_s, dead_s, started_s, end_s = times
    requests = [grant for one in notes for grant in one.requests]
    tokens = [grant for one in notes for grant in one.tokens]
    running = sorted(moment for one in notes for moment in one.running if moment[0] < killed_s)
    window_s = load.window_s
    alone = max(
        most(within(each, dead_s + SETTLE_S, started_s), window_s) / (amount * SHARE)
        for one in notes
        for each, amount in ((one.requests, load.requests), (one.tokens, load.tokens))
    )
    after = max(
        most(within(each, started_s + SETTLE_S, end_s), window_s) / amount
        for each, amount in ((requests, load.requests), (tokens, load.tokens))
    )
    first_s = min(granted_s for _, granted_s, _ in requests)
    windows = (killed_s - first_s) / window_s
    waits = sorted(wait_s * 1000 for one in notes for wait_s in one.waits_s)
    lags = sorted([0.0, *(lag_s * 1000 for one in notes for lag_s in one.lags_s)])
    return Found(
        requests=most(within(requests, start_s, killed_s), window_s) / load.requests,
        tokens=most(within(tokens, start_s, killed_s), window_s) / load.tokens,
        slots=max(accumulate((by for _, by in running), initial=0)) / load.slots,
        used_requests=_sum(within(requests, start_s, killed_s)) / load.requests / windows,
        used_tokens=_sum(within(tokens, start_s, killed_s)) / load.tokens / windows,
        alone=alone,
        after=after,
        p50_ms=waits[len(waits) // 2],
        p99_ms=waits[int(len(waits) * 0.99)],
        lag_p99_ms=lags[int(len(lags) * 0.99)],
        asked=sum(wait > ASKED_MS for wait in waits) / len(waits),
        calls=len(waits),
        refused=sum(one.refused for one in notes),
        noticed=sum(1 for one in notes if one.lost and not one.lost[-1][1]),
        losses=sum(lost for one in notes for _, lost in one.lost),
        cpu_us=sum(one.cpu_s for one in notes) / len(waits) * 1e6,
    )


def within(grants: Iterable[Grant], from_s: float, to_s: float) -> list[Grant]:
    """Those that were asked for and granted between two times."""
    return [grant for grant in grants if from_s <= grant[0] and grant[1] < to_s]


def most(grants: Iterable[Grant], window_s: float) -> int:
    """The most units of which it is certain that one window held them."""
    total = best = 0
    held: list[tuple[float, int]] = []
    for asked_s, granted_s, units in sorted(grants, key=itemgetter(1)):
        total += units
        heappush(held, (asked_s, units))
        while held and held[0][0] <= granted_s - window_s:
            total -= heappop(held)[1]
        best = max(best, total)
    return best


def _sum(grants: Iterable[Grant]) -> int:
    return sum(units for *_, units in grants)


def main() -> None:
    """Measure, and print the figures."""
    arguments = argparse.ArgumentParser(prog="python -m bench.limits")
    arguments.add_argument("--processes", type=int, default=8)
    arguments.add_argument("--clients", type=int, default=500)
    arguments.add_argument("--seconds", type=float, default=180.0)
    arguments.add_argument("--window", type=float, default=10.0)
    arguments.add_argument("--servers", action="store_true", help="real servers")
    arguments.add_argument("--added", action="store_true", help="what calls take for it")
    told = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-limits-"))
    try:
        scale = 100.0 if told.added else 0.2 if told.servers else 1.0
        load = Load(told.processes, told.clients, told.seconds, told.window, scale)
        run = measure_added if told.added else measure_servers if told.servers else measure
        found = run(load, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(msgspec.to_builtins(found), indent=2))


if __name__ == "__main__":
    main()
