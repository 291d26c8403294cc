"""Cores, ports, memory and load: what every measurement needs."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))
SERVER_CORE = 0
CLIENT_CORE = 1
IDLE = 1_000
"""How many of what waits a driver opens at a time."""
REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"errors":%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw: requests a second, milliseconds, and the server's CPU a request."""

    connections: int
    rps: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: float = 0.0
    requests: int = 0


def require(*programs: str) -> None:
    """Fail early, naming the Debian package that is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise SystemExit(f"make bench needs {', '.join(missing)} (Debian packages of these names)")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, limit_s: float = 60.0) -> None:
    """Return once something accepts on the port."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise SystemExit(f"nothing listens on {port} after {limit_s} s")


def wait_for_http(url: str, limit_s: float = 90.0) -> float:
    """Seconds until the URL answers below 500."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit_s:
        try:
            with urllib.request.urlopen(url, timeout=1) as reply:  # noqa: S310 - own URL
                if reply.status < 500:
                    return time.monotonic() - begin
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return time.monotonic() - begin
        except OSError:
            pass
        time.sleep(0.005)
    raise SystemExit(f"{url} does not answer after {limit_s} s")


def tree(pid: int) -> list[int]:
    """A process and all its children."""
    pids, queue = [pid], [pid]
    while queue:
        parent = queue.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            children = [int(child) for child in task.read_text().split()]
            pids += children
            queue += children
    return pids


def tree_rss_mb(pid: int) -> float:
    """Resident memory of a process and its children, in MB."""
    total = 0
    for one in tree(pid):
        for line in Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                total += int(line.split()[1])
    return total / 1024


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wrk(
    url: str, script: str, connections: int, folder: Path, seconds: float | None = None
) -> Load:
    """Drive a URL with wrk from the client's core. `script` is Lua that sets the request."""
    path = folder / "load.lua"
    path.write_text(script + REPORT, encoding="utf-8")
    span = seconds or SECONDS
    command = ["taskset", "-c", str(CLIENT_CORE), "wrk", "-t1", f"-c{connections}"]
    command += [f"-d{span:g}s", "--timeout", "10s", "-s", str(path), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figures = json.loads(out.strip().splitlines()[-1])
    return Load(
        connections,
        figures["requests"] / figures["seconds"],
        figures["p50_ms"],
        figures["p99_ms"],
        figures["errors"],
        requests=figures["requests"],
    )


def post(body: str, headers: dict[str, str]) -> str:
    """Lua for wrk: one POST, the same every time."""
    lines = [f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in headers.items()]
    return f'wrk.method = "POST"\nwrk.body = {lua_string(body)}\n' + "\n".join(lines) + "\n"


def lua_string(text: str) -> str:
    """A Lua long string."""
    return f"[=====[{text}]=====]"


def idle_kb(pid: int, driver: "subprocess.Popen[str]") -> float:
    """Resident kilobytes that each of what waits costs: the second thousand against the first.

    The driver opens a thousand and says a line, for each line that it is told.
    """
    with driver:
        if driver.stdin is None or driver.stdout is None:
            raise SystemExit("bench: the driver has no pipes")
        driver.stdout.readline()
        before_mb = tree_rss_mb(pid)
        driver.stdin.write("more\n")
        driver.stdin.flush()
        driver.stdout.readline()
        after_mb = tree_rss_mb(pid)
        driver.stdin.close()
    return (after_mb - before_mb) * 1024 / IDLE
