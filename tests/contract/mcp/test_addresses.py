"""MCP servers behind an address that answer otherwise than they should."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from pydantic import SecretStr

from isthmus.adapters.mcp.servers import McpServers, open_servers
from isthmus.adapters.outbound.proxy import proxy_for
from isthmus.core.errors import ToolRefused
from isthmus.core.events import Noted
from isthmus.platform.tool import Client
from isthmus.settings import McpServer, OutboundSettings
from tests.support.instance import Machine
from tests.support.sink import MemorySink

Answer = Callable[[int], bytes]
TOOL = {"name": "echo", "description": "Says it.", "inputSchema": {"type": "object"}}


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    if not any(line.startswith("content-type") for line in headers):
        lines.append("content-type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + body


def rpc(number: int, result: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()


def said(text: str) -> Callable[[int], bytes]:
    return lambda number: rpc(number, {"content": [{"type": "text", "text": text}]})


def reply(message: dict[str, Any], call: Answer) -> bytes:
    number = message.get("id")
    if number is None:
        return http(b"", status="202 Accepted" if message else "405 No")
    match message["method"]:
        case "initialize":
            known = {"name": "x", "version": "1"}
            said: dict[str, Any] = {"capabilities": {"tools": {}}, "serverInfo": known}
            result = {"protocolVersion": "2025-06-18"} | said
            return http(rpc(number, result), "mcp-session-id: abc")
        case "tools/list":
            return http(rpc(number, {"tools": [TOOL]}))
        case "tools/call":
            return call(number)
        case _:
            error = {"code": -32601, "message": "no"}
            return http(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode())


@asynccontextmanager
async def serving(
    call: Answer, heads: list[str] | None = None, *, hangs: bool = False
) -> AsyncIterator[str]:
    """A server whose tool calls are answered by `call`, which is given the request's id.

    One that hangs does not let its clients go.
    """
    over, running = asyncio.Event(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        running.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not over.is_set():
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                if heads is not None:
                    heads.append(head)
                size = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
                message = json.loads(await reader.readexactly(size) or "{}")
                if hangs and head.startswith("delete"):
                    await over.wait()
                writer.write(reply(message, call))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    finally:
        over.set()
        server.close()
        await asyncio.wait(running, timeout=5)


@asynccontextmanager
async def opened(url: str, **fields: Any) -> AsyncIterator[tuple[McpServers, MemorySink]]:
    sink = MemorySink()
    server = McpServer(
        url=url, call_s=2, headers={"authorization": SecretStr("Bearer s3cret")}, **fields
    )
    async with open_servers({"far": server}, (), sink) as servers:
        yield servers, sink


async def call(servers: McpServers) -> str:
    return await (await servers.offered("chat"))["far_echo"].run({}, cast("Client", Machine()))


async def test_headers_are_sent_and_an_answer_is_taken() -> None:
    heads: list[str] = []
    async with (
        asyncio.timeout(15),
        serving(lambda number: http(said("fine")(number)), heads) as url,
        opened(url) as (servers, _),
    ):
        assert await call(servers) == "fine"
    assert all("authorization: bearer s3cret\r\n" in head for head in heads)
    assert all("accept-encoding: identity\r\n" in head for head in heads)


BOMB = gzip.compress(b"x" * 50_000_000)


def always(reply: bytes) -> Answer:
    return lambda _: reply


def huge(number: int) -> bytes:
    return http(said("x" * 3_000_000)(number))


def unlike_a_result(number: int) -> bytes:
    return http(rpc(number, {"content": 7}))


BAD: dict[str, Answer] = {
    "huge": huge,
    "bomb": always(http(BOMB, "content-encoding: gzip")),
    "huge event": always(http(b"x" * 3_000_000, "content-type: text/event-stream")),
    "page": always(http(b"<html>", "content-type: text/html")),
    "no json": always(http(b"{")),
    "no result": unlike_a_result,
    "redirect": always(http(b"", "location: http://127.0.0.1:9/", status="307 Elsewhere")),
    "error": always(http(b"", status="500 No")),
    "nonsense": always(b"nonsense\r\n\r\n"),
    "nothing": always(b""),
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
async def test_a_bad_answer_is_a_refusal_and_the_server_is_kept(answer: Answer) -> None:
    async with (
        asyncio.timeout(20),
        serving(answer) as url,
        opened(url) as (servers, sink),
    ):
        with pytest.raises(ToolRefused) as refused:
            await call(servers)
        assert "s3cret" not in str(refused.value)
        assert "far_echo" in await servers.offered("chat")
    assert "s3cret" not in str(sink.facts)


async def test_leaving_does_not_wait_for_a_server_that_hangs() -> None:
    loop = asyncio.get_running_loop()
    async with serving(lambda number: http(said("fine")(number)), hangs=True) as url:
        async with opened(url) as (servers, sink):
            assert await call(servers) == "fine"
            began_s = loop.time()
        assert loop.time() - began_s < 5
        assert [note.event for note in sink.of(Noted)] == ["an MCP server is connected"]


@pytest.mark.parametrize(
    ("proxy", "url", "used"),
    [
        ("", "https://far.example/mcp", ""),
        ("http://u:p@proxy:3128", "https://far.example/mcp", "http://u:p@proxy:3128"),
        ("proxy:3128", "https://far.example/mcp", "http://proxy:3128"),
        ("http://proxy:3128", "http://far.example/mcp", ""),
        ("http://proxy:3128", "https://near.example/mcp", ""),
        ("http://proxy:3128", "https://127.0.0.1/mcp", ""),
    ],
)
def test_addresses_are_called_by_the_proxy_as_others_are(proxy: str, url: str, used: str) -> None:
    limits = OutboundSettings(proxy_url=SecretStr(proxy), no_proxy=("near.example",))
    assert proxy_for(limits, url) == used
