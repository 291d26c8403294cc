"""The HTTP client against real sockets: framing, pooling, time limits, hostile answers."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress

import pytest
import uvloop

from isthmus.adapters.outbound.client import HttpClient, open_client
from isthmus.adapters.outbound.connection import BUFFER_LIMIT_BYTES, Connection
from isthmus.core.errors import (
    Failure,
    MisconfiguredProvider,
    Rejected,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import OutboundReply
from isthmus.settings import OutboundSettings
from tests.contract.outbound.rawserver import Peer, RawServer, RealClock, answering, serving, within

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Kind: Plain \r\n\r\nhi"


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with open_client(OutboundSettings(), RealClock()) as opened:
        yield opened


async def ask(client: HttpClient, server: RawServer, method: str = "GET") -> tuple[int, bytes]:
    async with client.open(server.request(method), within()) as reply:
        return reply.status, await reply.read(10_000_000)


async def drained(reply: OutboundReply) -> None:
    async for _ in reply.chunks():
        await asyncio.sleep(0)


class Script:
    """One connection's bytes: `first` after each request, then `rest` with pauses between."""

    def __init__(self, *parts: bytes, pause_s: float = 0.0, hold: bool = False) -> None:
        self.parts = parts
        self.pause_s = pause_s
        self.hold = hold

    async def __call__(self, peer: Peer) -> None:
        await peer.read()
        for part in self.parts:
            await peer.write(part)
            await asyncio.sleep(self.pause_s)
        if self.hold:
            await peer.reader.read()


async def reply_to(client: HttpClient, script: Script, method: str = "GET") -> tuple[int, bytes]:
    async with serving(script) as server:
        return await ask(client, server, method)


async def test_a_plain_answer_and_a_connection_used_again(client: HttpClient) -> None:
    async with serving(answering(OK)) as server:
        async with client.open(server.request("POST", b'{"a":1}', "/v1?x=1"), within()) as reply:
            assert reply.status == 200
            assert ("x-kind", "Plain") in reply.headers
            assert [chunk async for chunk in reply.chunks()] == [b"hi"]
        for _ in range(5):
            assert await ask(client, server) == (200, b"hi")
        assert server.connections == 1
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.split(b"\r\n") == [
            b"POST /v1?x=1 HTTP/1.1",
            f"host: localhost:{server.port}".encode(),
            b"content-length: 7",
        ]
        assert body == b'{"a":1}'
        assert server.requests[1].startswith(b"GET /x HTTP/1.1\r\n")
        assert b"content-length" not in server.requests[1]


async def test_a_body_is_whole_once_all_of_it_is_here(client: HttpClient) -> None:
    async with serving(Script(OK[:-1], OK[-1:], pause_s=0.05, hold=True)) as server:
        async with client.open(server.request(), within()) as reply:
            assert reply.whole() is None
            await asyncio.sleep(0.3)
            assert reply.whole() == b"hi"
            assert [chunk async for chunk in reply.chunks()] == []
        assert server.connections == 1


async def test_an_answer_that_nobody_reads_does_not_reach_the_next_call(client: HttpClient) -> None:
    other = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo"
    async with serving(answering(OK, other)) as server:
        async with client.open(server.request(), within()) as reply:
            assert reply.status == 200
        assert await ask(client, server) in {(200, b"two"), (200, b"hi")}


