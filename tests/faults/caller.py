"""A caller that speaks raw HTTP: it sees whether an answer came to its end or was broken off."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

LIMIT_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """What a caller got. `ended`: the body came to the end that its framing announced."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    ended: bool


@dataclass
class Request:
    """One request under way."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def outcome(self) -> Outcome:
        """Read the answer as far as it comes."""
        async with asyncio.timeout(LIMIT_S):
            return await _read(self.reader)

    def leave(self) -> None:
        """Close the connection, whatever is under way."""
        self.writer.close()


async def ask(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> Request:
    """Send a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"POST {path} HTTP/1.1", "host: gateway", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"content-length: {len(body)}")
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()
    return Request(reader, writer)


async def _read(reader: asyncio.StreamReader) -> Outcome:
    status, headers, body = 0, dict[str, str](), bytearray()
    try:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if "content-length" in headers:
            body += await reader.readexactly(int(headers["content-length"]))
        else:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        if isinstance(error, asyncio.IncompleteReadError) and status:
            body += b""
        return Outcome(status, headers, bytes(body), ended=False)
    return Outcome(status, headers, bytes(body), ended=True)
