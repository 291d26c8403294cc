"""One server with everything around a call: TLS, credits, events, metrics, mocked models."""

import json
import signal
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509

from tests.support.certificates import write_pair
from tests.support.process import UNTRUSTING, RunningServer, running_server

FILE = ("content_above_cursor", "content_below_cursor")
TOKEN = "t0p-secret-of-the-portal"


class Neighbour(ThreadingHTTPServer):
    """A portal and a collector in one: says `status`, keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, str, bytes]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        assert isinstance(self.server, Neighbour)
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        self.server.asked.append((self.command, self.path, body))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_HEAD = do_POST = _answer  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@contextmanager
def neighbour() -> Iterator[Neighbour]:
    server = Neighbour()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def settings(folder: Path, url: str) -> dict[str, str]:
    tls = write_pair(folder, 1)
    return {
        "ISTHMUS_TRANSPORTS": "http",
        "ISTHMUS_MODELS__MOCK": "true",
        "AIGW_FASTAPI__TLS__CERT_FILE": str(tls.cert_file),
        "AIGW_FASTAPI__TLS__KEY_FILE": str(tls.key_file),
        "ISTHMUS_HTTP__TLS__ENABLED": "true",
        "FORWARDED_ALLOW_IPS": "127.0.0.0/8",
        "AIGW_CUSTOMER_PORTAL_URL": "http://127.0.0.1:1",
        "ISTHMUS_QUOTA__URL": url,
        "CUSTOMER_PORTAL_USAGE_QUOTA_API_USER": "admin@example.test",
        "CUSTOMER_PORTAL_USAGE_QUOTA_API_TOKEN": TOKEN,
        "AIGW_INTERNAL_EVENT__ENABLED": "true",
        "AIGW_INTERNAL_EVENT__ENDPOINT": url,
        "AIGW_INTERNAL_EVENT__BATCH_SIZE": "50",
    }


def post(server: RunningServer, path: str, body: object, user: str = "user-1") -> dict[str, object]:
    headers = server.headers("complete_code", "generate_commit_message")
    headers |= {"content-type": "application/json", "x-gitlab-global-user-id": user}
    headers |= {"x-forwarded-for": "6.6.6.6, 192.0.2.7"}
    data = json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, headers)  # noqa: S310 - our own URL
    with urllib.request.urlopen(request, timeout=30, context=UNTRUSTING) as reply:  # noqa: S310 - our own URL
        return cast("dict[str, object]", json.loads(reply.read()))


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as reply:
        return str(reply.read().decode())


def visit(port: int) -> ssl.SSLSocket:
    return UNTRUSTING.wrap_socket(socket.create_connection(("127.0.0.1", port), 10))


def serial(connection: ssl.SSLSocket) -> int:
    der = connection.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def healthy(connection: ssl.SSLSocket) -> bool:
    connection.sendall(b"GET /monitoring/healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    return connection.recv(4096).startswith(b"HTTP/1.1 200 ")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Neighbour]]:
    folder = tmp_path_factory.mktemp("metering")
    with neighbour() as other, running_server(folder, settings(folder, other.url)) as server:
        yield server, other


def test_h11_70_a_completion_is_counted_and_comes_from_nowhere(
    stand: tuple[RunningServer, Neighbour],
) -> None:
    server, _ = stand
    body = {"prompt_version": 1, "current_file": dict.fromkeys(FILE, "a") | {"file_name": "a.py"}}
    answer = post(server, "/v2/code/completions", body)
    assert "mock" in json.dumps(answer["choices"])
    metrics = page(server.metrics)
    counted = 'handler="/v2/code/completions",le="+Inf",method="POST",status="2xx"} 1.0'
    assert f"http_request_duration_seconds_bucket{{{counted}" in metrics
    assert "model_inferences_total{" in metrics
    assert "`models.mock` is on" in server.log


def test_a_new_certificate_is_used_without_a_restart(
    stand: tuple[RunningServer, Neighbour],
) -> None:
    server, _ = stand
    with visit(server.http) as old:
        assert (serial(old), healthy(old)) == (1, True)
        write_pair(server.folder, 2)
        until_s = time.monotonic() + 30
        newest = 1
        while newest == 1 and time.monotonic() < until_s:
            time.sleep(0.2)
            with visit(server.http) as new:
                newest = serial(new)
                assert healthy(new)
        assert newest == 2
        assert (serial(old), healthy(old)) == (1, True)


def test_h11_68_and_69_credits_are_asked_for_and_events_leave_in_the_drain(tmp_path: Path) -> None:
    with neighbour() as other, running_server(tmp_path, settings(tmp_path, other.url)) as server:
        other.status = 402
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(server, "/v1/code/user_access_token", {}, "poor")
        assert json.loads(caught.value.read())["error_code"] == "USAGE_QUOTA_EXCEEDED"
        commit = {"inputs": {"diff": "+ a"}}
        told = post(server, "/v2/prompts/generate_commit_message", commit, "poor")
        assert told["content"] == "mock"
        other.status = 200
        for _ in range(2):
            assert "token" in post(server, "/v1/code/user_access_token", {})
        assert 'usage_quota_check_total{realm="unknown",result="allow"} 2.0' in page(server.metrics)
        assert server.stop(signal.SIGTERM) == 0
        assert TOKEN not in server.log + server.out
    questions = [path for method, path, _ in other.asked if method == "HEAD"]
    assert len(questions) == 2
    assert "event_type=code_completions" in questions[0]
    sent = [json.loads(body)["data"] for method, _, body in other.asked if method == "POST"]
    names = [event["se_ac"] for batch in sent for event in batch]
    assert sorted(names) == ["request_complete_code"] * 2 + ["request_generate_commit_message"]
    line = [line for line in server.log.splitlines() if "user_access_token HTTP" in line][-1]
    told = json.loads(line)
    assert told["tracked_internal_events"] == ["request_complete_code"]
    assert told["client_ip"] == "192.0.2.7"
