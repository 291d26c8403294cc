"""`make bench`: Isthmus beside nginx and its peers, in one run, on pinned cores."""

import argparse
import os
import platform
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench import (
    checkpoints,
    peers,
    policies,
    records,
    relay,
    sessions,
    sizes,
    sticky,
    streams,
    waiting,
)
from bench.machine import SECONDS, SERVER_CORE, Load, cpu_s, post, require, tree, tree_rss_mb, wrk
from bench.report import Results, Row, write
from bench.server import command, isthmus
from bench.upstream import mock_upstream, nginx_proxy

OUT = Path(__file__).parent / "out"
KINDS = ("http", "streams", "grpc", "records", "checkpoints", "sticky", "relay", "waiting", "sizes")
CONNECTIONS = (1, 40, 160)
COMPLETION = (
    '{"prompt_version":1,"current_file":{"file_name":"a.py","content_above_cursor":"'
    + "# a line of context\\n" * 48
    + 'def add(a, b):\\n    ","content_below_cursor":"\\n"}}'
)
MESSAGE = (
    '{"model":"claude-sonnet-4-6","max_tokens":64,"messages":[{"role":"user","content":"'
    + "Is all well? " * 75
    + '"}]}'
)
TEXTS = 64
EMBEDDINGS = (
    '{"model_metadata":{"provider":"gitlab","identifier":"wordllama_local"},"contents":['
    + ",".join(
        f'"def load_{n}(path): read the file and return the parsed tree"' for n in range(TEXTS)
    )
    + "]}"
)
STREAM = MESSAGE.replace('"max_tokens":64', '"max_tokens":64,"stream":true')
THROUGH = "Isthmus completion, by the instance"
GOVERNED = "all policies"
CHAT = MESSAGE.replace("claude-sonnet-4-6", "gpt-5")


