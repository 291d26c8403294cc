"""A vendor that falls silent in the middle of an answer, behind each of the shipped proxies.

Longer than the limits that proxies have by themselves: a minute, and two. With `SOAK_SECONDS` only.
"""

import http.client
import json
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.deploy.test_proxies import SCRIPTS, SUGGESTIONS, asked
from tests.soak.test_soak import SECONDS
from tests.support.process import PROGRAM, RunningServer, running_server
from tests.support.proxies import KINDS, Ahead, Proxy, proxy
from tests.support.scripted_upstream import scripted_upstream
from tests.support.tls_guide import certificates

SILENCE_S = 150.0
PATIENT = {
    "ISTHMUS_OUTBOUND__FIRST_BYTE_S": "400",
    "ISTHMUS_OUTBOUND__BETWEEN_BYTES_S": "400",
    "ISTHMUS_OUTBOUND__COMPLETION_TOTAL_S": "900",
}


def fall_silent(event: str) -> None:
    """After the first word of an answer."""
    if any(json.dumps(word) in event for word in (" two", " is")):
        time.sleep(SILENCE_S)


def streamed(front: Proxy, files: Path, headers: dict[str, str]) -> bool:
    context = ssl.create_default_context(cafile=files / "ca.crt")
    connection = http.client.HTTPSConnection("localhost", front.http, timeout=900, context=context)
    connection.request("POST", SUGGESTIONS, asked(stream=True), headers)
    body = connection.getresponse().read()
    connection.close()
    return b"three" in body and b"event: stream_end" in body


def talked(server: RunningServer, files: Path, workspace: Path, url: str, token: str) -> bool:
    """Whether a session got to its end, on the connection that it began with."""
    command = [PROGRAM, "executor", "--goal", "Look around", "--workspace", str(workspace)]
    done = subprocess.run(
        [*command, "--approve", "all", "--patience", "0", "--url", url, "--token", token],
        env=server.environment | {"ISTHMUS_OUTBOUND__CA_FILE": str(files / "ca.crt")},
        cwd=server.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return done.returncode == 0 and "It is about bridges." in done.stdout


@pytest.mark.skipif(not SECONDS, reason="SOAK_SECONDS says that there is time")
def test_silence_ends_no_stream_and_no_session(tmp_path: Path) -> None:
    files = certificates(tmp_path, "localhost")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "README.md").write_text("# Bridges\n")
    with (
        scripted_upstream(SCRIPTS) as vendor,
        running_server(tmp_path, vendor.settings() | PATIENT) as server,
        ThreadPoolExecutor(3 * len(KINDS)) as pool,
    ):
        server.wait_for_sessions()
        headers = server.headers("complete_code") | {"content-type": "application/json"}
        grpc = server.token("duo_chat", "duo_agent_platform")
        web = server.command("tokens", "create", "--name", "me").stdout.strip()
        vendor.before = fall_silent

        def through(name: str) -> list[bool]:
            ahead = Ahead(server.http, server.grpc, False, files)
            with proxy(name, ahead, tmp_path / name) as front:
                waiting = [pool.submit(streamed, front, files, headers)]
                for url, token in (
                    (f"https://localhost:{front.http}", web),
                    (f"grpcs://localhost:{front.grpc}", grpc),
                ):
                    waiting.append(pool.submit(talked, server, files, workspace, url, token))
                return [each.result() for each in waiting]

        with ThreadPoolExecutor(len(KINDS)) as proxies:
            found = dict(zip(KINDS, proxies.map(through, KINDS), strict=True))
    assert found == {name: [True, True, True] for name in KINDS}
