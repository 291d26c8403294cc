"""The MCP servers of our own, all together: which of their tools a session is offered."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from functools import partial

import msgspec

from isthmus.adapters.mcp.link import ANYWAY, Link, Way
from isthmus.core.events import Noted
from isthmus.core.ports import Telemetry
from isthmus.mcp_link import Listed
from isthmus.platform.mcp import MAX_DESCRIPTION_CHARS, Run, Served, tool_of
from isthmus.platform.tool import Client, Tool
from isthmus.settings import McpServer


class McpServers:
    """Servers by name. `taken` are the names of our own tools, which none of theirs replaces."""

    def __init__(
        self, links: Collection[Link], taken: Collection[str], telemetry: Telemetry
    ) -> None:
        self._links = tuple(links)
        self._taken = frozenset(taken)
        self._telemetry = telemetry
        self._shadows: set[str] = set()
        self._made: dict[str, tuple[tuple[Listed, ...], Mapping[str, Tool]]] = {}

    async def offered(self, definition: str) -> Mapping[str, Tool]:
        """The tools for a flow, by the names that models see; of two with one name, the first.

        Waits for servers that are connected for the first time; never longer than their settings
        say, and never raises: what a server that is down has is not offered.
        """
        links = [link for link in self._links if _wanted(link.server, definition)]
        ready = await asyncio.gather(*(link.ready() for link in links))
        found: dict[str, Tool] = {}
        for link in (link for link, is_ready in zip(links, ready, strict=True) if is_ready):
            for name, tool in self._tools(link).items():
                if name in self._taken or found.setdefault(name, tool) is not tool:
                    self._tell(link.name, name)
        return {name: tool for name, tool in found.items() if name not in self._taken}

    def _tools(self, link: Link) -> Mapping[str, Tool]:
        """Made once for each connection."""
        listed, tools = self._made.get(link.name, ((), {}))
        if listed is not link.listed:
            listed = link.listed
            tools = {tool.name: tool for tool in (_tool(link, one) for one in listed)}
            self._made[link.name] = (listed, tools)
        return tools

    def _tell(self, server: str, name: str) -> None:
        """Once for each name."""
        if name not in self._shadows:
            self._shadows.add(name)
            details = (("server", server), ("tool", name))
            text = "a tool of an MCP server is not offered: its name is taken"
            self._telemetry.emit(Noted("warning", text, details))


@asynccontextmanager
async def open_servers(
    servers: Mapping[str, McpServer],
    taken: Collection[str],
    telemetry: Telemetry,
    way: Way = ANYWAY,
) -> AsyncIterator[McpServers]:
    """The servers, none of them connected yet; at the end all of them are closed."""
    # What the library logs quotes messages, and what it cannot read: nothing for our log.
    logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)
    links = [Link(name, server, telemetry, way) for name, server in servers.items()]
    group = asyncio.TaskGroup()
    await group.__aenter__()
    keepers = [group.create_task(link.keep()) for link in links]
    try:
        yield McpServers(links, taken, telemetry)
    finally:
        for link, keeper in zip(links, keepers, strict=True):
            link.close()
            keeper.cancel()
        # What ended the body is the body's: as part of an exception group nobody would know it.
        await group.__aexit__(None, None, None)


def _wanted(server: McpServer, definition: str) -> bool:
    name = definition.partition("/")[0]
    return any(
        fnmatchcase(one, pattern) for pattern in server.definitions for one in (definition, name)
    )


def _tool(link: Link, one: Listed) -> Tool:
    return tool_of(
        Served(
            name=f"{link.name}_{one.name}",
            description=one.description[:MAX_DESCRIPTION_CHARS],
            schema=msgspec.json.encode(one.schema).decode(),
            run=_run(link, one.name),
            trusted=link.server.trusted,
            agreed=link.server.approve == "always",
        )
    )


def _run(link: Link, name: str) -> Run:
    call = partial(link.call, name)

    async def run(args: dict[str, object], _: Client) -> str:
        return await call(args)

    return run
