"""Tools of MCP servers that the person configured: started or reached, announced, called.

Loaded only where there are any, and in a thread: the library takes a second. It loads jsonschema,
which reads files, at the first call; here that is done before.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import httpx2
import jsonschema  # noqa: F401  # pyright: ignore[reportUnusedImport]
import msgspec
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent, Tool

from isthmus.contract.contract_pb2 import McpTool
from isthmus.core.errors import ToolRefused
from isthmus.executor.task import Malformed
from isthmus.executor.trust import OWN, Trust

CONFIG_BYTES: Final = 256 * 1024
SERVERS: Final = 32
TOOLS: Final = 500
START_S: Final = 30.0
CALL_S: Final = 120.0
_FAILURES = (OSError, ValueError, MCPError, httpx2.HTTPError, ExceptionGroup)


class Server(msgspec.Struct, frozen=True):
    """One server: a program that speaks over its pipes, or an address."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    url: str = ""
    headers: dict[str, str] = {}


class Config(msgspec.Struct, frozen=True, rename="camel"):
    """The file: servers by name."""

    mcp_servers: dict[str, Server] = {}


def read(path: Path) -> dict[str, Server]:
    """The servers of a file. Raises Malformed."""
    try:
        with path.open("rb") as file:
            servers = msgspec.json.decode(file.read(CONFIG_BYTES), type=Config).mcp_servers
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"--mcp-config: {path} cannot be read") from error
    if len(servers) > SERVERS:
        raise Malformed(f"--mcp-config: at most {SERVERS} servers")
    for name, server in servers.items():
        if bool(server.command) == bool(server.url):
            raise Malformed(f"--mcp-config: {name} needs either a command or a url")
    return servers


class Servers:
    """Open servers. A tool's name is `<server>_<tool>`."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[Client, str]] = {}
        self.announced: tuple[McpTool, ...] = ()

    async def call(self, name: str, arguments: str) -> str:
        """The tool's text. Raises ToolRefused."""
        if name not in self._owners:
            raise ToolRefused(f"There is no MCP tool named {name[:200]!r}.")
        client, own = self._owners[name]
        try:
            given = msgspec.json.decode(arguments or "{}", type=dict[str, object])
        except (msgspec.DecodeError, RecursionError) as error:
            raise ToolRefused("The arguments are not a JSON object.") from error
        try:
            async with asyncio.timeout(CALL_S):
                result = await client.call_tool(own, given)
        except TimeoutError as error:
            raise ToolRefused(f"The tool did not answer within {CALL_S:.0f} seconds.") from error
        except _FAILURES as error:
            raise ToolRefused(f"The tool failed: {type(error).__name__}") from error
        text = "\n".join(
            part.text if isinstance(part, TextContent) else f"[{part.type}]"
            for part in result.content
        )
        if result.is_error:
            raise ToolRefused(text or "The tool failed.")
        return text

    def add(self, server: str, client: Client, tools: list[Tool]) -> None:
        """Announce a server's tools. Raises Malformed when there are too many."""
        for tool in tools:
            self._owners[f"{server}_{tool.name}"] = (client, tool.name)
        self.announced += tuple(
            McpTool(
                name=f"{server}_{tool.name}",
                description=tool.description or "",
                inputSchema=msgspec.json.encode(tool.input_schema).decode(),
            )
            for tool in tools
        )
        if len(self.announced) > TOOLS:
            raise Malformed(f"--mcp-config: more than {TOOLS} tools")


@asynccontextmanager
async def open_servers(
    path: Path, environment: Mapping[str, str], trust: Trust = OWN
) -> AsyncIterator[Servers]:
    """Start or reach every server. `environment` is what programs get besides their own.

    Raises Malformed naming the server that does not answer.
    """
    wanted = await asyncio.to_thread(read, path)
    opened = Servers()
    async with AsyncExitStack() as stack:
        for name, server in wanted.items():
            try:
                async with asyncio.timeout(START_S):
                    client = await stack.enter_async_context(
                        await _client(stack, server, environment, trust)
                    )
                    opened.add(name, client, await _tools(client))
            except (TimeoutError, *_FAILURES) as error:
                if isinstance(error, Malformed):
                    raise
                raise Malformed(f"--mcp-config: {name} does not answer") from error
        yield opened


async def _client(
    stack: AsyncExitStack, server: Server, environment: Mapping[str, str], trust: Trust
) -> Client:
    if server.command:
        given = {**environment, **server.env}
        return Client(
            StdioServerParameters(command=server.command, args=list(server.args), env=given)
        )
    # Made in a thread: it loads certificates, and its library the rest of itself.
    http = await asyncio.to_thread(_http, server.headers, trust)
    await stack.enter_async_context(http)
    return Client(streamable_http_client(server.url, http_client=http))


def _http(headers: Mapping[str, str], trust: Trust) -> httpx2.AsyncClient:
    """Follows no redirect: the headers are for one host."""
    limits = httpx2.Timeout(START_S, read=CALL_S)
    return httpx2.AsyncClient(
        headers=dict(headers),
        timeout=limits,
        follow_redirects=False,
        verify=trust.context or True,
    )


async def _tools(client: Client) -> list[Tool]:
    found: list[Tool] = []
    page = await client.list_tools()
    found += page.tools
    while page.next_cursor and len(found) <= TOOLS:
        page = await client.list_tools(cursor=page.next_cursor)
        found += page.tools
    return found