def main() -> None:
    """Measure everything that was asked for and write `RESULTS.md`."""
    arguments = argparse.ArgumentParser(prog="make bench")
    arguments.add_argument("--only", choices=KINDS, action="append")
    chosen = arguments.parse_args().only or KINDS
    require("wrk", "nginx", "taskset")
    OUT.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        rows = _http(folder) if "http" in chosen else []
        results = Results(
            rows,
            streams.measure(folder) if "streams" in chosen else [],
            sessions.measure(folder) if "grpc" in chosen else [],
            records.measure(folder) if "records" in chosen else [],
            checkpoints.measure(folder) if "checkpoints" in chosen else [],
            sticky.measure(folder) if "sticky" in chosen else [],
            relay.measure(folder) if "relay" in chosen else [],
            waiting.measure(folder) if "waiting" in chosen else [],
            sizes.measure(OUT) if "sizes" in chosen else [],
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, one each side"
    write(Path(__file__).parent / "RESULTS.md", machine, results)


def _http(folder: Path) -> list[Row]:
    rows: list[Row] = []
    json_type = {"content-type": "application/json"}
    with mock_upstream(folder) as upstream:
        base = f"http://127.0.0.1:{upstream}"
        rows.append(_row("direct", f"{base}/v1/messages", post(MESSAGE, json_type), folder))
        with nginx_proxy(folder, upstream, SERVER_CORE) as (port, pid):
            url = f"http://127.0.0.1:{port}/v1/messages"
            rows.append(_row("nginx proxy_pass", url, post(MESSAGE, json_type), folder, pid))
        rows += _isthmus(folder, base)
        if os.environ.get("PEERS"):
            rows += _peers(folder, upstream, base)
    return rows


def providers(base: str) -> dict[str, str]:
    """Settings that send every model call to the mock upstream."""
    return {
        "ISTHMUS_PROVIDERS__ANTHROPIC__BASE_URL": base,
        "ISTHMUS_PROVIDERS__ANTHROPIC__API_KEY": "k",
        "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": f"{base}/v1",
        "ISTHMUS_PROVIDERS__OPENAI__API_KEY": "k",
        "ISTHMUS_PROVIDERS__OPENAI__COMPLETION_MODEL": "m",
        "ISTHMUS_MODELS__DEFAULTS": '{"code_completions": ["openai_compatible"]}',
    }


def _isthmus(folder: Path, base: str) -> list[Row]:
    rows: list[Row] = []
    settings = providers(base)
    with isthmus(folder, extra=settings) as server:
        home, pid, headers = f"http://127.0.0.1:{server.port}", server.pid, server.headers
        url = f"{home}/v2/code/completions"
        row = _row("Isthmus completion", url, post(COMPLETION, headers), folder, pid)
        rows.append(row.with_ready(server.ready_s))
        rows.append(_relayed(home, folder, pid))
        url = f"{home}/v1/proxy/anthropic/v1/messages"
        rows.append(_row("Isthmus proxy", url, post(MESSAGE, headers), folder, pid))
        url = f"{home}/v1/embeddings/code_embeddings"
        name = f"Isthmus embeddings, {TEXTS} texts a request"
        rows.append(_row(name, url, post(EMBEDDINGS, headers), folder, pid))
    with isthmus(folder, extra=settings | policies.settings(base)) as server:
        home, pid, headers = f"http://127.0.0.1:{server.port}", server.pid, server.headers
        url = f"{home}/v2/code/completions"
        name = f"Isthmus completion, {GOVERNED}"
        rows.append(_row(name, url, post(COMPLETION, headers), folder, pid))
        url = f"{home}/v1/proxy/anthropic/v1/messages"
        name = f"Isthmus proxy, {GOVERNED}"
        rows.append(_row(name, url, post(MESSAGE, headers), folder, pid))
    settings["ISTHMUS_PROVIDERS__ANTHROPIC__BASE_URL"] = f"{base}/stream"
    with isthmus(folder, extra=settings) as server:
        url = f"http://127.0.0.1:{server.port}/v1/proxy/anthropic/v1/messages"
        script = post(STREAM, server.headers)
        rows.append(_row("Isthmus proxy, streamed", url, script, folder, server.pid))
    return rows


def _relayed(home: str, folder: Path, pid: int) -> Row:
    """The same completion asked of the instance API: the hop that direct connections save."""
    token = command(folder, "tokens", "create", "--name", "bench")
    headers = {"private-token": token, "content-type": "application/json"}
    url = f"{home}/api/v4/code_suggestions/completions"
    return _row(THROUGH, url, post(COMPLETION, headers), folder, pid)


def _peers(folder: Path, upstream: int, base: str) -> list[Row]:
    rows: list[Row] = []
    peers.install(OUT)
    with ExitStack() as stack:
        port, pid, ready_s = stack.enter_context(peers.portkey(OUT))
        headers = {
            "content-type": "application/json",
            "authorization": "Bearer k",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"{base}/v1",
        }
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        rows.append(_row("Portkey", url, post(CHAT, headers), folder, pid).with_ready(ready_s))
    with ExitStack() as stack:
        port, pid, ready_s = stack.enter_context(peers.litellm(OUT, upstream))
        headers = {"content-type": "application/json", "authorization": "Bearer sk-bench"}
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        rows.append(_row("LiteLLM", url, post(CHAT, headers), folder, pid).with_ready(ready_s))
    return rows


def _row(name: str, url: str, script: str, folder: Path, pid: int | None = None) -> Row:
    wrk(url, script, 8, folder, seconds=2)
    loads: list[Load] = []
    for connections in CONNECTIONS:
        before_s = _cpu_s(pid)
        load = wrk(url, script, connections, folder)
        spent_us = (_cpu_s(pid) - before_s) * 1e6
        loads.append(replace(load, cpu_us=spent_us / max(1.0, load.rps * SECONDS)))
        print(f"{name:26s} {loads[-1]}", flush=True)
    return Row(name, tuple(loads), tree_rss_mb(pid) if pid else None, None)


def _cpu_s(pid: int | None) -> float:
    return sum(map(cpu_s, tree(pid))) if pid else 0.0


if __name__ == "__main__":
    main()
