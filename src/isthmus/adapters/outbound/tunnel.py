"""A TLS connection to a server through an HTTP proxy.

Source: RFC 9110, section 9.3.6 "CONNECT".
"""

import asyncio
import re
import ssl
from collections.abc import Callable

from isthmus.adapters.outbound.connection import Connection
from isthmus.adapters.outbound.proxy import Proxy
from isthmus.adapters.outbound.target import Origin
from isthmus.core.errors import UpstreamUnreachable

ANSWER_LIMIT_BYTES = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_BROKEN = 0


class _Answer(asyncio.Protocol):
    """What the proxy says to CONNECT: `status` holds its number, or 0 when it makes no sense."""

    def __init__(self, status: asyncio.Future[int]) -> None:
        self._status = status
        self._head = bytearray()

    def data_received(self, data: bytes) -> None:
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        told = _STATUS.match(self._head)
        if end >= 0 and told is not None:
            # Bytes after it would be the server's, which must not speak first.
            whole = end + 4 == len(self._head)
            self._tell(int(told[1]) if whole or told[1] >= b"300" else _BROKEN)
        elif end >= 0 or len(self._head) > ANSWER_LIMIT_BYTES:
            self._tell(_BROKEN)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._tell(_BROKEN)

    def _tell(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)


async def tunnel(
    proxy: Proxy, origin: Origin, context: ssl.SSLContext, make: Callable[[], Connection]
) -> tuple[asyncio.Transport, Connection]:
    """A connection to `origin` that only the proxy's other end can read.

    Raises UpstreamUnreachable when the proxy refuses, OSError as other connections do.
    """
    loop = asyncio.get_running_loop()
    status: asyncio.Future[int] = loop.create_future()
    transport, _ = await loop.create_connection(lambda: _Answer(status), proxy.host, proxy.port)
    connection = make()
    secured: asyncio.Transport | None = None
    answered = _BROKEN
    try:
        transport.write(_request(proxy, origin))
        answered = await status
        if 200 <= answered < 300:
            secured = await loop.start_tls(
                transport, connection, context, server_hostname=origin.host
            )
    finally:
        if secured is None:
            transport.abort()
    if secured is None:
        said = f" ({answered})" if answered else ""
        raise UpstreamUnreachable(
            f"The proxy made no tunnel to the model provider{said}.", retryable=answered >= 500
        )
    connection.connection_made(secured)
    return secured, connection


def _request(proxy: Proxy, origin: Origin) -> bytes:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"host: {host}:{origin.port}"]
    if proxy.authorization:
        lines.append(f"proxy-authorization: {proxy.authorization}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")