@pytest.mark.parametrize(
    ("answer", "method", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", (204, b"")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n", "HEAD", (200, b"")),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK,
            "POST",
            (200, b"hi"),
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n2;e=1\r\ney\r\n0\r\n"
            b"trailer: x\r\n\r\n",
            "GET",
            (200, b"hey"),
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "GET", (200, b"until the end")),
        (b"HTTP/1.0 503 Down\r\ncontent-length: 1\r\n\r\n!", "GET", (503, b"!")),
        (b"HTTP/1.1 302 Found\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n", "GET", (302, b"")),
    ],
)
async def test_every_framing_whole_and_byte_by_byte(
    client: HttpClient, answer: bytes, method: str, expected: tuple[int, bytes]
) -> None:
    assert await reply_to(client, Script(answer), method) == expected
    crumbs = Script(*(answer[i : i + 1] for i in range(len(answer))))
    assert await reply_to(client, crumbs, method) == expected


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", UpstreamFailed),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nhi",
            UpstreamFailed,
        ),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", UpstreamFailed),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc", UpstreamFailed),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000, UpstreamFailed),
        (
            b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"content-length: 0\r\n\r\n",
            UpstreamFailed,
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, UpstreamFailed),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n0\r\nt: "
            + b"a" * 400_000,
            UpstreamFailed,
        ),
        (b"", UpstreamUnreachable),
        (b"HTTP/1.1 200", UpstreamUnreachable),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", UpstreamFailed),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf", UpstreamFailed),
    ],
)
async def test_broken_answers_are_failures(
    client: HttpClient, answer: bytes, kind: type[Failure]
) -> None:
    with pytest.raises(kind) as raised:
        await reply_to(client, Script(answer))
    assert type(raised.value) is kind


async def test_a_reset_in_the_middle_is_a_failure_after_what_arrived(client: HttpClient) -> None:
    async def handle(peer: Peer) -> None:
        await peer.read()
        peer.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        await peer.writer.drain()
        await asyncio.sleep(0.05)
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.writer.transport.abort()

    async with serving(handle) as server:
        got: list[bytes] = []

        async def read() -> None:
            async with client.open(server.request(), within()) as reply:
                async for chunk in reply.chunks():
                    got.append(chunk)

        with pytest.raises(UpstreamFailed) as raised:
            await read()
        assert got == [b"half"]
        assert raised.value.status == 0


@pytest.mark.parametrize(
    "junk", [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", b"garbage", b"\r\n\r\nx"]
)
async def test_bytes_after_the_answer_never_become_the_next_answer(
    client: HttpClient, junk: bytes
) -> None:
    async with serving(answering(OK + junk)) as server:
        assert await ask(client, server) == (200, b"hi")
        assert await ask(client, server) == (200, b"hi")
        assert server.connections == 2


async def test_bytes_while_idle_close_the_connection(client: HttpClient) -> None:
    async def handle(peer: Peer) -> None:
        while await peer.read():
            peer.writer.write(OK)
            await asyncio.sleep(0.05)
            peer.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")

    async with serving(handle) as server:
        assert await ask(client, server) == (200, b"hi")
        await asyncio.wait_for(server.closed.wait(), 10)
        assert await ask(client, server) == (200, b"hi")
        assert server.connections == 2


async def test_a_stale_connection_is_replaced_once(client: HttpClient) -> None:
    async def handle(peer: Peer) -> None:
        await peer.read()
        peer.writer.write(OK)
        if peer.number == 1:
            # The second request is read and the connection dropped without a byte.
            await peer.read()

    async with serving(handle) as server:
        assert await ask(client, server) == (200, b"hi")
        assert await ask(client, server) == (200, b"hi")
        assert server.connections == 2


async def test_a_connection_that_began_to_answer_is_not_tried_again(client: HttpClient) -> None:
    async def handle(peer: Peer) -> None:
        await peer.read()
        peer.writer.write(OK)
        await peer.read()
        peer.writer.write(b"HTTP/1.1")

    async with serving(handle) as server:
        assert await ask(client, server) == (200, b"hi")
        with pytest.raises(UpstreamUnreachable):
            await ask(client, server)
        assert server.connections == 1


async def test_a_fresh_connection_that_answers_nothing_is_not_tried_again(
    client: HttpClient,
) -> None:
    async def handle(peer: Peer) -> None:
        await peer.read()

    async with serving(handle) as server:
        with pytest.raises(UpstreamUnreachable) as raised:
            await ask(client, server)
        assert raised.value.retryable
        assert server.connections == 1


async def test_a_connection_that_failed_waits_for_no_collection(client: HttpClient) -> None:
    async with serving(Script()) as server:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                with suppress(UpstreamUnreachable):
                    await ask(client, server)
            assert server.connections == 3
            assert not [each for each in gc.get_objects() if isinstance(each, Connection)]
        finally:
            gc.enable()


async def test_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with open_client(OutboundSettings(), RealClock()) as client:
        with pytest.raises(UpstreamUnreachable):
            async with client.open(OutboundRequest("GET", f"http://127.0.0.1:{port}/"), within()):
                pass


@pytest.mark.parametrize(
    ("parts", "phase"),
    [
        ((), "first_byte"),
        ((b"HTTP/1.1 200 OK\r\n", *([b"x: y\r\n"] * 30)), "first_byte"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"half"), "between_bytes"),
    ],
)
async def test_each_phase_has_its_limit(
    client: HttpClient, parts: tuple[bytes, ...], phase: str
) -> None:
    script = Script(*parts, pause_s=0.02, hold=True)
    async with serving(script) as server:
        started = time.monotonic()
        with pytest.raises(UpstreamTimeout) as raised:
            async with client.open(
                server.request(), within(5.0, first_s=0.15, between_s=0.15)
            ) as reply:
                await reply.read(100)
        assert raised.value.phase == phase
        assert time.monotonic() - started < 1.0


