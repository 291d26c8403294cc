"""The provider proxy on a real uvicorn: what becomes of a stream that breaks or is left."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from isthmus.core.errors import UpstreamFailed
from isthmus.core.events import Crashed, HttpServed, ModelCalled
from isthmus.edge.http.app import create
from tests.support.http_app import EVENTS, ScriptedUpstream, Stand
from tests.support.listener import listening

BODY = b'{"model":"claude-test","stream":true}'
REQUEST = (
    b"POST /ai/v1/proxy/anthropic/v1/messages?beta=true HTTP/1.1\r\nhost: x\r\n"
    b"x-gitlab-unit-primitive: ai_gateway_model_provider_proxy\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


@contextmanager
def serving(stand: Stand) -> Iterator[tuple[int, ScriptedUpstream]]:
    assert stand.upstream
    stand.upstream.reply_headers = EVENTS
    with listening(create(stand.services())) as port:
        yield port, stand.upstream


async def test_a_stream_that_breaks_is_cut_off_without_an_end() -> None:
    stand = Stand()
    with serving(stand) as (port, upstream):
        upstream.steps = [b"data: 1\n\n", UpstreamFailed("It broke.")]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        async with asyncio.timeout(5):
            reply = await reader.read()
        writer.close()
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"9\r\ndata: 1\n\n\r\n"
    assert stand.sink.of(ModelCalled)[0].finish == "error"
    assert stand.sink.of(HttpServed)[0].aborted
    assert not stand.sink.of(Crashed)


@pytest.mark.parametrize("first", [[b"data: 1\n\n"], []])
async def test_a_caller_that_leaves_closes_the_provider_at_once(first: list[bytes]) -> None:
    stand = Stand()
    with serving(stand) as (port, upstream):
        upstream.steps = [*first, None]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await asyncio.sleep(0.02)
        assert upstream.calls
        writer.close()
        left_at_s = time.monotonic()
        assert await asyncio.to_thread(upstream.closed.wait, 5)
        assert time.monotonic() - left_at_s < 2.0
    [fact] = stand.sink.of(ModelCalled)
    assert fact.finish == "cancelled"
    assert stand.sink.of(HttpServed)[0].aborted
