"""The shipped configurations of proxies, each started with a test's own ports and certificates.

What is rendered is the file in `deploy/compose` with its addresses and paths replaced, each of
which must stand in it; every other line is what operators run.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import free_ports
from tests.support.process import wait_for_port
from tests.support.servers import running

COMPOSE = Path(__file__).resolve().parents[2] / "deploy" / "compose"
TEMPORARY = "/tmp/"  # noqa: S108 - as it stands in a file
LOCAL = "\tdefault_bind 127.0.0.1\n"
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Ahead:
    """What stands behind the proxy, and its files: `ca.crt`, `server.crt` and `server.key`."""

    http: int
    grpc: int
    tls: bool
    files: Path


@dataclass(frozen=True)
class Proxy:
    """Where a started proxy listens, always by TLS."""

    http: int
    grpc: int


@dataclass(frozen=True)
class Kind:
    """One program. `change` is what its page tells to do where the server speaks TLS itself."""

    file: str
    command: Callable[[Path], list[str]]
    addresses: Mapping[str, str]
    change: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables when the server speaks TLS itself."""

    def render(self, ahead: Ahead, proxy: Proxy, spare: int) -> str:
        """The shipped file with this test's addresses."""
        text = (COMPOSE / self.file).read_text(encoding="utf-8")
        for old, new in self.change if ahead.tls else ():
            assert old in text, old
            text = text.replace(old, new)
        given = {"http": proxy.http, "grpc": proxy.grpc, "spare": spare}
        ports = {"to_http": ahead.http, "to_grpc": ahead.grpc}
        places = {**self.addresses, "/etc/isthmus/tls": "{files}"}
        for old, new in places.items():
            assert old in text, f"{self.file} no longer holds {old!r}"
            text = text.replace(old, new.format(files=ahead.files, **given, **ports))
        return text


def _nginx(config: Path) -> list[str]:
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert program, "nginx is not installed: see .ci/packages"
    # The test's folder takes the place of /tmp, and of what the program was built for.
    return [
        program,
        "-e",
        "stderr",
        "-p",
        str(config.parent),
        "-c",
        str(config),
        "-g",
        "daemon off;",
    ]


def _caddy(config: Path) -> list[str]:
    return [str(BIN / "caddy"), "run", "--adapter", "caddyfile", "--config", str(config)]


def _envoy(config: Path) -> list[str]:
    one_of_many = ["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"]
    return [str(BIN / "envoy"), "-c", str(config), *one_of_many]


KINDS: Mapping[str, Kind] = {
    "nginx": Kind(
        "nginx.conf",
        _nginx,
        {
            "listen 80;": "listen 127.0.0.1:{spare};",
            "listen 443 ssl;": "listen 127.0.0.1:{http} ssl;",
            "listen 8443 ssl http2;": "listen 127.0.0.1:{grpc} ssl http2;",
            "server isthmus:5052;": "server 127.0.0.1:{to_http};",
            "server isthmus:50052;": "server 127.0.0.1:{to_grpc};",
            "worker_processes auto;": "worker_processes 1;",
            TEMPORARY: "",
        },
        (
            ("proxy_pass http://", "proxy_pass https://"),
            ("grpc_pass grpc://", "grpc_pass grpcs://"),
        ),
    ),
    "caddy": Kind(
        "Caddyfile",
        _caddy,
        {
            "\tadmin off\n": "\tadmin off\n\tauto_https disable_redirects\n" + LOCAL,
            "}:443 {": "}}:{http} {{",
            "}:8443 {": "}}:{grpc} {{",
            "://isthmus:5052 {": "://127.0.0.1:{to_http} {{",
            "://isthmus:50052 {": "://127.0.0.1:{to_grpc} {{",
        },
        environment={"ISTHMUS_UPSTREAM_TLS": "on"},
    ),
    "envoy": Kind(
        "envoy.yaml",
        _envoy,
        {
            "0.0.0.0, port_value: 443 ": "127.0.0.1, port_value: {http} ",
            "0.0.0.0, port_value: 8443 ": "127.0.0.1, port_value: {grpc} ",
            "isthmus, port_value: 5052 ": "127.0.0.1, port_value: {to_http} ",
            "isthmus, port_value: 50052 ": "127.0.0.1, port_value: {to_grpc} ",
        },
        (("#tls ", ""),),
    ),
}


@contextmanager
def proxy(name: str, ahead: Ahead, folder: Path) -> Iterator[Proxy]:
    """The program `name` in front of a server, until the end of the block."""
    kind = KINDS[name]
    folder.mkdir()
    http, grpc, spare = free_ports(3)
    found = Proxy(http, grpc)
    config = folder / kind.file
    config.write_text(kind.render(ahead, found, spare), encoding="utf-8")
    variables = [f"{key}={value}" for key, value in kind.environment.items() if ahead.tls]
    command = ["env", f"HOME={folder}", *variables, *kind.command(config)]
    with running(command, http, folder) as up:
        assert up, (folder / "server.log").read_text(encoding="utf-8", errors="replace")
        wait_for_port(grpc)
        yield found
