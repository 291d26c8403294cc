"""What two cores hold: one for the server, one for its callers and the model that they wait for.

`python -m bench.capacity`: calls at once to a model that takes a second, and streams at once of
200 tokens, more and more of each until a bound is passed. It is written into
`bench/CAPACITY.md`, from which `docs/guide/sizing.md` calculates.
"""

import argparse
import asyncio
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import streams
from bench.machine import (
    CLIENT_CORE,
    Load,
    require,
    tree_rss_mb,
)
from bench.server import isthmus
from bench.upstream import COMPLETION_STREAM
from bench.vendor import Vendor, beside, serve

OUT = Path(__file__).parent / "CAPACITY.md"
CALLS = (40, 250, 500, 1000, 1500, 2000, 3000)
STREAMS = (100, 200, 500, 750, 1000)
ADDED_P99_MS = 50.0
STALL_MS = 100.0
MODEL_S = 1.0
CALLS_EACH = 10
WARM_S = 5.0
"""What is loaded late is loaded by then; calls are measured with connections that are open."""
BODY = (
    '{"prompt_version":1,"current_file":{"file_name":"a.py","content_above_cursor":"'
    + "# a line of context\\n" * 48
    + 'def add(a, b):\\n    ","content_below_cursor":"\\n"}}'
)
_ANSWER = COMPLETION_STREAM.encode()
_REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b" % (
    len(_ANSWER),
    _ANSWER,
)


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls at once: what they took beyond the model itself."""

    direct: Load
    ours: Load
    rss_mb: float

    @property
    def added_p99_ms(self) -> float:
        """Milliseconds at the 99th percentile."""
        return self.ours.p99_ms - self.direct.p99_ms

    @property
    def held(self) -> bool:
        """Whether nothing failed, and nobody waited for us for long."""
        return self.ours.errors == 0 and self.added_p99_ms <= ADDED_P99_MS


@dataclass(frozen=True, slots=True)
class Running:
    """Streams at once: the slowest first byte of a hundred, and the longest stall, in ms."""

    connections: int
    streams: int
    first_p99_ms: float
    stall_ms: float
    direct_stall_ms: float
    rss_mb: float

    @property
    def held(self) -> bool:
        """Whether every stream ran."""
        return self.stall_ms <= STALL_MS


def main() -> None:
    """Measure both, and write the page."""
    if sys.argv[1:2] == ["model"]:
        serve(_Slow, int(sys.argv[2]))
        return
    arguments = argparse.ArgumentParser(prog="python -m bench.capacity")
    arguments.add_argument("--calls", type=int, nargs="*", default=CALLS, metavar="N")
    arguments.add_argument("--streams", type=int, nargs="*", default=STREAMS, metavar="N")
    chosen = arguments.parse_args()
    require("taskset")
    os.sched_setaffinity(0, {CLIENT_CORE})
    with tempfile.TemporaryDirectory(prefix="capacity-") as name:
        calls = _calls(Path(name), chosen.calls)
        running = _streams(Path(name), chosen.streams)
    OUT.write_text(_page(calls, running), encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


def _calls(folder: Path, levels: Sequence[int]) -> list[Calls]:
    found: list[Calls] = []
    with beside("bench.capacity") as port:
        for level in levels:
            direct = uvloop.run(_waves(port, "/v1/completions", {}, level))
            # A server for each level: what it holds in memory is this level's alone.
            with isthmus(folder, extra=streams.settings(port)) as server:
                path = "/v2/code/completions"
                time.sleep(WARM_S)
                uvloop.run(_waves(server.port, path, server.headers, level))
                ours = uvloop.run(_waves(server.port, path, server.headers, level))
                found.append(Calls(direct, ours, tree_rss_mb(server.pid)))
            print(found[-1], flush=True)
            if not found[-1].held:
                break
    return found


async def _waves(port: int, path: str, headers: dict[str, str], at_once: int) -> Load:
    """So many callers, each with one call after another, spread over a call's time."""
    lines = [f"POST {path} HTTP/1.1", "host: bench", f"content-length: {len(BODY)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = "\r\n".join([*lines, "", BODY]).encode()
    spread = random.Random(7)  # noqa: S311 - the same moments in every run
    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_caller(port, request, spread.random() * MODEL_S))
            for _ in range(at_once)
        ]
    took = sorted(one for task in tasks for one in task.result())
    errors = at_once * CALLS_EACH - len(took)
    rps = len(took) / (time.perf_counter() - began_s)
    return Load(at_once, rps, _ms(took, 0.5), _ms(took, 0.99), errors)


