"""What the doctor is tried on: servers that answer as they are told, and the real command."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

from tests.support.authority import Signed
from tests.support.ports import free_ports
from tests.support.process import KEPT
from tests.support.tokens import jwk_of, private_key

LIMIT_S = 60.0


@dataclass
class Answers:
    """A web server's answers by path: status, media type, body. `ahead_s` is its clock's fault."""

    by_path: dict[str, tuple[int, str, bytes]] = field(
        default_factory=dict[str, tuple[int, str, bytes]]
    )
    ahead_s: float = 0.0
    port: int = 0
    secure: bool = False
    asked: list[str] = field(default_factory=list[str])

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://localhost:{self.port}"

    def put(self, path: str, body: object, status: int = 200) -> None:
        self.by_path[path] = status, "application/json", json.dumps(body).encode()


@contextmanager
def answering(signed: Signed | None = None) -> Iterator[Answers]:
    """A web server on a free port of the loopback, by TLS where a certificate is given."""
    answers = Answers(secure=signed is not None)

    class Handler(_Handler):
        told = answers

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if signed is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(signed.chain, signed.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        answers.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield answers
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told: Answers

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Say nothing."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """As the clock of this server has it."""
        return formatdate((timestamp or time.time()) + self.told.ahead_s, usegmt=True)

    def do_GET(self) -> None:
        """What is told for the path."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.told.asked.append(self.path)
        status, kind, body = self.told.by_path.get(self.path, (404, "application/json", b"{}"))
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """The same."""
        self.do_GET()


@contextmanager
def gitlab(signed: Signed | None = None) -> Iterator[Answers]:
    """An instance: issuer of tokens that `tests.support.tokens` signs, and its API."""
    with answering(signed) as answers:
        answers.put(
            "/.well-known/openid-configuration",
            {"issuer": answers.url, "jwks_uri": f"{answers.url}/oauth/discovery/keys"},
        )
        answers.put("/oauth/discovery/keys", {"keys": [jwk_of(private_key())]})
        answers.put("/api/v4/version", {"message": "401 Unauthorized"}, 401)
        yield answers


@contextmanager
def delayed(url: str, pause_s: float) -> Iterator[str]:
    """The same server at the end of a slow line: every piece of an answer comes later."""
    parts = urlsplit(url)
    there = parts.hostname or "", parts.port or 0

    class Line(BaseRequestHandler):
        def handle(self) -> None:
            """Carry both ways until one side has nothing more to say."""
            with socket.create_connection(there) as far:
                threading.Thread(target=_carry, args=(self.request, far, 0.0)).start()
                _carry(far, self.request, pause_s)

    with ThreadingTCPServer(("127.0.0.1", 0), Line) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            user = f"{parts.username}@" if parts.username else ""
            yield parts._replace(netloc=f"{user}127.0.0.1:{server.server_address[1]}").geturl()
        finally:
            server.shutdown()


def _carry(one: socket.socket, other: socket.socket, pause_s: float) -> None:
    with suppress(OSError):
        while data := one.recv(65_536):
            time.sleep(pause_s)
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


@dataclass(frozen=True)
class Examined:
    """What the command said."""

    code: int
    report: Mapping[str, Any]
    text: str

    @property
    def found(self) -> list[dict[str, str]]:
        """Findings that are not well."""
        return [one for one in self.report["findings"] if one["verdict"] in {"warn", "fail"}]


def examine(
    folder: Path, settings: Mapping[str, str], *arguments: str, prefix: Sequence[str] = ()
) -> Examined:
    """Run `isthmus doctor --json` with these variables, its data in `folder`, its ports free."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    ports = free_ports(4)
    names = ("HTTP__PORT", "GRPC__PORT", "HTTP__METRICS_PORT", "GRPC__METRICS_PORT")
    environment |= {f"ISTHMUS_{name}": str(port) for name, port in zip(names, ports, strict=True)}
    environment |= {"ISTHMUS_DATA_DIR": str(folder / "var"), **settings}
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "isthmus", "doctor", "--json", *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.stdout, done.stderr
    assert not done.stderr, done.stderr
    return Examined(done.returncode, json.loads(done.stdout), done.stdout)
