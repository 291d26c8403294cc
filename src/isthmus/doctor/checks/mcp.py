"""Each MCP server of our own: started or reached as sessions would, and its tools counted."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from isthmus.adapters.outbound.proxy import proxy_for
from isthmus.adapters.outbound.trust import trust
from isthmus.doctor.case import Case
from isthmus.doctor.finding import Finding, Subject
from isthmus.settings import McpServer

if TYPE_CHECKING:  # an extra
    from isthmus.adapters.mcp.link import Way

PATH = "mcp.servers"


async def check(case: Case) -> Sequence[Finding]:
    """A finding for each server; none when there are none."""
    servers = case.settings.mcp.servers
    if not servers:
        return []
    try:
        link = await asyncio.to_thread(import_module, "isthmus.adapters.mcp.link")
    except ImportError:
        mend = "pip install 'isthmus[mcp]'"
        return [Subject("mcp", PATH).fail("the extra isthmus[mcp] is missing", PATH, mend)]
    limits = case.settings.outbound
    way: Way = link.Way(partial(trust, limits), partial(proxy_for, limits))
    found = (_one(case, name, server, way) for name, server in servers.items())
    return await asyncio.gather(*found)


async def _one(case: Case, name: str, server: McpServer, way: "Way") -> Finding:
    from isthmus import mcp_link  # noqa: PLC0415 - an extra
    from isthmus.adapters.mcp.link import reached  # noqa: PLC0415 - an extra

    subject = Subject("mcp", f"{name}: {server.command or server.url} ({PATH})")
    limit_s = min(server.connect_s, case.limit_s * 0.6)
    try:
        async with AsyncExitStack() as stack, asyncio.timeout(limit_s):
            client = await reached(stack, server, way)
            count = len(await mcp_link.tools(client, server.max_tools))
    except TimeoutError:
        cause = f"it does not answer within {limit_s:.0f} s"
    except mcp_link.FAILURES as error:
        # Its text may quote what was sent.
        cause = f"it cannot be used ({type(error).__name__})"
    else:
        return subject.ok(f"tools: {count}")
    mend = f"correct {PATH}.{name}, or start that server; sessions go on without its tools"
    return subject.warn(cause, PATH, mend)
