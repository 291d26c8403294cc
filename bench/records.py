"""Checkpoints of 256 KB posted through the instance API, on SQLite and on PostgreSQL."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from bench.machine import CLIENT_CORE
from bench.report import Posts
from bench.server import command, isthmus

POSTS = 400
WARM = 40
SIZE = 256 * 1024
FORMS = ("deflated", "plain")
"""As flow services send it, and as the contract also allows."""
SECRET = "the relay's and the server's"  # noqa: S105 - of this measurement
POSTGRES = os.environ.get("BENCH_POSTGRES", "postgresql://127.0.0.1:5432/test?user=root")
WORKFLOWS = "/api/v4/ai/duo_workflows/workflows"


def measure(folder: Path) -> list[Posts]:
    """One row a database; the driver runs on the client's core."""
    rows: list[Posts] = []
    for name, url in (("SQLite", ""), ("PostgreSQL", POSTGRES)):
        place = folder / name
        place.mkdir()
        settings = {"ISTHMUS_INSTANCE__RELAY_SECRET": SECRET, "ISTHMUS_DATABASE__URL": url}
        with isthmus(place, extra=settings) as server:
            words = ("tokens", "create", "--scope", "api", "ai_workflows")
            token = command(place, *words, extra=settings)
            driver = ["taskset", "-c", str(CLIENT_CORE), sys.executable, "-m", "bench.records"]
            done = subprocess.run(
                [*driver, str(server.port)],
                env=dict(os.environ) | {"BENCH_TOKEN": token},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        figures = [float(part) for part in done.stdout.split()]
        for form, p50_ms, p99_ms in zip(FORMS, figures[::2], figures[1::2], strict=True):
            rows.append(Posts(name, form, SIZE // 1024, p50_ms, p99_ms))
            print(rows[-1], flush=True)
    return rows


def _load(port: int, token: str) -> list[float]:
    """p50 and p99 of each form, milliseconds."""
    connection = http.client.HTTPConnection(urlsplit(f"http://127.0.0.1:{port}").netloc)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Gitlab-Workhorse-Api-Request": _marker(),
    }
    words = random.Random(1).choices([f"word{n}" for n in range(5000)], k=SIZE // 8)  # noqa: S311 - load
    checkpoint = {"channel_values": {"text": " ".join(words)[:SIZE]}}
    packed = base64.b64encode(zlib.compress(json.dumps(checkpoint).encode())).decode()
    figures: list[float] = []
    for form in FORMS:
        created = _post(connection, WORKFLOWS, json.dumps({"goal": "bench"}), headers)
        path = f"{WORKFLOWS}/{created['id']}/checkpoints"
        given = (
            {"compressed_checkpoint": packed} if form == FORMS[0] else {"checkpoint": checkpoint}
        )
        figures += _timed(connection, path, given, headers)
    return figures


def _timed(
    connection: http.client.HTTPConnection,
    path: str,
    given: Mapping[str, object],
    headers: dict[str, str],
) -> tuple[float, float]:
    spent_ms: list[float] = []
    for number in range(POSTS + WARM):
        body = json.dumps(
            {
                "thread_ts": f"1f0b0000-0000-6000-8000-{number:012}",
                "parent_ts": None,
                "metadata": {"step": number},
                **given,
            }
        )
        began_s = time.perf_counter()
        _post(connection, path, body, headers)
        spent_ms.append((time.perf_counter() - began_s) * 1000)
    measured = sorted(spent_ms[WARM:])
    return statistics.median(measured), measured[int(len(measured) * 0.99)]


def _post(
    connection: http.client.HTTPConnection, path: str, body: str, headers: dict[str, str]
) -> dict[str, object]:
    connection.request("POST", path, body, headers)
    reply = connection.getresponse()
    told = json.loads(reply.read())
    if reply.status != 201:
        raise SystemExit(f"bench: {path} answered {reply.status}: {told}")
    return told


def _marker() -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, {"iss": "gitlab-workhorse"})
    head = ".".join(_text(json.dumps(part).encode()) for part in parts)
    signature = hmac.new(SECRET.encode(), head.encode(), hashlib.sha256).digest()
    return f"{head}.{_text(signature)}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


if __name__ == "__main__":
    print(*_load(int(sys.argv[1]), os.environ["BENCH_TOKEN"]))
