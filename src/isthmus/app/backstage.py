"""What stands behind both listeners once it is needed: stores, sessions, the instance API.

Importing this costs half a second: `serve.py` does so late.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isthmus.adapters.outbound.trust import papers
from isthmus.app.foundation import Foundation
from isthmus.app.instance import open_instance
from isthmus.app.stores import Stores
from isthmus.core.beside import beside
from isthmus.core.identity import Caller, ClientInfo
from isthmus.edge.instance import InstanceServices

if TYPE_CHECKING:  # where sessions run elsewhere their engine is never loaded
    from isthmus.platform.host import LocalHost, SessionHost


@dataclass(frozen=True, slots=True)
class Backstage:
    """`host` is None where this process runs no sessions."""

    stores: Stores
    host: "LocalHost | None"
    instance: InstanceServices


@asynccontextmanager
async def open_backstage(foundation: Foundation, stores: Stores) -> AsyncIterator[Backstage]:
    """Open sessions where they run here, and the instance. Raises SettingsError."""
    settings = foundation.settings
    async with AsyncExitStack() as stack:
        host = None
        if "grpc" in settings.transports:
            from isthmus.app.sessions import local_host, upkeep  # noqa: PLC0415 - only where they run

            host = await stack.enter_async_context(local_host(foundation, stores))
            await stack.enter_async_context(beside(upkeep(foundation, stores)))
        sessions = host or await _elsewhere(stack, foundation)
        opened = open_instance(foundation, stores, sessions)
        yield Backstage(stores, host, await stack.enter_async_context(opened))


async def _elsewhere(stack: AsyncExitStack, foundation: Foundation) -> "SessionHost | None":
    """The platform in another process, where one is set."""
    settings = foundation.settings.platform
    if not settings.url:
        return None
    shown = await asyncio.to_thread(papers, foundation.settings.outbound)
    from isthmus.adapters.sessions.remote import open_remote  # noqa: PLC0415 - gRPC, where it is

    def mint(caller: Caller, client: ClientInfo) -> str:
        return foundation.grant.platform_token(caller, client, "chat").token

    return await stack.enter_async_context(open_remote(settings, mint, shown))
