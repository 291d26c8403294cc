"""TLS calls through an HTTP proxy on a real socket."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop
from pydantic import SecretStr

from isthmus.adapters.outbound.client import HttpClient, open_client
from isthmus.core.errors import UpstreamTimeout, UpstreamUnreachable
from isthmus.core.messages import OutboundRequest
from isthmus.settings import OutboundSettings
from tests.contract.outbound.pki import Authority, authority
from tests.contract.outbound.rawserver import (
    Peer,
    RawServer,
    RealClock,
    answering,
    serving,
    within,
)

NAME = "models.test"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
GRANTED = b"HTTP/1.1 200 Connection established\r\nvia: a test\r\n\r\n"


@dataclass
class ConnectProxy:
    """A CONNECT proxy that knows one name, which stands for `upstream`."""

    port: int = 0
    upstream: int = 0
    heads: list[bytes] = field(default_factory=list[bytes])

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
            writer.write(GRANTED[:10])
            await writer.drain()
            writer.write(GRANTED[10:])
            async with asyncio.TaskGroup() as group:
                group.create_task(_relay(reader, far_writer))
                group.create_task(_relay(far_reader, writer))
        writer.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxying(upstream: RawServer) -> AsyncIterator[ConnectProxy]:
    proxy = ConnectProxy(upstream=upstream.port)
    listening = await asyncio.start_server(proxy.accepted, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listening.close()


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority(tmp_path)


@pytest.fixture
def trusting(ca: Authority) -> OutboundSettings:
    return OutboundSettings(ca_file=ca.file)


def through(
    limits: OutboundSettings, port: int, userinfo: str = "", direct: tuple[str, ...] = ()
) -> AbstractAsyncContextManager[HttpClient]:
    url = SecretStr(f"http://{userinfo}127.0.0.1:{port}")
    return open_client(
        limits.model_copy(update={"proxy_url": url, "no_proxy": direct}), RealClock()
    )


async def ask(client: HttpClient, url: str = f"https://{NAME}/x") -> bytes:
    async with client.open(OutboundRequest("GET", url), within()) as reply:
        return await reply.read(10)


async def asked_thrice(ca: Authority, limits: OutboundSettings) -> None:
    async with (
        serving(answering(OK), ca.serving(NAME)) as server,
        proxying(server) as proxy,
        through(limits, proxy.port, "us:p%40ss@") as client,
    ):
        for _ in range(3):
            assert await ask(client) == b"hi"
        assert server.connections == 1, "the tunnel is kept like any other connection"
        assert proxy.heads == [
            b"CONNECT models.test:443 HTTP/1.1\r\nhost: models.test:443\r\n"
            b"proxy-authorization: Basic " + b64encode(b"us:p@ss") + b"\r\n\r\n"
        ]
        assert b"proxy-authorization" not in server.requests[0]


async def test_a_tunnel(ca: Authority, trusting: OutboundSettings) -> None:
    await asked_thrice(ca, trusting)


def test_a_tunnel_on_the_servers_own_loop(ca: Authority, trusting: OutboundSettings) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asked_thrice(ca, trusting))


async def test_the_far_end_must_be_who_it_says(ca: Authority, trusting: OutboundSettings) -> None:
    async with (
        serving(answering(OK), ca.serving("elsewhere.test")) as server,
        proxying(server) as proxy,
        through(trusting, proxy.port) as client,
    ):
        with pytest.raises(UpstreamUnreachable) as raised:
            await ask(client)
        assert not raised.value.retryable
        assert server.requests == []


async def test_what_needs_no_tunnel(ca: Authority, trusting: OutboundSettings) -> None:
    async with (
        serving(answering(OK)) as plain,
        serving(answering(OK), ca.serving("localhost")) as near,
        proxying(plain) as proxy,
        through(trusting, proxy.port, direct=("*",)) as nothing,
        through(trusting, proxy.port) as client,
    ):
        assert await ask(client, plain.request().url) == b"hi"
        assert await ask(client, near.request().url) == b"hi"
        assert await ask(nothing, near.request().url) == b"hi"
        assert proxy.heads == []


@pytest.mark.parametrize(
    ("answer", "detail", "retryable"),
    [
        (b"HTTP/1.1 407 Who are you\r\ncontent-length: 3\r\n\r\nno!", "407", False),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "503", True),
        (b"HTTP/1.1 302 Elsewhere\r\nlocation: http://x/\r\n\r\n", "302", False),
        (GRANTED + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "no tunnel", False),
        (b"SSH-2.0-thing\r\n\r\n", "no tunnel", False),
        (b"x" * 20_000, "no tunnel", False),
        (b"", "no tunnel", False),
    ],
)
async def test_a_proxy_that_makes_no_tunnel(
    trusting: OutboundSettings, answer: bytes, detail: str, *, retryable: bool
) -> None:
    async def handle(peer: Peer) -> None:
        await peer.read()
        await peer.write(answer)

    async with serving(handle) as server, through(trusting, server.port, "us:secret@") as client:
        with pytest.raises(UpstreamUnreachable, match=detail) as raised:
            await ask(client)
        assert raised.value.retryable is retryable
        assert "secret" not in str(raised.value)
        await asyncio.wait_for(server.closed.wait(), 1)


async def test_a_proxy_that_says_nothing(trusting: OutboundSettings) -> None:
    async def handle(peer: Peer) -> None:
        await peer.read()
        await peer.reader.read()

    async with serving(handle) as server, through(trusting, server.port) as client:
        with pytest.raises(UpstreamTimeout) as raised:
            async with client.open(
                OutboundRequest("GET", f"https://{NAME}/"), within(connect_s=0.1)
            ):
                pass
        assert raised.value.phase == "connect"
        await asyncio.wait_for(server.closed.wait(), 1)