async def test_a_slow_drip_meets_the_total_limit(client: HttpClient) -> None:
    drip = [b"x"] * 100
    script = Script(
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", *drip, pause_s=0.02, hold=True
    )
    async with serving(script) as server:
        with pytest.raises(UpstreamTimeout) as raised:
            async with client.open(server.request(), within(0.2, between_s=0.1)) as reply:
                await reply.read(1000)
        assert raised.value.phase == "total"
        await asyncio.wait_for(server.closed.wait(), 10)


async def test_a_stream_that_never_pauses_meets_the_total_limit(client: HttpClient) -> None:
    async def handle(peer: Peer) -> None:
        await peer.read()
        peer.writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.writer.write(b"y" * 65536)
            await peer.writer.drain()

    async with serving(handle) as server:
        with pytest.raises(UpstreamTimeout) as raised:
            async with client.open(server.request(), within(0.2)) as reply:
                await drained(reply)
        assert raised.value.phase == "total"


async def test_no_time_left_asks_nobody(client: HttpClient) -> None:
    async with serving(answering(OK)) as server:
        with pytest.raises(UpstreamTimeout) as raised:
            async with client.open(server.request(), within(-1.0)):
                pass
        assert raised.value.phase == "total"
        assert server.requests == []


async def test_a_connect_that_hangs_meets_its_limit(client: HttpClient) -> None:
    with socket.socket() as full:
        # A backlog that is full lets no further handshake through.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        try:
            with pytest.raises(UpstreamTimeout) as raised:
                async with client.open(
                    OutboundRequest("GET", f"http://127.0.0.1:{port}/"), within(connect_s=0.1)
                ):
                    pass
            assert raised.value.phase == "connect"
        finally:
            for sock in waiting:
                sock.close()


