"""The metrics listener: plain HTTP on a port of its own, any path, GET and HEAD only."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from isthmus.settings import SettingsError

HEAD_LIMIT_BYTES = 16_384
REQUEST_LIMIT_S = 5.0
REPLY_LIMIT_S = 30.0
CONNECTIONS = 32
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@asynccontextmanager
async def open_listener(
    host: str,
    port: int,
    setting: str,
    page: Callable[[], bytes],
    settle: Callable[[], None],
    request_limit_s: float = REQUEST_LIMIT_S,
) -> AsyncIterator[int]:
    """Serve `page`, made anew in a thread for every scrape; yields the port that is bound.

    `settle` runs on the loop before each page, so that a scrape sees what was told before it.
    `setting` is the path of the port in the settings, such as `http.metrics_port`: a port that
    cannot be had is a SettingsError that names it.
    """
    listener = _Listener(page, settle, request_limit_s)
    try:
        server = await asyncio.start_server(
            listener.serve, host, port, limit=HEAD_LIMIT_BYTES, backlog=CONNECTIONS
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"{setting}: cannot listen on {host} port {port}: {reason}") from error
    async with server:
        yield int(server.sockets[0].getsockname()[1])
        server.close()


class _Listener:
    def __init__(
        self, page: Callable[[], bytes], settle: Callable[[], None], request_limit_s: float
    ) -> None:
        self._request_limit_s = request_limit_s
        self._page = page
        self._settle = settle
        self._turn = asyncio.Lock()
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        self._open += 1
        try:
            if self._open > CONNECTIONS:
                return
            async with asyncio.timeout(self._request_limit_s):
                status, head_only = await _request(reader)
            async with asyncio.timeout(REPLY_LIMIT_S):
                body = f"{status}\n".encode()
                if status == "200 OK":
                    async with self._turn:
                        self._settle()
                        body = await asyncio.to_thread(self._page)
                writer.write(_reply(status, body, head_only=head_only))
                await writer.drain()
        except (TimeoutError, ConnectionError):
            writer.transport.abort()
        finally:
            self._open -= 1
            writer.close()


async def _request(reader: asyncio.StreamReader) -> tuple[str, bool]:
    """The status to answer with, and whether only the head is wanted."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return "431 Request Header Fields Too Large", False
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError from error
    line = head.split(b"\r\n", 1)[0].split(b" ")
    if len(line) != 3 or not line[2].startswith(b"HTTP/1."):
        return "400 Bad Request", False
    if line[0] not in (b"GET", b"HEAD"):
        return "405 Method Not Allowed", False
    return "200 OK", line[0] == b"HEAD"


def _reply(status: str, body: bytes, *, head_only: bool) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {len(body)}"]
    if status.startswith("405"):
        lines.append("Allow: GET, HEAD")
    head = "\r\n".join([*lines, "Connection: close", "", ""]).encode()
    return head if head_only else head + body
