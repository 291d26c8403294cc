"""A portal that does not answer delays nobody, and one that is set empty is never looked for."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import RunningServer, running_server

BODY = {
    "prompt_version": 1,
    "current_file": {
        "file_name": "a.py",
        "content_above_cursor": "value_one = 1\nvalue_two = 2\nval",
        "content_below_cursor": "",
    },
}
CREDITS = {"ISTHMUS_QUOTA__API_USER": "admin@acme.test", "ISTHMUS_QUOTA__API_TOKEN": "a-token"}
USER = {"x-gitlab-global-user-id": "user-1"}
FOR_EVER = {"ISTHMUS_AUTH__KEYS_TIMEOUT_S": "3600"}


@contextmanager
def black_hole() -> Iterator[tuple[socket.socket, str]]:
    """A listener that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        hole.settimeout(60)
        yield hole, f"http://127.0.0.1:{hole.getsockname()[1]}"


def works(server: RunningServer) -> None:
    """Ready, and serves those whose keys are at hand."""
    with urllib.request.urlopen(f"{server.url}/monitoring/ready", timeout=30) as reply:  # noqa: S310
        assert json.load(reply) == {"serving": True}
    for path, user in (("/v2/code/completions", {}), ("/v1/code/user_access_token", USER)):
        headers = server.headers("complete_code") | {"content-type": "application/json"} | user
        request = urllib.request.Request(  # noqa: S310 - our own URL
            server.url + path, json.dumps(BODY).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            assert reply.status == 200


def test_nobody_waits_for_issuers_that_hang(tmp_path: Path) -> None:
    with black_hole() as (hole, url):
        issuers = {"AIGW_CUSTOMER_PORTAL_URL": url, "AIGW_GITLAB_URL": url}
        with running_server(tmp_path, issuers | FOR_EVER) as server:
            works(server)
            hole.accept()[0].close()
            server.wait_for_sessions()


def test_with_an_offline_licence_there_is_no_portal(tmp_path: Path) -> None:
    offline = {"AIGW_CUSTOMER_PORTAL_URL": "", **CREDITS}
    with black_hole() as (hole, url):
        # Whatever left would go through this proxy, and never come back.
        with running_server(tmp_path, offline | {"ISTHMUS_OUTBOUND__PROXY_URL": url}) as server:
            works(server)
        hole.setblocking(False)
        with pytest.raises(BlockingIOError):
            hole.accept()
