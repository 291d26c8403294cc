"""A server that a test scripts byte by byte, connection by connection."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle

from isthmus.core.deadline import Deadline
from isthmus.core.messages import OutboundRequest


class RealClock:
    """The machine's clock."""

    def now_s(self) -> float:
        return time.monotonic()

    def utc(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class RawServer:
    """Where it listens, what it was asked, and how many connections it has seen."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list[bytes])
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    scheme: str = "http"

    def request(self, method: str = "GET", body: bytes = b"", path: str = "/x") -> OutboundRequest:
        return OutboundRequest(method, f"{self.scheme}://localhost:{self.port}{path}", (), body)


@dataclass
class Peer:
    """One connection, seen from the server; `number` 1 is the first."""

    server: RawServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def read(self) -> bytes:
        """Read one request whole, and keep it."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        request = head + (await self.reader.readexactly(size) if size else b"")
        self.server.requests.append(request)
        self.server.asked.set()
        return request

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Handler = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """`handler` runs once a connection."""
    server = RawServer(scheme="http" if tls is None else "https")

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(Peer(server, reader, writer, server.connections))
        with suppress(ConnectionError):
            writer.close()
        server.closed.set()

    listening = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def answering(*answers: bytes) -> Handler:
    """Answer each request of a connection with the next of `answers`, over and over."""

    async def handle(peer: Peer) -> None:
        for answer in cycle(answers):
            await peer.read()
            await peer.write(answer)

    return handle


def within(
    total_s: float = 5.0, *, connect_s: float = 5.0, first_s: float = 5.0, between_s: float = 5.0
) -> Deadline:
    """A deadline from now."""
    return Deadline(time.monotonic() + total_s, connect_s, first_s, between_s)
