"""The calls that go by libraries of their own believe the operator's authority, too.

Runners, MCP servers, a platform in another process, and the executor: each beside the same call
without the setting, which fails.
"""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from isthmus.adapters.outbound.trust import identified, papers
from isthmus.app.foundation import SystemClock
from isthmus.app.runners import open_runner
from isthmus.core.errors import Unavailable
from isthmus.executor.mcp_servers import open_servers
from isthmus.executor.task import Malformed
from isthmus.executor.trust import Trust
from isthmus.settings import OutboundSettings, load
from tests.contract.executor.test_mcp import NAMES, config, listening
from tests.contract.outbound.pki import Authority, authority
from tests.contract.runners.replay import far_end
from tests.contract.runners.test_runners import job
from tests.support.ports import free_port
from tests.support.process import PROGRAM, RunningServer, prepare, running_server, start
from tests.support.terminator import terminated

CA_FILE = "ISTHMUS_OUTBOUND__CA_FILE"


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return authority(tmp_path, "the operator's authority")


async def started(given: dict[str, str]) -> int:
    """Start a job on the runner that is set, and stop it; its number, 0 when it cannot start."""
    settings = await asyncio.to_thread(load, environ=given)
    async with open_runner(settings, SystemClock()) as runner:
        try:
            ref = await runner.start(job())
        except Unavailable:
            return 0
        await runner.stop(ref)
        return ref.number


@pytest.mark.parametrize("kind", ["kubernetes", "gitlab_ci"])
async def test_runners_of_jobs_elsewhere(ours: Authority, kind: str) -> None:
    with far_end() as far:
        port = urlsplit(far.url).port or 0
        with terminated(port, ours.serving("localhost")) as door:
            branch = f"ISTHMUS_RUNNERS__{kind.upper()}"
            given = {
                "ISTHMUS_RUNNERS__KIND": kind,
                f"{branch}__URL": f"https://localhost:{door.port}",
                f"{branch}__TOKEN": "of-the-runner",
            }
            assert await started(given) == 0
            assert (door.agreed, far.asked) == (0, [])
            for only in ("true", "false"):
                trusting = given | {CA_FILE: str(ours.file), "ISTHMUS_OUTBOUND__CA_ONLY": only}
                assert await started(trusting) > 0
            assert door.agreed >= 2
            assert far.asked


