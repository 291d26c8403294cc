"""Readers who leave, and answers that break: what is closed, what is read on, what is known."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from pydantic import SecretStr

from isthmus.adapters.outbound.client import HttpClient, open_client
from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._spec import ProviderSpec
from isthmus.adapters.providers.dialects.anthropic import AnthropicDialect
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.adapters.providers.signing.api_key import ApiKey
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import Chat, Delta, Gathering, Message, ModelCall, RawCall, Text, Usage
from isthmus.settings import OutboundSettings
from tests.contract.outbound.rawserver import Peer, RealClock, serving, within

CALL = ModelCall("m", Chat((Message("user", (Text("Hi"),)),)), 64)
RAW = RawCall("/v1/messages", (), b"{}", "m", streaming=True)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"a","usage":'
    b'{"input_tokens":21,"output_tokens":1}}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    b'{"type":"text_delta","text":"Hello"}}\n\n'
)
END = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":9}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture
async def outbound() -> AsyncIterator[HttpClient]:
    async with open_client(OutboundSettings(), RealClock()) as client:
        yield client


def provider(outbound: HttpClient, port: int, drain_s: float = 0.0) -> HttpProvider:
    spec = ProviderSpec(
        name="anthropic",
        base_url=f"http://127.0.0.1:{port}",
        dialect=AnthropicDialect(),
        framing=SseParser,
        signer=ApiKey(SecretStr("k"), "x-api-key"),
        forward_paths=frozenset({"/v1/messages"}),
        forward_headers=frozenset(),
        drain_s=drain_s,
    )
    return HttpProvider(spec, outbound, RealClock(), Tries(0))


class Vendor:
    """Begins an answer, waits to be told, ends it; and says when its connection was closed."""

    def __init__(self, *, broken: bool = False) -> None:
        self.go_on = asyncio.Event()
        self.closed = asyncio.Event()
        self.broken = broken

    async def __call__(self, peer: Peer) -> None:
        await peer.read()
        await peer.write(HEAD + chunk(START))
        if self.broken:
            return
        gone = asyncio.ensure_future(peer.reader.read(1))
        told = asyncio.ensure_future(self.go_on.wait())
        await asyncio.wait((gone, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if gone.done():
            self.closed.set()
            return
        await peer.write(chunk(END) + LAST)
        await gone
        self.closed.set()


async def leave(door: HttpProvider, way: str, into: Gathering) -> None:
    """Read the beginning of an answer in one of the three ways, until cancelled."""
    match way:
        case "stream":
            async with aclosing(door.stream(CALL, within())) as deltas:
                async for delta in deltas:
                    into.add((delta,))
        case "whole":
            await door.whole(CALL, within(), into)
        case _:
            async with door.forward(RAW, within()) as reply:
                try:
                    async for piece in reply.chunks:
                        into.add((Delta(text="x"),))
                        reply.meter(piece)
                finally:
                    into.usage = reply.meter(b"")


async def left(door: HttpProvider, way: str) -> tuple["asyncio.Task[None]", Gathering]:
    begun = asyncio.Event()
    into = Gathering(begun.set)
    task = asyncio.ensure_future(leave(door, way, into))
    async with asyncio.timeout(10):
        await begun.wait()
    task.cancel()
    return task, into


ways = pytest.mark.parametrize("way", ["stream", "whole", "forward"])


@ways
async def test_who_leaves_closes_the_upstream_at_once(outbound: HttpClient, way: str) -> None:
    vendor = Vendor()
    async with serving(vendor) as server:
        task, into = await left(provider(outbound, server.port), way)
        async with asyncio.timeout(10):
            await vendor.closed.wait()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert into.usage == Usage(21, 1)


@ways
async def test_an_answer_that_is_billed_anyway_is_read_on(outbound: HttpClient, way: str) -> None:
    vendor = Vendor()
    async with serving(vendor) as server:
        door = provider(outbound, server.port, drain_s=30.0)
        task, into = await left(door, way)
        await asyncio.sleep(0)
        assert not task.done()
        vendor.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(10):
                await task
        assert into.usage == (Usage(21, 9) if way == "whole" else Usage(21, 1))
        assert not vendor.closed.is_set(), "the connection came to its end in order, and is kept"


@ways
async def test_reading_on_has_a_limit(outbound: HttpClient, way: str) -> None:
    vendor = Vendor()
    async with serving(vendor) as server:
        task, _ = await left(provider(outbound, server.port, drain_s=0.05), way)
        async with asyncio.timeout(10):
            await vendor.closed.wait()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_forwarded_answer_that_was_read_on_is_metered(outbound: HttpClient) -> None:
    vendor = Vendor()
    async with serving(vendor) as server:
        async with provider(outbound, server.port, drain_s=30.0).forward(RAW, within()) as reply:
            assert reply.meter(await anext(reply.chunks)) == Usage(21, 1)
            vendor.go_on.set()
        assert reply.meter(b"") == Usage(21, 9)


async def test_tokens_are_known_where_an_answer_broke(outbound: HttpClient) -> None:
    async with serving(Vendor(broken=True)) as server:
        door = provider(outbound, server.port)
        seen = Gathering()
        with pytest.raises(UpstreamFailed):
            await leave(door, "stream", seen)
        assert seen.usage == Usage(21, 1)
        gathering = Gathering()
        with pytest.raises(UpstreamFailed):
            await door.whole(CALL, within(), gathering)
        assert (gathering.usage, gathering.finish) == (Usage(21, 1), None)
