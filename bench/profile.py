"""Where a request's CPU time goes, stage by stage: `python -m bench.profile [completion|proxy]`.

The real server runs under the standard profiler while wrk drives it. Shares are of the profiled
time; the microseconds spread the CPU time that an unprofiled run takes a request over them.
"""

import cProfile
import os
import pstats
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import cast

from bench.__main__ import COMPLETION, MESSAGE, providers
from bench.machine import SERVER_CORE, cpu_s, post, require, wait_for_http, wrk
from bench.server import isthmus
from bench.upstream import mock_upstream

STAGES = (
    ("uvicorn", "HTTP server"),
    ("httptools", "HTTP server"),
    ("starlette", "routing and replies (Starlette)"),
    ("isthmus/edge/http/auth", "authentication"),
    ("isthmus/auth", "authentication"),
    ("isthmus/edge", "edge: layers, wire, errors"),
    ("isthmus/gateway", "use case"),
    ("isthmus/prompts", "prompts"),
    ("isthmus/routing", "models: choice, facts"),
    ("isthmus/adapters/providers", "provider: dialect, framing"),
    ("isthmus/adapters/outbound", "outbound HTTP client"),
    ("isthmus/adapters/telemetry", "telemetry"),
    ("isthmus/redaction", "telemetry"),
    ("isthmus/core", "core"),
    ("prometheus_client", "telemetry"),
    ("jinja2", "prompts"),
)
Key = tuple[str, int, str]
Figures = tuple[int, int, float, float, dict[Key, tuple[int, int, float, float]]]


def main() -> None:
    """Profile one route and print the table."""
    if sys.argv[1:2] == ["serve"]:
        _serve(sys.argv[2])
        return
    require("wrk", "nginx", "taskset")
    route = sys.argv[1] if len(sys.argv) > 1 else "completion"
    with tempfile.TemporaryDirectory(prefix="profile-") as name:
        folder = Path(name)
        with mock_upstream(folder) as upstream:
            settings = providers(f"http://127.0.0.1:{upstream}")
            with isthmus(folder, extra=settings) as server:
                url, script = _load(route, server.port, server.headers)
                wrk(url, script, 8, folder, seconds=2)
                before_s = cpu_s(server.pid)
                load = wrk(url, script, 40, folder, seconds=4)
                per_request_us = (cpu_s(server.pid) - before_s) * 1e6 / (load.rps * 4)
            stats = _profiled(folder, route, settings)
    _print(stats, per_request_us)


def _load(route: str, port: int, headers: dict[str, str]) -> tuple[str, str]:
    if route == "proxy":
        return f"http://127.0.0.1:{port}/v1/proxy/anthropic/v1/messages", post(MESSAGE, headers)
    return f"http://127.0.0.1:{port}/v2/code/completions", post(COMPLETION, headers)


def _profiled(folder: Path, route: str, settings: dict[str, str]) -> dict[Key, Figures]:
    dump = folder / "profile"
    with isthmus(folder, extra=settings) as donor:
        headers, port = donor.headers, donor.port
    environment = dict(os.environ) | settings
    environment |= {
        "ISTHMUS_DATA_DIR": str(folder / "var"),
        "ISTHMUS_HTTP__PORT": str(port),
        "ISTHMUS_HTTP__METRICS_PORT": "0",
        "ISTHMUS_TRANSPORTS": "http",
        "ISTHMUS_LOGGING__FILE": str(folder / "profiled.log"),
    }
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "bench.profile", "serve"]
    process = subprocess.Popen([*command, str(dump)], env=environment, stdout=subprocess.DEVNULL)
    wait_for_http(f"http://127.0.0.1:{port}/monitoring/ready")
    url, script = _load(route, port, headers)
    wrk(url, script, 40, folder, seconds=1)
    process.send_signal(signal.SIGUSR1)
    wrk(url, script, 40, folder, seconds=5)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    # The standard library's stubs do not know `stats`.
    return cast("dict[Key, Figures]", vars(pstats.Stats(str(dump)))["stats"])


def _serve(dump: str) -> None:
    from isthmus.cli.main import main as command  # noqa: PLC0415 - imports are not profiled

    profile = cProfile.Profile(time.process_time)
    # The start is not what is asked about: the parent says when requests come.
    signal.signal(signal.SIGUSR1, lambda _number, _frame: profile.enable())
    try:
        command(["server"])
    finally:
        profile.disable()
        profile.dump_stats(dump)


def _print(stats: dict[Key, Figures], per_request_us: float) -> None:
    shares: dict[str, float] = defaultdict(float)
    for key, (_, _, own_s, _, callers) in stats.items():
        if key[0] == "~" and callers:
            for caller, figures in callers.items():
                shares[_stage(caller)] += figures[2]
        else:
            shares[_stage(key)] += own_s
    total = sum(shares.values())
    print(f"{per_request_us:.0f} microseconds of CPU a request\n")
    for stage, seconds in sorted(shares.items(), key=lambda item: -item[1]):
        share = seconds / total
        print(f"{stage:34s} {share * 100:5.1f} %  {share * per_request_us:6.1f} us")


def _stage(key: Key) -> str:
    for part, stage in STAGES:
        if part in key[0]:
            return stage
    return "event loop and the rest"


if __name__ == "__main__":
    main()
