"""The application on a real uvicorn: honest statuses, broken streams, callers that leave."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from isthmus.core.errors import UpstreamFailed, UpstreamLimited
from isthmus.core.events import Crashed, HttpServed, Noted
from isthmus.edge.http.app import assemble
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.sse import raw_text_stream
from isthmus.settings import HttpSettings
from tests.support.http_app import Stand
from tests.support.listener import listening

Step: TypeAlias = str | Exception | float


class Source:
    """A generator of text that plays steps, and tells when it was closed."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self.closed = threading.Event()
        self.closed_at_s = 0.0

    async def text(self) -> AsyncGenerator[str, None]:
        try:
            for step in self.steps:
                match step:
                    case str():
                        yield step
                    case Exception():
                        raise step
                    case _:
                        await asyncio.sleep(step)
        finally:
            self.closed_at_s = time.monotonic()
            self.closed.set()


@contextmanager
def serving(stand: Stand, source: Source) -> Iterator[int]:
    async def stream(request: Request) -> Response:
        await request.body()
        return raw_text_stream(source.text())

    async def plain(request: Request) -> Response:
        await request.body()
        return PlainTextResponse("".join([text async for text in source.text()]))

    async def early(request: Request) -> Response:
        await request.body()
        raise AssertionError("the body never ends")

    endpoints = [
        Endpoint("POST", "/stream", stream, "Stream."),
        Endpoint("POST", "/plain", plain, "Answer."),
        Endpoint("POST", "/early", early, "Read."),
    ]
    with listening(assemble(stand.services(), endpoints)) as port:
        yield port


def post(path: str, body: bytes = b"{}", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode() + body


@asynccontextmanager
async def sent(
    port: int, request: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def answer(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Head and body up to the end of the connection, which the server is asked to close."""
    last = request.replace(b"host: x\r\n", b"host: x\r\nconnection: close\r\n")
    async with sent(port, last) as (reader, _), asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        return head.lower(), await reader.read()


async def told(stand: Stand) -> HttpServed:
    async with asyncio.timeout(5):
        while not stand.sink.of(HttpServed):  # noqa: ASYNC110 - told in the server's thread
            await asyncio.sleep(0.005)
    return stand.sink.of(HttpServed)[0]


async def test_a_stream_is_the_text_and_nothing_else() -> None:
    stand = Stand()
    with serving(stand, Source("", "def ", "", "f():")) as port:
        head, body = await answer(port, post("/stream"))
    assert head.startswith(b"http/1.1 200 ")
    assert b"content-type: text/event-stream; charset=utf-8\r\n" in head
    assert b"transfer-encoding: chunked\r\n" in head
    assert body == b"4\r\ndef \r\n4\r\nf():\r\n0\r\n\r\n"
    fact = await told(stand)
    assert (fact.status, fact.aborted) == (200, False)


async def test_a_stream_without_text_ends_well() -> None:
    with serving(Stand(), Source()) as port:
        head, body = await answer(port, post("/stream"))
    assert head.startswith(b"http/1.1 200 ")
    assert body == b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [
        (UpstreamFailed("It broke."), b"503", b'{"detail":"Inference failed"}'),
        (
            UpstreamLimited("Slow down.", retry_after_s=7.0),
            b"429",
            b'{"detail":"Too many requests. Please try again later."}',
        ),
    ],
)
async def test_a_failure_before_the_first_byte_is_an_honest_status(
    failure: Exception, status: bytes, text: bytes
) -> None:
    with serving(Stand(), Source("", failure)) as port:
        head, body = await answer(port, post("/stream"))
    assert head.startswith(b"http/1.1 " + status)
    assert (b"retry-after: 7\r\n" in head) == (status == b"429")
    assert body == text


@pytest.mark.parametrize("bug", [True, False])
async def test_a_failure_after_content_never_ends_cleanly(
    bug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    stand = Stand()
    failure = KeyError("x") if bug else UpstreamFailed("It broke.")
    with caplog.at_level(logging.ERROR), serving(stand, Source("part", failure)) as port:
        head, body = await answer(port, post("/stream"))
    assert head.startswith(b"http/1.1 200 ")
    assert body == b"4\r\npart\r\n"
    fact = await told(stand)
    assert (fact.status, fact.aborted) == (200, True)
    assert len(stand.sink.of(Crashed)) == bug
    assert len(stand.sink.of(Noted)) >= (not bug)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("path", ["/stream", "/plain"])
@pytest.mark.parametrize("wait_s", [0.0, 0.2])
async def test_a_caller_that_leaves_closes_the_work_at_once(path: str, wait_s: float) -> None:
    stand = Stand()
    source = Source("some", 30.0, "more")
    with serving(stand, source) as port:
        async with sent(port, post(path)):
            await asyncio.sleep(wait_s)
        left_at_s = time.monotonic()
        assert await asyncio.to_thread(source.closed.wait, 5)
        fact = await told(stand)
    assert source.closed_at_s - left_at_s < 2.0
    assert fact.aborted
    assert fact.status == (200 if path == "/stream" else 499)
    assert not stand.sink.of(Crashed)


async def test_a_caller_that_leaves_between_chunks_closes_the_stream() -> None:
    source = Source(*["x" * 1000, 0.01] * 500)
    with serving(Stand(), source) as port:
        async with sent(port, post("/stream")) as (reader, _):
            await reader.readuntil(b"xxx")
        left_at_s = time.monotonic()
        assert await asyncio.to_thread(source.closed.wait, 5)
    assert source.closed_at_s - left_at_s < 2.0


async def test_a_slow_reader_holds_the_stream_back() -> None:
    source = Source(*["x" * 65_536] * 1000)
    with serving(Stand(), source) as port:
        async with sent(port, post("/stream")):
            assert not await asyncio.to_thread(source.closed.wait, 0.3)
        assert await asyncio.to_thread(source.closed.wait, 5)


async def test_a_caller_that_leaves_while_sending_is_noticed() -> None:
    stand = Stand()
    with serving(stand, Source()) as port:
        async with sent(port, post("/early", b"{", length=100)):
            await asyncio.sleep(0.1)
        fact = await told(stand)
    assert fact.aborted
    assert not stand.sink.of(Crashed)


async def test_a_slow_answer_still_arrives_and_the_connection_serves_on() -> None:
    stand = Stand()
    with serving(stand, Source("late", 0.15)) as port:
        async with sent(port, post("/plain")) as (reader, writer):
            for _ in range(3):
                async with asyncio.timeout(5):
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    assert head.startswith(b"http/1.1 200 ")
                    assert b"content-length: 4\r\n" in head
                    assert await reader.readexactly(4) == b"late"
                writer.write(post("/plain"))
    assert not [fact for fact in stand.sink.of(HttpServed)[:3] if fact.aborted]


async def test_a_body_over_the_limit_is_refused_before_it_is_sent() -> None:
    stand = Stand(http=HttpSettings(body_limit_bytes=1024))
    with serving(stand, Source()) as port:
        head, body = await answer(port, post("/plain", b"", length=1025))
    assert head.startswith(b"http/1.1 413 ")
    assert body == b'{"detail":"The body is larger than 1024 bytes."}'


async def test_a_chunked_body_over_the_limit_is_refused_while_it_is_read() -> None:
    stand = Stand(http=HttpSettings(body_limit_bytes=1024))
    head = b"POST /plain HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    with serving(stand, Source("never")) as port:
        reply, _ = await answer(port, head + b"400\r\n" + b"x" * 1024 + b"\r\n1\r\nx\r\n")
    assert reply.startswith(b"http/1.1 413 ")
