"""A real Prometheus and its tool, on free ports; what they say of what is in deploy/monitoring."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.support.fixtures_store import required
from tests.support.ports import free_port
from tests.support.process import RunningServer
from tests.support.servers import Missing, running

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
COMMAND = (
    "prometheus --config.file=deploy/monitoring/prometheus.yml --storage.tsdb.path=prometheus-data"
)
LIMIT_S = 120.0
Found = TypeVar("Found")


def promtool(*arguments: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run promtool in deploy/monitoring."""
    command = [_program("promtool"), *arguments]
    return subprocess.run(
        command, input=given, cwd=FOLDER, capture_output=True, timeout=120, check=False
    )


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that runs, by its HTTP API."""

    client: httpx.Client

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer; fails when it is an error."""
        reply = self.client.get(f"/api/v1/{path}", params=parameters).json()
        assert reply["status"] == "success", (path, parameters, reply)
        return reply["data"]

    def values(self, expression: str) -> list[float]:
        """The numbers that an expression has now; those that are none are left out."""
        found = self.ask("query", query=expression)
        assert found["resultType"] == "vector", expression
        numbers = [float(one["value"][1]) for one in found["result"]]
        return [number for number in numbers if number == number]  # noqa: PLR0124 - NaN is not itself

    def targets(self) -> dict[str, str]:
        """Health of each target, by its job."""
        active = self.ask("targets", state="active")["activeTargets"]
        return {one["labels"]["job"]: one["health"] for one in active}


@contextmanager
def scraping(
    folder: Path, server: RunningServer, changes: Mapping[str, str] | None = None
) -> Iterator[Prometheus]:
    """Prometheus in `folder`, by a copy of ours with real ports; `changes` are of its text."""
    text = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
    ports = {"localhost:8082": server.metrics, "localhost:8083": server.platform_metrics}
    for usual, port in ports.items():
        assert usual in text
        text = text.replace(usual, f"localhost:{port}")
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    place = folder / "deploy" / "monitoring"
    shutil.copytree(FOLDER / "rules", place / "rules")
    (place / "prometheus.yml").write_text(text, encoding="utf-8")
    port = free_port()
    name, *arguments = COMMAND.split()
    command = [_program(name), *arguments, f"--web.listen-address=127.0.0.1:{port}"]
    with running(command, port, folder) as up:
        assert up, (folder / "server.log").read_text(encoding="utf-8")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield Prometheus(client)


def soon(look: Callable[[], Found], limit_s: float = LIMIT_S) -> Found:
    """What `look` finds, once that is something."""
    until_s = time.monotonic() + limit_s
    while not (found := look()) and time.monotonic() < until_s:
        time.sleep(0.25)
    return found


def families(page: str) -> set[str]:
    """Names of the series that a page may have: of each family and of a histogram's parts."""
    names: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", page, re.MULTILINE):
        names |= {name, *(f"{name}_{part}" for part in _PARTS.get(kind, ()))}
    return names


_PARTS = {"histogram": ("bucket", "count", "sum")}


def _program(name: str) -> str:
    found = shutil.which(name)
    missing = Missing(f"{name} is not installed (Debian: prometheus)")
    return required(found if found is not None else missing)