async def test_leaving_early_closes_at_once(client: HttpClient) -> None:
    script = Script(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", hold=True)
    async with serving(script) as server:
        async with client.open(server.request(), within()) as reply:
            assert await anext(reply.chunks()) == b"half"
        await asyncio.wait_for(server.closed.wait(), 0.25)


async def test_cancellation_closes_at_once(client: HttpClient) -> None:
    script = Script(hold=True)
    async with serving(script) as server:
        task = asyncio.ensure_future(ask(client, server))
        await asyncio.wait_for(server.asked.wait(), 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.closed.wait(), 0.25)


async def test_a_slow_reader_holds_the_server_back(client: HttpClient) -> None:
    sent = 0

    async def handle(peer: Peer) -> None:
        nonlocal sent
        await peer.read()
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        peer.writer.transport.set_write_buffer_limits(high=65536)
        peer.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 40000000\r\n\r\n")
        for _ in range(400):
            peer.writer.write(b"z" * 100_000)
            await peer.writer.drain()
            sent += 100_000

    async with serving(handle) as server, client.open(server.request(), within(20)) as reply:
        held = -1
        while held != sent:
            held = sent
            await asyncio.sleep(0.2)
        assert held < 20_000_000, "the server may not go on while nobody reads"
        total = 0
        largest = 0
        async for chunk in reply.chunks():
            total += len(chunk)
            largest = max(largest, len(chunk))
        assert total == 40_000_000
        assert largest <= BUFFER_LIMIT_BYTES + 512 * 1024


async def test_a_body_over_the_limit_is_refused(client: HttpClient) -> None:
    script = Script(b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2000)
    async with serving(script) as server:
        with pytest.raises(UpstreamFailed):
            async with client.open(server.request(), within()) as reply:
                await reply.read(1999)


async def test_a_large_request_body_arrives_whole(client: HttpClient) -> None:
    body = bytes(range(256)) * 8192
    async with serving(answering(OK)) as server:
        async with client.open(server.request("POST", body), within()) as reply:
            assert await reply.read(10) == b"hi"
        assert server.requests[0].endswith(body)


async def test_idle_connections_are_bounded_and_expire() -> None:
    limits = OutboundSettings(idle_connections=2, idle_s=0.1)
    async with (
        open_client(limits, RealClock()) as client,
        serving(answering(OK)) as server,
    ):
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(ask(client, server))
        assert server.connections == 5
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(ask(client, server))
        assert server.connections == 5
        await asyncio.sleep(0.2)
        await ask(client, server)
        assert server.connections == 6


async def test_a_closed_client_closes_its_connections() -> None:
    async with serving(answering(OK)) as server:
        async with open_client(OutboundSettings(), RealClock()) as client:
            await ask(client, server)
            assert not server.closed.is_set()
        await asyncio.wait_for(server.closed.wait(), 0.5)
        with pytest.raises(UpstreamUnreachable):
            await ask(client, server)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nevil: 1"),
        ("x", "a\nb"),
        ("x", "a\0"),
        ("x y", "1"),
        ("x:", "1"),
        ("X", "1"),
        ("", "1"),
        ("host", "evil"),
        ("content-length", "0"),
        ("transfer-encoding", "chunked"),
        ("x", "\u20ac"),
    ],
)
async def test_headers_cannot_be_smuggled(client: HttpClient, name: str, value: str) -> None:
    async with serving(answering(OK)) as server:
        request = OutboundRequest("GET", f"http://localhost:{server.port}/", ((name, value),))
        with pytest.raises(Rejected):
            async with client.open(request, within()):
                pass
        assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "http:///x",
        "//x",
        "http://u:p@x/",
        "http://x/a b",
        "http://x/\r\nevil: 1",
        "http://x:99999/",
        "http://h\u00e9/",
        "http://x/\u00e9",
    ],
)
async def test_urls_that_are_none_are_refused(client: HttpClient, url: str) -> None:
    # `urlsplit` drops line breaks: what is left has a path that no server was meant to get.
    request = OutboundRequest("GET", url)
    with pytest.raises((MisconfiguredProvider, UpstreamUnreachable)):
        async with client.open(request, within(0.5)):
            pass


@pytest.mark.parametrize(
    "scenario",
    [
        test_a_plain_answer_and_a_connection_used_again,
        test_a_reset_in_the_middle_is_a_failure_after_what_arrived,
        test_bytes_while_idle_close_the_connection,
        test_a_stale_connection_is_replaced_once,
        test_a_slow_drip_meets_the_total_limit,
        test_leaving_early_closes_at_once,
        test_cancellation_closes_at_once,
        test_a_slow_reader_holds_the_server_back,
        test_a_large_request_body_arrives_whole,
    ],
)
def test_the_same_on_the_loop_that_the_server_runs_on(
    scenario: Callable[[HttpClient], Coroutine[None, None, None]],
) -> None:
    async def run() -> None:
        async with open_client(OutboundSettings(), RealClock()) as client:
            await scenario(client)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
