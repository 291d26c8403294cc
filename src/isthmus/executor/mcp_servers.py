"""Tools of MCP servers that the person configured: started or reached, announced, called.

Loaded only where there are any, and in a thread: the library takes a second.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from isthmus import mcp_link
from isthmus.contract.contract_pb2 import McpTool
from isthmus.core.errors import ToolRefused
from isthmus.executor.task import Malformed
from isthmus.executor.trust import OWN, Trust

CONFIG_BYTES: Final = 256 * 1024
SERVERS: Final = 32
TOOLS: Final = 500
START_S: Final = 30.0
CALL_S: Final = 120.0


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
        self._owners: dict[str, tuple[mcp_link.Client, str]] = {}
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
                return await mcp_link.called(client, own, given)
        except TimeoutError as error:
            raise ToolRefused(f"The tool did not answer within {CALL_S:.0f} seconds.") from error
        except mcp_link.Lost as error:
            raise ToolRefused(str(error)) from error

    def add(self, server: str, client: mcp_link.Client, tools: list[mcp_link.Listed]) -> None:
        """Announce a server's tools. Raises Malformed when there are too many."""
        for tool in tools:
            self._owners[f"{server}_{tool.name}"] = (client, tool.name)
        self.announced += tuple(
            McpTool(
                name=f"{server}_{tool.name}",
                description=tool.description,
                inputSchema=msgspec.json.encode(tool.schema).decode(),
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
                    address = _address(server, environment)
                    client = await mcp_link.connect(stack, address, trust.context)
                    opened.add(name, client, await mcp_link.tools(client, TOOLS + 1))
            except (TimeoutError, *mcp_link.FAILURES) as error:
                if isinstance(error, Malformed):
                    raise
                raise Malformed(f"--mcp-config: {name} does not answer") from error
        yield opened


def _address(server: Server, environment: Mapping[str, str]) -> mcp_link.Address:
    return mcp_link.Address(
        command=server.command,
        args=server.args,
        env={**environment, **server.env},
        url=server.url,
        headers=server.headers,
        read_s=CALL_S,
    )
