"""Usage of the real server: in the database after a stop, and all but a batch after a kill."""

import json
import signal
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.process import RunningServer, running_server, start

FILE = {"file_name": "a.py", "content_above_cursor": "x = [1,\n     ", "content_below_cursor": ""}
BODY = json.dumps({"prompt_version": 1, "current_file": FILE}).encode()
WAIT_S = 60.0


def complete(server: RunningServer, headers: Mapping[str, str], count: int) -> None:
    told = {"content-type": "application/json", **headers}
    for _ in range(count):
        request = urllib.request.Request(f"{server.url}/v2/code/completions", BODY, told)  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=WAIT_S) as reply:  # noqa: S310 - our own server
            assert reply.status == 200


def usage(server: RunningServer) -> list[dict[str, object]]:
    """What `isthmus usage` tells by language."""
    done = server.command("usage", "--by", "language,outcome", "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("transports", ["http", "http,grpc"])
def test_nothing_is_lost_when_the_server_is_asked_to_stop(tmp_path: Path, transports: str) -> None:
    settings = {"ISTHMUS_USAGE__FLUSH_S": "600", "ISTHMUS_TRANSPORTS": transports}
    with running_server(tmp_path, settings) as server:
        complete(server, server.headers("complete_code"), 25)
        assert server.stop() == 0
        (group,) = usage(server)
        assert group["by"] == {"language": "python", "outcome": "ok"}
        assert group["requests"] == 25
        assert not list((tmp_path / "var" / "usage").iterdir())


def test_a_killed_server_loses_no_batch_that_was_written(tmp_path: Path) -> None:
    settings = {"ISTHMUS_USAGE__FLUSH_S": "0.05", "ISTHMUS_TRANSPORTS": "http"}
    with running_server(tmp_path, settings) as server:
        headers = server.headers("complete_code")
        complete(server, headers, 10)
        until_s = time.monotonic() + WAIT_S
        while not (found := usage(server)) or found[0]["requests"] != 10:
            assert time.monotonic() < until_s, found
        complete(server, headers, 5)
        server.stop(signal.SIGKILL)
        start(server)
        complete(server, headers, 3)
        assert server.stop() == 0
        (group,) = usage(server)
        # The five of the last batch before the kill are there, or some of them are not.
        assert group["requests"] in range(13, 19)
