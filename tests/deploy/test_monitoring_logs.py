"""The examples of log shipping: real lines through real programs, and a rotation in between."""

import json
import shutil
import socketserver
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from isthmus.settings import TracingSettings
from tests.deploy.prometheus import FOLDER, soon
from tests.support.fixtures_store import required
from tests.support.process import RunningServer, running_server
from tests.support.servers import Missing

USUAL = "/var/log/isthmus/isthmus.log"


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    return required(found or Missing(f"{name} is not installed"))


class Lines(socketserver.ThreadingTCPServer):
    """Collects the lines that it is sent."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Reading)
        self.got: list[str] = []


class _Reading(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Lines)
        for line in self.rfile:
            self.server.got.append(line.decode().rstrip("\n"))


@contextmanager
def collecting() -> Iterator[Lines]:
    with Lines() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def shipping(folder: Path, log: Path, port: int) -> Iterator[None]:
    """rsyslog by our example, but for the file, the address, and a folder of its own."""
    text = (FOLDER / "logs" / "rsyslog.conf").read_text(encoding="utf-8")
    changes = {
        USUAL: str(log),
        'target="logs.example" port="5170"': f'target="127.0.0.1" port="{port}"',
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    # inotify may be missing where tests run.
    text = text.replace(
        'module(load="imfile")', 'module(load="imfile" mode="polling" pollingInterval="1")'
    )
    (folder / "rsyslog.conf").write_text(
        f'global(workDirectory="{folder}")\n{text}', encoding="utf-8"
    )
    checked = subprocess.run(
        [program("rsyslogd"), "-N1", "-f", "rsyslog.conf"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    with (folder / "rsyslogd.txt").open("wb") as out:
        process = subprocess.Popen(
            [
                program("rsyslogd"),
                "-n",
                "-f",
                str(folder / "rsyslog.conf"),
                "-i",
                str(folder / "pid"),
            ],
            cwd=folder,
            stdout=out,
            stderr=out,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def rotate(folder: Path, log: Path) -> None:
    """logrotate by our example, but for the file, and now."""
    text = (FOLDER / "logs" / "logrotate.conf").read_text(encoding="utf-8")
    assert USUAL in text
    (folder / "logrotate.conf").write_text(text.replace(USUAL, str(log)), encoding="utf-8")
    (folder / "logrotate.conf").chmod(0o644)
    command = [
        program("logrotate"),
        "-f",
        "-s",
        str(folder / "state"),
        str(folder / "logrotate.conf"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def ask(server: RunningServer, count: int) -> None:
    for number in range(count):
        url = f"{server.url}/v1/models/definitions?n={number}"
        with urllib.request.urlopen(url, timeout=30) as reply:  # noqa: S310 - our own URL
            assert reply.status == 200


def written(log: Path) -> list[str]:
    """All lines, those of the file that was rotated away first."""
    files = [path for path in (log.with_name(f"{log.name}.1"), log) if path.is_file()]
    return [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module", name="lines")
def _lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Lines of a real log, as they came through rsyslog over a rotation by logrotate."""
    folder = tmp_path_factory.mktemp("logs")
    log = folder / "log" / "isthmus.log"
    settings = {"ISTHMUS_LOGGING__FILE": str(log), "ISTHMUS_TRANSPORTS": "http"}
    with collecting() as lines, running_server(folder, settings) as server:
        ask(server, 5)
        with shipping(folder, log, lines.server_address[1]):
            assert soon(lambda: len(lines.got) >= 5)
            rotate(folder, log)
            ask(server, 5)
            assert server.stop() == 0
            soon(lambda: len(lines.got) >= len(written(log)))
    assert log.with_name("isthmus.log.1").is_file()
    assert lines.got == written(log)
    return lines.got


def test_every_line_is_shipped_once_over_a_rotation(lines: list[str]) -> None:
    said = [json.loads(line) for line in lines]
    asked = [line for line in said if line.get("path", "").startswith("/v1/models/definitions")]
    assert len(asked) == 10


def test_the_collector_reads_what_the_lines_have(lines: list[str]) -> None:
    (parser, *moves) = collector()["receivers"]["filelog"]["operators"]
    named = {move["from"].removeprefix("attributes.") for move in moves}
    for line in lines:
        attributes = json.loads(line)
        at = attributes[parser["timestamp"]["parse_from"].removeprefix("attributes.")]
        datetime.strptime(at, parser["timestamp"]["layout"])  # noqa: DTZ007 - the form alone
        level = attributes[parser["severity"]["parse_from"].removeprefix("attributes.")]
        assert level in parser["severity"]["mapping"].values()
        assert len(named & set(attributes)) == 1


def test_the_collector_uses_what_it_defines_and_nothing_else() -> None:
    document = collector()
    pipelines = document["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(document[kind]) == {name for one in pipelines for name in one[kind]}
    endpoint = document["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert TracingSettings().endpoint == f"http://{endpoint}"


def test_the_collector_scrapes_what_prometheus_does() -> None:
    text = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["scrape_configs"]
    scraped = collector()["receivers"]["prometheus"]["config"]["scrape_configs"]
    places = [(job["job_name"], job["static_configs"]) for job in jobs]
    assert [(job["job_name"], job["static_configs"]) for job in scraped] == places


def collector() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "collector.yml").read_text(encoding="utf-8"))
