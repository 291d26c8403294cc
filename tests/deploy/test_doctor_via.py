"""Faults of a proxy in front of a server that runs: seen through real nginx."""

import http.client
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.authority import Authority
from tests.support.doctor_stand import Examined, examine
from tests.support.fixtures_store import required
from tests.support.nginx import FRONT, nginx
from tests.support.ports import free_port
from tests.support.process import RunningServer, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    settings = {"ISTHMUS_HTTP__TRUSTED_PROXIES": "127.0.0.1"}
    with running_server(folder, settings) as one:
        one.wait_for_sessions()
        yield one


def through(
    server: RunningServer, folder: Path, front: str, *, upstream: int = 0, passes_grpc: bool = True
) -> Examined:
    """The doctor's view of both sides of such a proxy."""
    given = {name: text for name, text in server.environment.items() if name[:7] == "ISTHMUS"}
    with ExitStack() as stack:
        port = upstream or server.http
        opened = nginx(folder / "nginx", front, port, server.grpc, passes_grpc=passes_grpc)
        way = required(stack.enter_context(opened))
        return examine(server.folder, given, "--via", way.http, "--via", way.grpc)


def names(seen: Examined) -> list[str]:
    return [one["name"] for one in seen.found]


def test_a_proxy_that_holds_streams_back(server: RunningServer, tmp_path: Path) -> None:
    packing = "gzip on; gzip_proxied any; gzip_min_length 0; gzip_types text/event-stream;"
    seen = through(server, tmp_path, FRONT.replace("proxy_buffering off;", packing))
    assert names(seen) == ["via.stream"]
    assert "holds streams back" in seen.found[0]["cause"]
    assert "proxy_buffering off" in seen.found[0]["mend"]
    assert seen.code == 3


def test_a_proxy_that_passes_no_upgrade_on(server: RunningServer, tmp_path: Path) -> None:
    front = FRONT.replace("proxy_set_header Upgrade $http_upgrade;", "")
    seen = through(server, tmp_path, front.replace("$connection_upgrade", "close"))
    assert names(seen) == ["via.upgrade"]
    assert "does not pass upgrades" in seen.found[0]["cause"]
    assert "$http_upgrade" in seen.found[0]["mend"]


def test_a_proxy_that_passes_no_grpc_on(server: RunningServer, tmp_path: Path) -> None:
    seen = through(server, tmp_path, FRONT, passes_grpc=False)
    assert names(seen) == ["via.grpc"]
    assert "grpc_pass" in seen.found[0]["mend"]


def test_a_proxy_whose_server_is_elsewhere(server: RunningServer, tmp_path: Path) -> None:
    seen = through(server, tmp_path, FRONT, upstream=free_port())
    assert names(seen) == ["via.stream", "via.upgrade"]
    assert "does not reach the server" in seen.found[0]["cause"]


def test_a_proxy_that_does_not_say_who_calls(server: RunningServer, tmp_path: Path) -> None:
    front = "\n".join(line for line in FRONT.splitlines() if "X-Forwarded" not in line)
    seen = through(server, tmp_path, front)
    assert names(seen) == ["via.forwarded"]
    assert seen.code == 1


def test_a_proxy_whose_authority_is_not_trusted(server: RunningServer, tmp_path: Path) -> None:
    pair = Authority(tmp_path / "ca").sign("front")
    given = {name: text for name, text in server.environment.items() if name[:7] == "ISTHMUS"}
    with nginx(tmp_path / "nginx", FRONT, server.http, server.grpc, pair) as found:
        way = required(found)
        seen = examine(server.folder, given, "--via", way.http, "--via", way.grpc)
    assert {*names(seen)} == {"via.stream", "via.upgrade", "via.grpc"}
    assert {one["setting"] for one in seen.found} == {"outbound.ca_file"}


def test_a_server_that_goes_by_other_settings(server: RunningServer, tmp_path: Path) -> None:
    del tmp_path
    given = {name: text for name, text in server.environment.items() if name[:7] == "ISTHMUS"}
    seen = examine(server.folder, given | {"ISTHMUS_DRAIN__DEADLINE_S": "77"})
    assert names(seen) == ["running"]
    assert seen.found[0]["setting"] == "drain.deadline_s"


def test_a_port_at_which_the_running_server_is_not(server: RunningServer) -> None:
    given = {name: text for name, text in server.environment.items() if name[:7] == "ISTHMUS"}
    seen = examine(server.folder, given | {"ISTHMUS_HTTP__PORT": str(free_port())})
    assert "listeners.http" in names(seen)


def test_the_probe_is_for_callers_with_a_token_alone(server: RunningServer) -> None:
    known = server.headers("complete_code")
    for headers, status in (({}, 401), (known, 200)):
        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=30)
        connection.request("GET", "/monitoring/probe", headers=headers)
        reply = connection.getresponse()
        assert reply.status == status
        assert reply.read().count(b"\n\n") == (4 if status == 200 else 0)
        connection.close()
    where = f"ws://127.0.0.1:{server.http}/monitoring/probe"
    with pytest.raises(InvalidStatus) as refused:
        connect(where, proxy=None)
    assert refused.value.response.status_code == 401
    with connect(where, additional_headers=known, proxy=None) as socket:
        assert socket.recv() == "ok"
