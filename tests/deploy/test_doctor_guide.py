"""The commands of docs/guide/troubleshoot.md, and what the page says of them."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.doctor_stand import examine
from tests.support.fixtures_store import required
from tests.support.guide import blocks, page
from tests.support.nginx import FRONT, nginx
from tests.support.process import RunningServer, running_server

CHECKS = {
    *("settings", "modes", "licence", "files", "disk", "keys", "tls", "listeners", "process"),
    *("proxies", "running", "issuers", "token", "clock", "models", "database", "limits"),
    *("instance", "egress", "via", "trust", "platform", "mcp"),
}


def block(section: str, kind: str = "sh") -> str:
    """The first block of this kind in the section; the page's first one without a name."""
    return blocks("troubleshoot", kind, section)[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("guide")
    settings = {
        "ISTHMUS_HTTP__TRUSTED_PROXIES": "127.0.0.1",
        "ISTHMUS_OUTBOUND__CA_FILE": str(Authority(folder / "ca").root),
    }
    with running_server(folder, settings) as one:
        one.wait_for_sessions()
        yield one


def test_the_first_command_finds_nothing_in_a_server_that_is_well(server: RunningServer) -> None:
    done = server.script(block(""))
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 faults, 0 warnings" in done.stdout


def test_a_fault_reads_as_the_page_shows(tmp_path: Path) -> None:
    with running_server(tmp_path, {"AIGW_AUTH__BYPASS_EXTERNAL": "true"}) as server:
        said = server.script(block("")).stdout
    shown = [re.sub(r"\s+", " ", line) for line in block("", "text").splitlines()]
    got = [re.sub(r"\s+", " ", line) for line in said.splitlines()]
    assert {*shown} <= {*got}


def test_the_way_through_a_proxy(server: RunningServer, tmp_path: Path) -> None:
    pair = Authority(tmp_path / "ca").sign("front")
    script = block("Through the proxy in front")
    with ExitStack() as stack:
        opened = nginx(tmp_path / "nginx", FRONT, server.http, server.grpc, pair)
        front = required(stack.enter_context(opened))
        root = f"ISTHMUS_OUTBOUND__CA_FILE={pair.key.with_name('root.pem')} "
        script = script.replace("https://ai.example", front.http)
        done = server.script(root + script.replace("grpcs://ai.example:8443", front.grpc))
    found = [line.split()[:2] for line in done.stdout.splitlines()]
    for name in ("via.stream", "via.upgrade", "via.grpc", "via.forwarded"):
        assert ["ok", name] in found, done.stdout


def test_a_token(server: RunningServer) -> None:
    token = server.token("complete_code")
    (server.folder / "token.txt").write_text(token, encoding="ascii")
    done = server.script(block("A token that is refused"))
    assert done.returncode == 0, done.stdout
    assert "X-Gitlab-Instance-Id: dev" in done.stdout
    assert token not in done.stdout


def test_the_report_for_programs(server: RunningServer) -> None:
    assert server.script(block("For programs")).returncode == 0
    report = json.loads((server.folder / "report.json").read_text(encoding="utf-8"))
    assert (report["schema"], report["verdict"]) == (1, "ok")


def test_every_finding_is_on_the_page(tmp_path: Path) -> None:
    table = page("troubleshoot").partition("## What is looked at\n")[2].partition("\n## ")[0]
    told = set(
        re.findall(
            r"`([a-z]+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line)
        )
    )
    assert told == CHECKS
    seen = {one["name"].partition(".")[0] for one in examine(tmp_path, {}).report["findings"]}
    assert seen <= told


def test_keys_are_shown_made_and_changed_and_tokens_outlive_that(tmp_path: Path) -> None:
    show, generate, rotate = blocks("troubleshoot", "sh", "Keys")
    with running_server(tmp_path) as server:
        old = server.headers("complete_code")
        assert "isthmus_local_key" in server.script(show).stdout
        assert server.script(generate).returncode == 0
        assert (tmp_path / "signing_key.pem").stat().st_mode & 0o777 == 0o600
        assert "Restart every server" in server.script(rotate).stdout
        warned = server.script(block(""))
        assert warned.returncode == 1
        assert "before `isthmus keys rotate`" in warned.stdout
        server.stop()
        from tests.support.process import start

        start(server)
        assert server.script(block("")).returncode == 0
        for headers in (old, server.headers("complete_code")):
            assert asked(server, headers) == 200


def asked(server: RunningServer, headers: dict[str, str]) -> int:
    """The status of a call by a client with these headers."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=30)
    connection.request("GET", "/monitoring/probe", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status
