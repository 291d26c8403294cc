"""The metrics listener on a real port."""

import asyncio

import pytest

from isthmus.adapters.telemetry.listener import open_listener
from isthmus.adapters.telemetry.pipeline import Pipeline
from isthmus.adapters.telemetry.prometheus import Prometheus
from isthmus.settings import SettingsError
from tests.unit.adapters.telemetry.facts import CALLED, SERVED

HOST = "127.0.0.1"


async def ask(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(data)
    await writer.drain()
    try:
        return await reader.read()
    finally:
        writer.close()


def nothing() -> None:
    return


async def test_h11_70_a_scrape_sees_what_was_told_before_it() -> None:
    metrics = Prometheus()
    pipeline = Pipeline([metrics.take])
    pipeline.emit(SERVED)
    pipeline.emit(CALLED)
    page = metrics.http_page
    async with open_listener(HOST, 0, "http.metrics_port", page, pipeline.drain) as port:
        reply = await ask(port, b"GET /any/path HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b'http_request_duration_seconds_bucket{handler="/v2/code/completions"' in body
    assert b'status="2xx"' in body
    assert b"model_inferences_total{" in body
    assert b"process_cpu_seconds_total" in body


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"HEAD / HTTP/1.1\r\n\r\n", b"200"),
        (b"POST / HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
    ],
)
async def test_other_requests(request_head: bytes, status: bytes) -> None:
    async with open_listener(HOST, 0, "x", lambda: b"page", nothing) as port:
        reply = await ask(port, request_head)
    assert reply.split(b" ")[1] == status
    assert not reply.endswith(b"page")


async def test_a_port_that_is_taken_names_its_setting() -> None:
    async with open_listener(HOST, 0, "http.metrics_port", lambda: b"", nothing) as port:
        with pytest.raises(SettingsError, match=rf"^http\.metrics_port: cannot listen on .*{port}"):
            async with open_listener(HOST, port, "http.metrics_port", lambda: b"", nothing):
                pass


async def test_a_silent_caller_is_dropped() -> None:
    async with open_listener(HOST, 0, "x", lambda: b"page", nothing, 0.2) as port:
        async with asyncio.timeout(3):
            assert await ask(port, b"GET / HTTP/1.1\r\n") == b""
        assert (await ask(port, b"GET / HTTP/1.1\r\n\r\n")).endswith(b"page")