async def test_jobs_of_this_machine_inherit_it(ours: Authority, tmp_path: Path) -> None:
    given = {
        "ISTHMUS_RUNNERS__KIND": "subprocess",
        "ISTHMUS_DATA_DIR": str(tmp_path / "data"),
        CA_FILE: str(ours.file),
    }
    settings = await asyncio.to_thread(load, environ=given)
    async with open_runner(settings, SystemClock()) as runner:
        ref = await runner.start(job())
        environ = Path(f"/proc/{ref.number}/environ")
        # Nothing is there yet until the program has taken its place.
        while not (told := await asyncio.to_thread(environ.read_bytes)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await runner.stop(ref)
    assert f"{CA_FILE}={ours.file}".encode() in told.split(b"\0")


@contextmanager
def repository(folder: Path) -> Iterator[int]:
    """A repository of one file, as a plain web server offers it; its port."""
    work = folder / "work"
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@example.test", "-C", str(work))
    subprocess.run(["git", "init", "-q", "-b", "topic", str(work)], check=True)
    (work / "README.md").write_text("# Bridges\n")
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    subprocess.run([*git, "update-server-info"], check=True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
            """Say nothing."""

    handler = partial(Quiet, directory=str(work / ".git"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_working_copies_of_this_machines_jobs(
    ours: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What git is told itself wins, and machines of tests may tell it something.
    monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)
    context = ours.serving("localhost")
    context.set_alpn_protocols(["http/1.1"])
    with repository(tmp_path) as port, terminated(port, context) as door:
        given = {
            "ISTHMUS_RUNNERS__KIND": "subprocess",
            "ISTHMUS_RUNNERS__SUBPROCESS__SOURCE": f"https://localhost:{door.port}/",
            "ISTHMUS_DATA_DIR": str(tmp_path / "data"),
        }
        assert asyncio.run(started(given)) == 0
        assert asyncio.run(started(given | {CA_FILE: str(ours.file)})) > 0
    assert [path.read_text() for path in tmp_path.glob("data/jobs/*/*/README.md")] == [
        "# Bridges\n"
    ]


async def test_servers_of_tools(ours: Authority, tmp_path: Path) -> None:
    limits = await asyncio.to_thread(OutboundSettings, ca_file=ours.file)
    trust = await asyncio.to_thread(lambda: Trust(identified(limits), papers(limits)))
    port = await asyncio.to_thread(free_port)
    serving = listening(port)
    await asyncio.to_thread(serving.__enter__)
    try:
        with terminated(port, ours.serving("localhost")) as door:
            path = config(tmp_path, url=f"https://localhost:{door.port}/mcp")
            async with open_servers(path, {}, trust) as servers:
                assert [tool.name for tool in servers.announced] == NAMES
            assert door.agreed
            with pytest.raises(Malformed):
                async with open_servers(path, {}):
                    pass
            assert await asyncio.to_thread(door.has_refused)
    finally:
        await asyncio.to_thread(serving.__exit__, None, None, None)


@dataclass
class Client:
    """A person at an executor: runs one session of the tour, with or without the setting."""

    server: RunningServer
    folder: Path

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        workspace = self.folder / "workspace"
        workspace.mkdir(exist_ok=True)
        command = [PROGRAM, "executor", "--goal", "Look around", "--workspace", str(workspace)]
        return subprocess.run(
            [*command, "--approve", "all", "--patience", "0.5", *arguments],
            env=self.server.environment | variables,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def test_the_executor(ours: Authority, tmp_path: Path) -> None:
    context = ours.serving("localhost")
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        client = Client(server, tmp_path)
        grpc = server.token("duo_chat", "duo_agent_platform")
        web = server.command("tokens", "create", "--name", "me").stdout.strip()
        with (
            terminated(server.http, context) as by_web,
            terminated(server.grpc, context) as by_grpc,
        ):
            for door, scheme, token in ((by_web, "https", web), (by_grpc, "grpcs", grpc)):
                words = ("--url", f"{scheme}://localhost:{door.port}", "--token", token)
                refused = client.run(*words)
                assert refused.returncode != 0, refused.stdout
                assert (door.agreed, door.has_refused()) == (0, True)
                done = client.run(*words, **{CA_FILE: str(ours.file)})
                assert done.returncode == 0, done.stdout + done.stderr
                assert "[scripted tour]" in done.stdout
                assert door.agreed


@contextmanager
def platform(folder: Path, ours: Authority) -> Iterator[RunningServer]:
    """A process that runs sessions alone, for those who show a certificate of ours."""
    pem = str(ours.issue("localhost"))
    server = prepare(
        folder,
        {
            "ISTHMUS_GRPC__TLS__ENABLED": "true",
            "ISTHMUS_GRPC__TLS__CERT_FILE": pem,
            "ISTHMUS_GRPC__TLS__KEY_FILE": pem,
            "ISTHMUS_GRPC__TLS__CLIENT_AUTH": "required",
            "ISTHMUS_GRPC__TLS__CLIENT_CA_FILE": str(ours.file),
        },
    )
    start(server)
    try:
        server.wait_for_sessions()
        yield server
    finally:
        server.stop()


def test_a_platform_in_another_process(ours: Authority, tmp_path: Path) -> None:
    shown = ours.issue("the gateway", "of-the-key")
    with platform(tmp_path, ours) as far:
        given = {
            "ISTHMUS_TRANSPORTS": "http",
            "ISTHMUS_PLATFORM__URL": f"localhost:{far.grpc}",
            CA_FILE: str(ours.file),
        }
        ours_too = {
            "ISTHMUS_OUTBOUND__CLIENT_CERT_FILE": str(shown),
            "ISTHMUS_OUTBOUND__CLIENT_KEY_PASSWORD": "of-the-key",
        }
        for known in (False, True):
            with running_server(tmp_path, given | (ours_too if known else {})) as near:
                token = near.command("tokens", "create", "--name", f"me{known}").stdout.strip()
                url = f"http://127.0.0.1:{near.http}"
                done = Client(near, tmp_path).run("--url", url, "--token", token)
                assert (done.returncode == 0) is known, done.stdout + done.stderr
                assert ("[scripted tour]" in done.stdout) is known


def test_what_grpc_is_given(ours: Authority, tmp_path: Path) -> None:
    hashed = ours.hashed()
    (tmp_path / "other").mkdir()
    other = authority(tmp_path / "other", "another authority")
    for file in (ours.file, hashed):
        alone = papers(OutboundSettings(ca_file=file, ca_only=True)).roots
        assert alone is not None
        assert alone.count(b"BEGIN CERTIFICATE") == 1
        beside = papers(OutboundSettings(ca_file=file)).roots
        assert beside is not None
        assert beside.count(b"BEGIN CERTIFICATE") > 1
        assert alone in beside
    assert papers(OutboundSettings()) == (None, None, None)
    assert papers(OutboundSettings(ca_file=other.file, ca_only=True)).roots != alone
    shown = papers(OutboundSettings(client_cert_file=ours.issue("us")))
    assert shown.key is not None
    assert shown.key.decode() not in repr(shown)
