"""The executor asks an instance on a real socket: its answers, its limits, its redirects."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from isthmus.executor.instance import BODY_LIMIT_BYTES, InstanceClient, NotRegistered


class Answers(BaseHTTPRequestHandler):
    """Answers by path; keeps what it was asked."""

    asked: list[tuple[str, str, bytes, dict[str, str]]]

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append((self.command, self.path, body, dict(self.headers.items())))
        status, reply = {
            "/gitlab/api/v4/version": (200, b'{"version":"19.0.0"}'),
            "/gitlab/large": (200, b"x" * (BODY_LIMIT_BYTES + 1)),
            "/gitlab/moved": (302, b"moved"),
            "/gitlab/api/v4/ai/duo_workflows/workflows": (201, b'{"id":77}'),
        }.get(self.path, (404, b'{"message":"404"}'))
        self.send_response(status)
        self.send_header("Location", "/gitlab/api/v4/version")
        self.send_header("X-Next-Page", "")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    do_GET = do_POST = do_PATCH = handle_any  # noqa: N815 - names of the library

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        del format, args


@contextmanager
def serving() -> Iterator[tuple[InstanceClient, type[Answers]]]:
    handler = type("Kept", (Answers,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/gitlab"
        yield InstanceClient(url, "flow-token", "42"), handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_the_instances_answer_comes_as_it_is() -> None:
    with serving() as (client, seen):
        found = await client.answer("GET", "/api/v4/version", None)
        same = await client.answer("GET", "/gitlab/api/v4/version", None)
        missing = await client.answer("PATCH", "/api/v4/none?x=1", '{"a":1}')
    assert (found.statusCode, found.body, found.error) == (200, '{"version":"19.0.0"}', "")
    assert found.headers["X-Next-Page"] == ""
    assert same.body == found.body
    assert (missing.statusCode, missing.body) == (404, '{"message":"404"}')
    method, path, body, headers = seen.asked[-1]
    assert (method, path, body) == ("PATCH", "/gitlab/api/v4/none?x=1", b'{"a":1}')
    assert headers["Authorization"] == "Bearer flow-token"
    assert headers["X-Gitlab-Duo-Workflow-Id"] == "42"
    assert "flow-token" not in repr(client)


async def test_a_redirect_is_an_answer_and_a_large_body_an_error() -> None:
    with serving() as (client, seen):
        moved = await client.answer("GET", "/moved", None)
        large = await client.answer("GET", "/large", None)
    assert (moved.statusCode, moved.body) == (302, "moved")
    assert len(seen.asked) == 2
    assert large.error == f"response body exceeded size limit ({BODY_LIMIT_BYTES} bytes)"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("TRACE", "/"),
        ("GET", "//evil.example.test/"),
        ("GET", "http://evil.example.test/"),
        ("GET", "@evil.example.test/"),
        ("GET", "/a b"),
        ("GET", "/a\r\nHost: evil"),
    ],
)
async def test_a_request_that_leads_elsewhere_is_not_sent(method: str, path: str) -> None:
    with serving() as (client, seen):
        assert (await client.answer(method, path, None)).error == "invalid request"
    assert seen.asked == []


async def test_a_session_is_registered() -> None:
    with serving() as (client, seen):
        assert await client.register({"goal": "fix it"}) == "77"
    assert seen.asked[0][2] == b'{"goal":"fix it"}'
    with pytest.raises(NotRegistered, match="request failed"):
        await asyncio.wait_for(client.register({}), 10)
    with serving() as (client, _):
        below = InstanceClient(client.base_url + "/x", "t")
        with pytest.raises(NotRegistered, match="404"):
            await below.register({})
