"""What a person does first: start it, paste the banner's line, stop it."""

import json
import os
import signal
import socket
import stat
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.process import (
    RunningServer,
    banner_curl,
    prepare,
    running_server,
    start,
)


def test_the_banners_curl_works_as_pasted(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        pasted = banner_curl(server.out)
        done = subprocess.run(
            ["bash", "-c", pasted],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        answer = json.loads(done.stdout)
        assert answer["choices"][0]["text"].strip()
        assert answer["model"]["engine"] == "local"


def test_ctrl_c_drains_and_exits_0_without_a_traceback(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        assert server.stop(signal.SIGINT) == 0
        assert "Traceback" not in server.log + server.out
        assert "Stopped." in server.out


def test_ctrl_c_while_sessions_still_load_exits_0(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        assert server.stop(signal.SIGINT) == 0
        assert "Traceback" not in server.log + server.out


def test_the_data_directory_is_private_and_kept_between_runs(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        key = tmp_path / "var" / "signing_key.pem"
        first = key.read_bytes()
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        token = server.token("complete_code")
        assert server.stop() == 0
        assert list((tmp_path / "var").glob("*.db"))
        start(server)
        assert key.read_bytes() == first
        assert _complete(server, token) == 200


def test_strangers_are_told_that_there_is_no_authorization_header(tmp_path: Path) -> None:
    with running_server(tmp_path, {"ISTHMUS_TRANSPORTS": "http"}) as server:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server.url + "/", timeout=5)  # noqa: S310 - our own URL
        assert refused.value.code == 401
        assert json.load(refused.value) == {"error": "No authorization header presented"}
        refused.value.close()


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_a_port_that_is_taken_names_the_setting_and_exits_2(tmp_path: Path, transport: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = {f"ISTHMUS_{transport.upper()}__PORT": str(taken.getsockname()[1])}
        done = prepare(tmp_path, port).command("server")
        assert done.returncode == 2
        assert f"{transport}.port" in done.stderr
        assert "Traceback" not in done.stderr


def test_with_http_alone_neither_grpc_nor_langgraph_is_loaded(tmp_path: Path) -> None:
    with running_server(tmp_path, arguments=("--transports", "http")) as server:
        loaded = Path(f"/proc/{server.process.pid}/maps").read_text(encoding="utf-8")
        assert "httptools" in loaded
        for package in ("grpc", "ormsgpack", "sqlalchemy", "protobuf"):
            assert package not in loaded


def test_metrics_answer_on_their_own_ports(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        assert _complete(server, server.token("complete_code")) == 200
        text = _get(f"http://127.0.0.1:{server.metrics}/metrics")
        assert "http_request_duration_seconds_bucket{" in text
        assert 'status="2xx"' in text
        assert "model_inferences_total" in text
        assert "grpc_server_handled_total" in _get(
            f"http://127.0.0.1:{server.platform_metrics}/metrics"
        )


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - our own URL
        return reply.read().decode()


def _complete(server: RunningServer, token: str) -> int:
    body = {
        "prompt_version": 1,
        "current_file": {
            "file_name": "a.py",
            "content_above_cursor": "value_one = 1\nvalue_two = 2\nval",
            "content_below_cursor": "",
        },
    }
    request = urllib.request.Request(  # noqa: S310 - our own URL
        server.url + "/v2/code/completions",
        json.dumps(body).encode(),
        {
            "authorization": f"Bearer {token}",
            "x-gitlab-authentication-type": "oidc",
            "x-gitlab-instance-id": "dev",
            "content-type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - our own URL
        return int(reply.status)
