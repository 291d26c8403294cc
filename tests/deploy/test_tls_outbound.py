"""One setting makes every outbound call believe an authority of the operator's own.

Every far end's certificate is signed by an authority that only the tests know; without the setting
each of these calls fails.
"""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.contract.outbound.pki import Authority, authority
from tests.support.postgres import fresh_schema
from tests.support.process import RunningServer, prepare, start
from tests.support.scripted_upstream import KEY, scripted_upstream
from tests.support.servers import Server
from tests.support.terminator import POSTGRES, Terminator, terminated
from tests.support.tokens import headers_for, jwk_of, payload, private_key, signed

ISSUER_KEY = private_key()
BODY = {
    "prompt_version": 1,
    "current_file": {
        "file_name": "a.py",
        "content_above_cursor": "def one():\n    return ",
        "content_below_cursor": "\n",
    },
}


class Neighbour(ThreadingHTTPServer):
    """An issuer, a portal and a collector in one, in the clear; keeps the paths that were asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.asked: list[str] = []


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        assert isinstance(self.server, Neighbour)
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.server.asked.append(self.path)
        here = f"https://{self.headers['host']}"
        bodies: dict[str, object] = {
            "/.well-known/openid-configuration": {
                "issuer": here,
                "jwks_uri": f"{here}/keys",
                "authorization_endpoint": f"{here}/authorize",
                "token_endpoint": f"{here}/token",
            },
            "/keys": {"keys": [jwk_of(ISSUER_KEY)]},
        }
        data = json.dumps(bodies.get(self.path, {})).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = _answer  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@contextmanager
def neighbour() -> Iterator[Neighbour]:
    server = Neighbour()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class World:
    """Everything that a server calls, each by a door of TLS of its own."""

    ours: Authority
    doors: dict[str, Terminator] = field(default_factory=dict[str, Terminator])

    def url(self, door: str, scheme: str = "https") -> str:
        return f"{scheme}://localhost:{self.doors[door].port}"

    def settings(self) -> dict[str, str]:
        """How a server is told to call all of it."""
        return {
            "AIGW_GITLAB_URL": self.url("issuer"),
            "ISTHMUS_QUOTA__URL": self.url("portal"),
            "CUSTOMER_PORTAL_USAGE_QUOTA_API_USER": "admin@example.test",
            "CUSTOMER_PORTAL_USAGE_QUOTA_API_TOKEN": "of-the-portal",
            "AIGW_INTERNAL_EVENT__ENABLED": "true",
            "AIGW_INTERNAL_EVENT__ENDPOINT": self.url("collector"),
            "ISTHMUS_TRACING__ENABLED": "true",
            "ISTHMUS_TRACING__ENDPOINT": self.url("traces"),
            "ISTHMUS_PROVIDERS__ANTHROPIC__BASE_URL": self.url("provider"),
            "ISTHMUS_PROVIDERS__ANTHROPIC__API_KEY": KEY,
            "ISTHMUS_PROVIDERS__LOCAL__ENABLED": "false",
            "ISTHMUS_INSTANCE__OIDC__ISSUER": self.url("sign-in"),
            "ISTHMUS_INSTANCE__OIDC__CLIENT_ID": "isthmus",
            "ISTHMUS_RUNNERS__KIND": "none",
            "ISTHMUS_LIMITS__URL": self.url("store", "rediss") + "/15",
            "ISTHMUS_LIMITS__RULES": json.dumps(
                [{"name": "calls", "counts": "requests", "amount": 1000, "window": "minute"}]
            ),
        }

    def database(self, url: str) -> str:
        """The database at `url`, by its door, and to be verified."""
        there = urlsplit(url)
        place = f"{there.username}@localhost:{self.doors['database'].port}{there.path}"
        return f"postgresql://{place}?{there.query}&sslmode=verify-full"


HTTP_DOORS = ("issuer", "portal", "collector", "traces", "sign-in")


@pytest.fixture
def world(tmp_path: Path, postgres: Server, redis_url: str) -> Iterator[World]:
    found = World(authority(tmp_path, "the operator's authority"))
    with ExitStack() as stack:
        near = stack.enter_context(neighbour())
        vendor = stack.enter_context(scripted_upstream({}))
        behind = dict.fromkeys(HTTP_DOORS, near.server_address[1])
        behind |= {"provider": vendor.port}
        behind |= {"store": urlsplit(redis_url).port or 0}
        context = found.ours.serving("localhost")
        context.set_alpn_protocols(["http/1.1", "postgresql"])
        for name, port in behind.items():
            found.doors[name] = stack.enter_context(terminated(int(port), context))
        database = urlsplit(postgres.url).port or 0
        found.doors["database"] = stack.enter_context(terminated(database, context, POSTGRES))
        yield found


@pytest.fixture
def schema(postgres: Server) -> Iterator[str]:
    """The URL of an empty schema."""
    with asyncio.Runner() as runner:
        opened = fresh_schema(postgres)
        yield runner.run(opened.__aenter__())
        runner.run(opened.__aexit__(None, None, None))


@contextmanager
def serving(folder: Path, settings: Mapping[str, str]) -> Iterator[RunningServer]:
    server = prepare(folder, dict(settings) | {"ISTHMUS_TRANSPORTS": "http"})
    start(server)
    try:
        yield server
    finally:
        server.stop()


def issued(world: World) -> dict[str, str]:
    """Headers of a caller whom the issuer vouches for."""
    now = int(time.time())
    claims = payload(iss=world.url("issuer"), iat=now, nbf=now, exp=now + 600)
    return headers_for(signed(claims, ISSUER_KEY)) | {"content-type": "application/json"}


def completed(server: RunningServer, headers: Mapping[str, str]) -> int:
    return _status(server, "POST", "/v2/code/completions", json.dumps(BODY), headers)


def left_to_sign_in(server: RunningServer) -> int:
    return _status(server, "GET", "/oauth/oidc?next=%2Foauth%2Fauthorize", None, {})


def _status(
    server: RunningServer, method: str, path: str, body: str | None, headers: Mapping[str, str]
) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
    connection.request(method, path, body, dict(headers))
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status


def until(happened: Callable[[], bool], limit_s: float = 60.0) -> bool:
    """Whether it does, soon."""
    end_s = time.monotonic() + limit_s
    while not happened() and time.monotonic() < end_s:
        time.sleep(0.05)
    return happened()


@pytest.mark.parametrize(
    "named",
    [
        {"ISTHMUS_OUTBOUND__CA_FILE": "{file}"},
        {"ISTHMUS_OUTBOUND__CA_FILE": "{file}", "ISTHMUS_OUTBOUND__CA_ONLY": "true"},
        {"SSL_CERT_FILE": "{file}"},
        {"REQUESTS_CA_BUNDLE": "{file}"},
    ],
    ids=" ".join,
)
def test_every_call_of_the_server_believes_it(
    world: World, tmp_path: Path, schema: str, named: dict[str, str]
) -> None:
    given = {name: value.format(file=world.ours.file) for name, value in named.items()}
    settings = world.settings() | given | {"ISTHMUS_DATABASE__URL": world.database(schema)}
    with serving(tmp_path, settings) as server:
        headers = issued(world)
        # Nobody waits for an issuer's keys: who comes before them is asked to come again.
        assert until(lambda: completed(server, headers) == 200), server.log
        assert left_to_sign_in(server) == 303, server.log
        assert until(lambda: all(door.agreed for door in world.doors.values())), world.doors
    assert not any(door.refused for door in world.doors.values()), world.doors


def test_without_it_no_call_is_made(world: World, tmp_path: Path) -> None:
    settings = world.settings()
    with serving(tmp_path, settings) as server:
        assert completed(server, issued(world)) == 401
        # A portal that does not answer allows nothing, and so the provider is not asked.
        assert completed(server, server.headers("complete_code")) == 403
        assert left_to_sign_in(server) >= 500
    del settings["CUSTOMER_PORTAL_USAGE_QUOTA_API_USER"]
    with serving(tmp_path, settings) as server:
        assert completed(server, server.headers("complete_code")) >= 500
        asked = [door for name, door in world.doors.items() if name != "database"]
        assert until(lambda: all(door.refused for door in asked)), world.doors
    assert not any(door.agreed for door in world.doors.values()), world.doors
