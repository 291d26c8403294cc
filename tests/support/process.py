"""The real server as a child process, and its neighbours on free ports."""

import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import answers, free_ports

# What was installed elsewhere can be tested in the place of what stands beside these tests.
INSTALLED = os.environ.get("TESTED_PROGRAM")
PROGRAM = INSTALLED or str(Path(sys.executable).with_name("isthmus"))
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", *(() if INSTALLED else ("VIRTUAL_ENV", "PYTHONPATH")))
UNTRUSTING = ssl.create_default_context()
"""For servers that sign their own certificates."""
UNTRUSTING.check_hostname = False
UNTRUSTING.verify_mode = ssl.CERT_NONE


@dataclass(slots=True)
class RunningServer:
    """A started server. `environment` is what its commands need; `log` and `out` are its files.

    `context` is what it is asked with whether it answers, where it speaks TLS.
    """

    process: "subprocess.Popen[bytes]"
    http: int
    grpc: int
    metrics: int
    platform_metrics: int
    environment: dict[str, str]
    folder: Path
    ready_s: float = 0.0
    context: ssl.SSLContext = UNTRUSTING

    @property
    def url(self) -> str:
        scheme = "https" if "ISTHMUS_HTTP__TLS__ENABLED" in self.environment else "http"
        return f"{scheme}://127.0.0.1:{self.http}"

    @property
    def out(self) -> str:
        return (self.folder / "out.txt").read_text(encoding="utf-8", errors="replace")

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")

    def logs(self, text: str, limit_s: float = 60.0) -> bool:
        """Whether the log holds a text, or soon does: facts are written a little later."""
        until_s = time.monotonic() + limit_s
        while text not in self.log and time.monotonic() < until_s:
            time.sleep(0.05)
        return text in self.log

    def script(self, text: str, timeout_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """Run the commands of a page, which has the usual address, against this server."""
        path = f"{Path(PROGRAM).parent}:{self.environment['PATH']}"
        return subprocess.run(
            ["bash", "-euc", text.replace("http://127.0.0.1:5052", self.url)],
            env=self.environment | {"PATH": path},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def command(
        self, *arguments: str, timeout_s: float = 60.0
    ) -> "subprocess.CompletedProcess[str]":
        """Run an `isthmus` command against this server's data."""
        return subprocess.run(
            [PROGRAM, *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def token(self, *scopes: str, subject: str = "dev", ttl_s: float = 3600) -> str:
        """A development token with these scopes."""
        arguments = [part for scope in scopes for part in ("--scope", scope)]
        arguments += ["--ttl", str(int(ttl_s))]
        done = self.command("token", "--subject", subject, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def headers(self, *scopes: str, subject: str = "dev", ttl_s: float = 3600) -> dict[str, str]:
        """Headers of an authenticated client."""
        return {
            "authorization": f"Bearer {self.token(*scopes, subject=subject, ttl_s=ttl_s)}",
            "x-gitlab-authentication-type": "oidc",
            "x-gitlab-instance-id": subject,
        }

    def wait_for_sessions(self, limit_s: float = 60.0) -> None:
        """Return once the gRPC port accepts."""
        until_s = time.monotonic() + limit_s
        while not answers(self.grpc):
            assert self.process.poll() is None, f"the server ended: {self.log}"
            assert time.monotonic() < until_s, f"no sessions: {self.log}"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM, limit_s: float = 30.0) -> int:
        """Signal the server and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(limit_s)


@contextmanager
def running_server(
    folder: Path, settings: Mapping[str, str] | None = None, *, arguments: tuple[str, ...] = ()
) -> Iterator[RunningServer]:
    """Start `isthmus server` with its data in `folder`; killed in the end if it still runs."""
    server = prepare(folder, settings)
    start(server, arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def prepare(folder: Path, settings: Mapping[str, str] | None = None) -> RunningServer:
    """Ports and environment for a server that is not started yet."""
    ports = free_ports(4)
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {
        "ISTHMUS_DATA_DIR": str(folder / "var"),
        "ISTHMUS_HTTP__PORT": str(ports[0]),
        "ISTHMUS_GRPC__PORT": str(ports[1]),
        "ISTHMUS_HTTP__METRICS_PORT": str(ports[2]),
        "ISTHMUS_GRPC__METRICS_PORT": str(ports[3]),
    }
    environment |= dict(settings or {})
    idle: subprocess.Popen[bytes] = subprocess.Popen([sys.executable, "-c", ""])
    idle.wait()
    return RunningServer(idle, ports[0], ports[1], ports[2], ports[3], environment, folder)


def start(server: RunningServer, arguments: tuple[str, ...] = ()) -> None:
    """Start (again) with the same ports and data; returns when HTTP answers."""
    begin = time.monotonic()
    with (
        (server.folder / "out.txt").open("ab") as out,
        (server.folder / "log.txt").open("ab") as log,
    ):
        server.process = subprocess.Popen(
            [PROGRAM, "server", *arguments],
            env=server.environment,
            cwd=server.folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
        )
    while time.monotonic() - begin < 60:
        if server.process.poll() is not None:
            raise AssertionError(f"the server ended: {server.out}\n{server.log}")
        if _answers(f"{server.url}/monitoring/healthz", server.context):
            server.ready_s = time.monotonic() - begin
            return
        time.sleep(0.01)
    raise AssertionError(f"the server does not answer: {server.log}")


def _answers(url: str, context: ssl.SSLContext) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1, context=context) as reply:  # noqa: S310 - our own URL
            return bool(reply.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def wait_for_port(port: int, limit_s: float = 30.0) -> None:
    """Return once something accepts on the port."""
    until_s = time.monotonic() + limit_s
    while not answers(port):
        assert time.monotonic() < until_s, f"nothing listens on {port}"
        time.sleep(0.02)


def banner_curl(banner: str) -> str:
    """The `curl` line of the banner, as a person would paste it."""
    found = re.search(r"^\s*(curl .*(?:\\\n.*)*)$", banner, re.MULTILINE)
    assert found, banner
    return found.group(1)
