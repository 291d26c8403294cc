"""One MCP server of our own: connected when it is first wanted, again after it was lost."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, cast

from isthmus import mcp_link
from isthmus.core.errors import ToolRefused
from isthmus.core.events import Noted
from isthmus.core.ports import Telemetry
from isthmus.settings import McpServer

CALLS: Final = 16
"""Calls to one server at once; more wait for their turn."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 300.0
STEADY_S: Final = 60.0
"""Who stayed so long was well: the next pause is a short one again."""
LONGER_S: Final = 10.0
NAME_CHARS: Final = 256
LISTED: Final = 2_000
"""How many tools are looked at, before the settings say which of them are wanted."""


def _no_context() -> ssl.SSLContext | None:
    return None


def _no_proxy(_: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Way:
    """How addresses are called: whom TLS trusts, made in a thread, and by which proxy."""

    context: Callable[[], ssl.SSLContext | None] = _no_context
    proxy: Callable[[str], str] = _no_proxy


ANYWAY: Final = Way()
"""Directly, and with the authorities of the library."""


class Link:
    """The server. `keep` is a task of its owner's: what connects must also disconnect."""

    def __init__(
        self,
        name: str,
        server: McpServer,
        telemetry: Telemetry,
        way: Way,
    ) -> None:
        self.name = name
        self.server = server
        self.listed: tuple[mcp_link.Listed, ...] = ()
        self._telemetry = telemetry
        self._way = way
        self._client: mcp_link.Client | None = None
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._lost = asyncio.Event()
        self._failures = self._losses = 0
        self._expected_s = 0.0
        self._closing = False
        self._calls = asyncio.Semaphore(CALLS)

    async def ready(self) -> bool:
        """Whether it is connected. A server that failed before is not waited for."""
        if not self._wanted.is_set():
            self._wanted.set()
            self._expect()
        if not self._failures:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._expected_s):
                    await self._settled.wait()
        return self._client is not None

    async def call(self, tool: str, args: dict[str, object]) -> str:
        """The text of a tool's answer. Raises ToolRefused."""
        if not await self.ready() or (client := self._client) is None:
            raise ToolRefused(f"The MCP server {self.name!r} cannot be reached now.")
        try:
            async with asyncio.timeout(self.server.call_s), self._calls:
                return await mcp_link.called(client, tool, args)
        except TimeoutError as error:
            limit = f"{self.server.call_s:.0f} seconds"
            raise ToolRefused(f"The tool did not answer within {limit}.") from error
        except mcp_link.Lost as error:
            if client is self._client:
                self._gone()
            raise ToolRefused(str(error)) from error

    async def keep(self) -> None:
        """Connect when somebody wants it, for ever; less and less often where that fails."""
        await self._wanted.wait()
        # The library may take a cancellation for the end of a connection, and swallow it.
        while not self._closing:
            began_s = asyncio.get_running_loop().time()
            worked, reason = await self._hold()
            if self._closing:
                return
            if not worked:
                self._failures += 1
                self._note("warning", "an MCP server cannot be used", ("reason", reason))
                self._settled.set()
            else:
                self._gone()
                held_s = asyncio.get_running_loop().time() - began_s
                self._losses = 1 if held_s > STEADY_S else self._losses + 1
                self._note("warning", "an MCP server was lost", ("reason", reason))
            await asyncio.sleep(pause_s(self._failures or self._losses))

    def close(self) -> None:
        """Connect no more; whoever owns `keep` cancels it."""
        self._closing = True
        self._lost.set()

    def _gone(self) -> None:
        """The connection has ended: whoever wants the server waits for the next one."""
        self._lost.set()
        if self._client is not None:
            self._client = None
            self._settled.clear()
            self._expect()

    def _expect(self) -> None:
        """It should be connected within its time from now."""
        self._expected_s = asyncio.get_running_loop().time() + self.server.connect_s

    async def _hold(self) -> tuple[bool, str]:
        """Connect, and stay until it is lost: whether that worked, and what ended it."""
        server, connected = self.server, False
        self._lost.clear()
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(server.connect_s):
                    client = await reached(stack, server, self._way, self._gone)
                    self.listed = self._chosen(await mcp_link.tools(client, LISTED))
                self._client, self._failures, connected = client, 0, True
                self._settled.set()
                count = ("tools", str(len(self.listed)))
                self._note("info", "an MCP server is connected", count)
                await self._lost.wait()
        except Exception as error:  # noqa: BLE001 - whatever a server does must not end the sessions
            # Never its text: it may quote what was sent, or what came.
            return connected, named(error)
        return connected, "closed"

    def _chosen(self, listed: list[mcp_link.Listed]) -> tuple[mcp_link.Listed, ...]:
        server = self.server
        wanted = [
            one
            for one in listed
            if len(one.name) <= NAME_CHARS
            and _fits(one.name, server.allow)
            and not _fits(one.name, server.deny)
        ]
        if len(wanted) > server.max_tools:
            left = ("left_out", str(len(wanted) - server.max_tools))
            self._note("warning", "an MCP server has more tools than `max_tools`", left)
        return tuple(wanted[: server.max_tools])

    def _note(self, level: str, event: str, *details: tuple[str, str]) -> None:
        self._telemetry.emit(Noted(level, event, (("server", self.name), *details)))


def named(error: Exception) -> str:
    """The class of a failure; of a group, those of its members: the group's own tells nothing."""
    return ", ".join(sorted(_classes(error)))


def _classes(error: Exception) -> set[str]:
    if not isinstance(error, ExceptionGroup):
        return {type(error).__name__}
    group = cast("ExceptionGroup[Exception]", error)
    return {name for member in group.exceptions for name in _classes(member)}


def pause_s(failures: int) -> float:
    """The pause after so many failures in a row, one or more."""
    return min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE_S)


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


async def reached(
    stack: AsyncExitStack, server: McpServer, way: Way, gone: Callable[[], None] = lambda: None
) -> mcp_link.Client:
    """A client of the server that the settings name; as `mcp_link.connect` says."""
    context = await asyncio.to_thread(way.context) if server.url else None
    address = mcp_link.Address(
        command=server.command,
        args=server.args,
        env={name: value.get_secret_value() for name, value in server.env.items()},
        url=server.url,
        headers={name: value.get_secret_value() for name, value in server.headers.items()},
        # What a program complains of may hold its secrets.
        errors=asyncio.subprocess.DEVNULL,
        proxy=way.proxy(server.url) if server.url else "",
        # A call is given up before its request is, which leaves the connection to others.
        read_s=server.call_s + LONGER_S,
    )
    return await mcp_link.connect(stack, address, context, gone)
