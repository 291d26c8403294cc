"""The HTTP client of the process: a pool of warm HTTP/1.1 connections for each origin."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType

from isthmus.adapters.outbound.connection import Connection
from isthmus.adapters.outbound.proxy import NoProxy, proxy_of
from isthmus.adapters.outbound.target import Origin, prepare
from isthmus.adapters.outbound.trust import customised, trust
from isthmus.adapters.outbound.tunnel import tunnel
from isthmus.core.deadline import Deadline
from isthmus.core.errors import UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Clock
from isthmus.settings import OutboundSettings


class Exchange:
    """One request and its answer. Entering sends; leaving keeps or closes the connection.

    It is its own reply, and the iterator of the reply's body: a call makes one object, not three.
    """

    __slots__ = ("_client", "_connection", "_deadline", "_headers", "_held", "_request", "status")

    _connection: Connection

    def __init__(self, client: "HttpClient", request: OutboundRequest, deadline: Deadline) -> None:
        self._client = client
        self._request = request
        self._deadline = deadline
        self._headers: Sequence[tuple[str, str]] | None = None
        self._held = False
        self.status = 0

    async def __aenter__(self) -> "Exchange":
        request, client = self._request, self._client
        prepared = prepare(request.method, request.url, request.headers)
        head = prepared.head_of(request.body)
        connection = client.warm(prepared.origin)
        while True:
            fresh = connection is None
            if connection is None:
                connection = await client.connect(prepared.origin, self._deadline)
            try:
                left_s = client.left_s(self._deadline)
                headless = request.method == "HEAD"
                connection.begin(head, request.body, self._deadline, left_s, headless=headless)
                while (waiter := connection.head()) is not None:
                    await waiter
            except BaseException as error:
                connection.rest(0.0)
                connection.abort()
                # A server that closed it while it was idle has read nothing of this request, or
                # nothing that it answered: one fresh connection is tried.
                if fresh or connection.received or not isinstance(error, UpstreamUnreachable):
                    raise
                connection = None
            else:
                self._connection = connection
                self._held = True
                self.status = connection.status
                return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held:
            self._held = False
            self._client.release(self._connection)

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """As they came."""
        return self._connection.raw_headers

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """Names in lower case, in the order they came."""
        if self._headers is None:
            self._headers = [
                (name.decode("latin-1").lower(), value.decode("latin-1").strip())
                for name, value in self._connection.raw_headers
            ]
        return self._headers

    @property
    def complete(self) -> bool:
        """Whether the end of the body has arrived."""
        return self._connection.complete

    def whole(self) -> bytes | None:
        """The rest of the body, when all of it has arrived."""
        connection = self._connection
        return connection.ready() if connection.complete else None

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives."""
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = self._connection.ready()
        if chunk is None:
            chunk = await self._connection.chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises UpstreamFailed when it is larger than `limit_bytes`."""
        parts: list[bytes] = []
        size = 0
        while chunk := await self._connection.chunk():
            size += len(chunk)
            if size > limit_bytes:
                raise UpstreamFailed("The model provider's answer is too large.")
            parts.append(chunk)
        return b"".join(parts)


class HttpClient:
    """Implements `core.ports.Outbound`. Close it with `aclose`."""

    def __init__(self, limits: OutboundSettings, clock: Clock) -> None:
        self._limits = limits
        # Asked for by every call; an attribute of settings takes seven times as long.
        self._idle_s, self._idle_most = limits.idle_s, limits.idle_connections
        self._clock = clock
        self._open: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._idle_count = 0
        self._origins: dict[Connection, Origin] = {}
        self._context: ssl.SSLContext | None = None
        self._proxy = proxy_of(limits.proxy_url.get_secret_value())
        self._direct = NoProxy(limits.no_proxy)
        self._closed = False

    def open(self, request: OutboundRequest, deadline: Deadline) -> Exchange:
        """See `Outbound.open`. Raises Rejected for headers that cannot stand on a wire."""
        return Exchange(self, request, deadline)

    async def aclose(self) -> None:
        """Close every connection, also those in use."""
        self._closed = True
        for connection in list(self._open):
            connection.abort()
        # One turn of the loop, in which transports tell their protocols that they are gone.
        await asyncio.sleep(0)

    def left_s(self, deadline: Deadline) -> float:
        """Seconds until the deadline. Raises UpstreamTimeout when it has passed."""
        left_s = deadline.at_s - self._clock.now_s()
        if left_s <= 0.0:
            raise UpstreamTimeout("There was no time left to ask the model provider.", "total")
        return left_s

    def warm(self, origin: Origin) -> Connection | None:
        """An idle connection, the last one used; None when there is none."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            self._idle_count -= 1
            if connection.alive:
                return connection
        return None

    async def connect(self, origin: Origin, deadline: Deadline) -> Connection:
        """A new connection. Raises UpstreamUnreachable or UpstreamTimeout."""
        if self._closed:
            raise UpstreamUnreachable("The server is shutting down.")
        left_s = deadline.left_s(self._clock.now_s())
        limit_s = min(deadline.connect_s, left_s)
        phase = "connect" if deadline.connect_s < left_s else "total"
        try:
            async with asyncio.timeout(limit_s):
                transport, connection = await self._reached(origin)
        except TimeoutError as error:
            raise UpstreamTimeout("The model provider could not be reached in time.", phase) from (
                error
            )
        except ssl.SSLError as error:
            raise UpstreamUnreachable(
                "No trusted TLS connection to the model provider could be made."
            ) from error
        except (OSError, UnicodeError) as error:
            raise UpstreamUnreachable(
                "The model provider could not be reached.", retryable=True
            ) from error
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if connection.alive:
            self._open.add(connection)
            self._origins[connection] = origin
        return connection

    async def _reached(self, origin: Origin) -> tuple[asyncio.Transport, Connection]:
        loop = asyncio.get_running_loop()
        context = await self.tls() if origin.tls else None

        def make() -> Connection:
            return Connection(loop, self._forget)

        if context is None or self._proxy is None or self._direct.covers(origin):
            return await loop.create_connection(make, origin.host, origin.port, ssl=context)
        return await tunnel(self._proxy, origin, context, make)

    def release(self, connection: Connection) -> None:
        """Take a connection back after an exchange: keep it, or close it at once."""
        reusable = connection.rest(self._idle_s)
        if reusable and not self._closed and self._idle_count < self._idle_most:
            self._idle.setdefault(self._origins[connection], []).append(connection)
            self._idle_count += 1
        else:
            connection.abort()

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        origin = self._origins.pop(connection, None)
        idle = self._idle.get(origin) if origin is not None else None
        if idle and connection in idle:
            idle.remove(connection)
            self._idle_count -= 1

    async def tls(self) -> ssl.SSLContext:
        """The context of every TLS connection. Raises SettingsError."""
        if self._context is None:
            # Reading the trusted certificates takes tens of milliseconds.
            self._context = await asyncio.to_thread(trust, self._limits)
        return self._context


@asynccontextmanager
async def open_client(limits: OutboundSettings, clock: Clock) -> AsyncIterator[HttpClient]:
    """The client for as long as the context lasts. Raises SettingsError for files it cannot use."""
    client = HttpClient(limits, clock)
    if customised(limits):
        await client.tls()
    try:
        yield client
    finally:
        await client.aclose()