async def _caller(port: int, request: bytes, wait_s: float) -> list[float]:
    """How long each call took that was answered."""
    await asyncio.sleep(wait_s)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took: list[float] = []
    for _ in range(CALLS_EACH):
        since_s = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        if head.startswith(b"HTTP/1.1 200"):
            took.append(time.perf_counter() - since_s)
    writer.close()
    return took


def _ms(took: Sequence[float], part: float) -> float:
    return took[int(len(took) * part)] * 1e3 if took else 0.0


def _streams(folder: Path, levels: Sequence[int]) -> list[Running]:
    found: list[Running] = []
    for level in levels:
        with (
            streams.paced() as port,
            isthmus(folder, extra=streams.settings(port)) as server,
        ):
            direct = uvloop.run(streams.load(port, "/v1/completions", {}, b"{}", level))
            load = streams.load(server.port, streams.PATH, server.headers, streams.BODY, level)
            seen = uvloop.run(load)
            firsts = sorted(each.first_byte_s for each in seen)
            found.append(
                Running(
                    level,
                    len(seen),
                    firsts[int(len(firsts) * 0.99)] * 1e3,
                    _stall_ms(seen),
                    _stall_ms(direct),
                    tree_rss_mb(server.pid),
                )
            )
        print(found[-1], flush=True)
        if not found[-1].held:
            break
    return found


def _stall_ms(seen: Sequence[streams.Seen]) -> float:
    return (max(each.longest_gap_s for each in seen) - streams.PACE_S) * 1e3


def _page(calls: Sequence[Calls], running: Sequence[Running]) -> str:
    lines = [
        "# What two cores hold",
        "",
        f"`python -m bench.capacity`; Python {platform.python_version()}, one process on one core,",
        "callers and model on the other. Tokens are verified, requests are logged and counted.",
        "",
        f"A model that takes {MODEL_S:g} s, asked for completions; held while nothing fails and at",
        f"most {ADDED_P99_MS:g} ms are added at the 99th percentile:",
        "",
        "| Calls at once | Requests/s | p50 ms | p99 ms | Added p99 ms | Errors | RSS MB | Held |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.ours.connections:,} | {each.ours.rps:,.0f} | {each.ours.p50_ms:,.0f} "
        f"| {each.ours.p99_ms:,.0f} | {each.added_p99_ms:.1f} | {each.ours.errors} "
        f"| {each.rss_mb:.0f} | {'yes' if each.held else 'no'} |"
        for each in calls
    ]
    lines += [
        "",
        f"Streams of {streams.TOKENS} tokens, one each {streams.PACE_S * 1e3:g} ms; held while no",
        f"token comes more than {STALL_MS:g} ms late. Beside it, the latest of the model's own:",
        "",
        "| Streams at once | Seen | First byte p99 ms | Stall ms | Model's ms | RSS MB | Held |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.connections:,} | {each.streams:,} | {each.first_p99_ms:.1f} "
        f"| {each.stall_ms:.1f} | {each.direct_stall_ms:.1f} "
        f"| {each.rss_mb:.0f} | {'yes' if each.held else 'no'} |"
        for each in running
    ]
    return "\n".join([*lines, ""])


class _Slow(Vendor):
    """Answers every request after a second."""

    def asked(self) -> None:
        asyncio.get_running_loop().call_later(MODEL_S, self.write, _REPLY)


if __name__ == "__main__":
    main()
