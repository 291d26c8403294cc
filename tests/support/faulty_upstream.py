"""A model vendor on a real port that misbehaves byte by byte, as each request asks for.

A request names its script anywhere in its body, as `case0000042z`. It has as many connections as
its callers make, and knows of each when it was closed.
"""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Fault: TypeAlias = Literal[
    "none",  # the whole answer
    "drip",  # one piece comes byte by byte
    "reset",  # RST
    "close",  # FIN, in the middle of chunks
    "unframed",  # FIN, in an answer that ends where its connection does
    "short",  # FIN, before the announced length
    "end",  # the body's own end, too early
    "stall",  # nothing more
    "error",  # the vendor's error event, then the body's end
    "garbage",  # an event that is none, then the rest
    "nonsense",  # bytes that are no HTTP
    "hold",  # nothing more either, and the caller leaves
    "status",  # an error status instead of an answer
]
BEFORE = -1
"""The place of a fault that comes instead of the answer's head."""

_CASE = re.compile(rb"case\d{7}z")
_LINGER = struct.pack("ii", 1, 0)
_REFUSED = b'{"error":{"type":"refused","message":"No."}}'


@dataclass(frozen=True)
class Script:
    """An answer, by its pieces, and what happens after `at` of them."""

    pieces: tuple[bytes, ...]
    fault: Fault = "none"
    at: int = BEFORE
    media: str = "text/event-stream; charset=utf-8"
    error: bytes = b""
    garbage: bytes = b"data: {not json\n\n"
    status: int = 200
    headers: tuple[str, ...] = ()

    @property
    def sent(self) -> bytes:
        """Every byte of the body that goes out, where it has an end."""
        match self.fault:
            case "none" | "drip":
                return b"".join(self.pieces)
            case "error":
                return b"".join(self.pieces[: self.at]) + self.error
            case "garbage":
                whole = (*self.pieces[: self.at], self.garbage, *self.pieces[self.at :])
                return b"".join(whole)
            case _:
                return b"".join(self.pieces[: max(0, self.at)])


@dataclass
class Watch:
    """What became of one request."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    played: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when everything was sent that comes before the fault."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the caller has closed the connection of a script that holds or stalls."""
    times: int = 0


@dataclass
class FaultyUpstream:
    """`scripts` and `watches` by the name of the case."""

    port: int = 0
    scripts: dict[bytes, Script] = field(default_factory=dict[bytes, Script])
    watches: dict[bytes, Watch] = field(default_factory=dict[bytes, Watch])
    connections: int = 0
    plain: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Answers by path, for requests that belong to no case."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def play(self, case: str, script: Script) -> Watch:
        """Answer the requests of a case so."""
        self.scripts[case.encode()] = script
        return self.watches.setdefault(case.encode(), Watch())


@asynccontextmanager
async def faulty_upstream() -> AsyncIterator[FaultyUpstream]:
    """The vendor on a free port for as long as the context lasts."""
    upstream = FaultyUpstream()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await _serve(upstream, reader, writer):
                    pass
        finally:
            upstream.connections -= 1
            writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, backlog=1024)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()


async def _serve(
    upstream: FaultyUpstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Answer one request; whether the connection may serve another one."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            size = int(line.partition(b":")[2])
    body = await reader.readexactly(size)
    path = head.split(b" ", 2)[1].decode()
    if (known := upstream.plain.get(path)) is not None:
        await _whole(writer, 200, known, ())
        return True
    found = _CASE.search(body) or _CASE.search(head)
    assert found is not None, f"{path} names no case"
    script, watch = upstream.scripts[found[0]], upstream.watches[found[0]]
    watch.times += 1
    watch.asked.set()
    return await _Play(reader, writer, script, watch).answer()


async def _whole(
    writer: asyncio.StreamWriter, status: int, body: bytes, headers: tuple[str, ...]
) -> None:
    lines = [f"HTTP/1.1 {status} Said", "content-type: application/json", *headers]
    lines.append(f"content-length: {len(body)}")
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()


class _Play:
    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        script: Script,
        watch: Watch,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._script = script
        self._watch = watch
        plain = not script.media.startswith(("text/event-stream", "application/vnd"))
        self._chunked = script.fault not in {"short", "unframed"} and not plain
        self._sized = script.fault == "short" or plain

    async def answer(self) -> bool:
        script = self._script
        if script.fault == "status":
            await _whole(self._writer, script.status, script.error or _REFUSED, script.headers)
            return True
        if script.at >= 0 or script.fault in {"none", "drip"}:
            await self._write(self._head())
            for place, piece in enumerate(script.pieces):
                if place == script.at and script.fault != "drip":
                    break
                dripped = script.fault == "drip" and place == script.at
                for part in (
                    (piece[at : at + 1] for at in range(len(piece))) if dripped else (piece,)
                ):
                    await self._write(self._framed(part))
        self._watch.played.set()
        return await self._fault()

    async def _fault(self) -> bool:
        script, writer = self._script, self._writer
        match script.fault:
            case "none" | "drip" | "end":
                await self._write(self._last())
                return self._chunked
            case "error" | "garbage":
                rest = script.pieces[script.at :] if script.fault == "garbage" else ()
                said = script.error if script.fault == "error" else script.garbage
                for piece in (said, *rest):
                    await self._write(self._framed(piece))
                await self._write(self._last())
                return self._chunked
            case "stall" | "hold":
                with suppress(ConnectionError):
                    await self._reader.read(1)
                self._watch.closed.set()
            case "reset":
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
                writer.transport.abort()
            case "nonsense":
                await self._write(b"zz\r\nThis is no chunk.\r\n\r\n")
            case _:
                pass
        return False

    def _head(self) -> bytes:
        script = self._script
        lines = ["HTTP/1.1 200 OK", f"content-type: {script.media}", *script.headers]
        if self._chunked:
            lines.append("transfer-encoding: chunked")
        elif self._sized:
            length = sum(len(piece) for piece in script.pieces)
            # A piece more than will ever come: what there is may be all, and still be short.
            lines.append(f"content-length: {length + 9 * (script.fault == 'short')}")
        return "\r\n".join([*lines, "", ""]).encode()

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _last(self) -> bytes:
        return b"0\r\n\r\n" if self._chunked else b""

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
