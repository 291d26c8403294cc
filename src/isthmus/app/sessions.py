"""The agent platform's side: Foundation and the stores -> sessions, and a gRPC listener for them.

Importing this costs more than the rest of the server (gRPC, LangGraph): `serve.py` does so after
HTTP answers.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from secrets import token_bytes
from uuid import uuid4

from isthmus.adapters.keysets.merged import platform_issuers
from isthmus.adapters.keysets.static import local_keys
from isthmus.adapters.outbound.proxy import proxy_for
from isthmus.adapters.outbound.trust import trust
from isthmus.adapters.scan.service import Service, ServiceScanner
from isthmus.adapters.search.sqlite import SqliteSearch, index_file
from isthmus.app.foundation import Foundation
from isthmus.app.gateway import accepted_keys, public_keys
from isthmus.app.library import LIBRARY
from isthmus.app.prune import prune_old
from isthmus.app.stores import Stores
from isthmus.auth.authenticate import Authenticator, platform_policy
from isthmus.auth.issue import signing_kid
from isthmus.edge.grpc.server import GrpcListener, PlatformServices, open_server
from isthmus.platform import catalogue, commands
from isthmus.platform.credits import Credits
from isthmus.platform.engine.run import Equipment, GraphEngine
from isthmus.platform.host import LocalHost, Parts, none_served
from isthmus.platform.keeping import at_instance, embedded
from isthmus.platform.opening import StoresOf
from isthmus.platform.owner import Shared
from isthmus.platform.prune import Pruning
from isthmus.platform.scan import Bounds, Guard, Scanner
from isthmus.platform.scan_rules import RuleScanner
from isthmus.platform.tool import Tool
from isthmus.platform.toolbox import all_tools, published
from isthmus.platform.vault import Vaults
from isthmus.redaction.policy import rules_of
from isthmus.settings import Settings, SettingsError

LAST_WORDS_S = 1.0
"""How long a stream whose session has ended may take to say so."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """A listener that accepts, and the host behind it."""

    listener: GrpcListener
    host: LocalHost

    async def drain(self, deadline_s: float) -> None:
        """End running sessions so that they resume elsewhere, then stop listening.

        A second call with less time cuts the first one short.
        """
        loop = asyncio.get_running_loop()
        end_s = loop.time() + deadline_s
        await self.host.drain(deadline_s)
        # Who has just ended is still told how: that takes a moment, whatever time is left.
        await self.listener.stop(max(end_s - loop.time(), LAST_WORDS_S))


@asynccontextmanager
async def open_sessions(foundation: Foundation, host: LocalHost) -> AsyncIterator[Sessions]:
    """Open the listener. Raises SettingsError naming what is wrong."""
    settings = foundation.settings
    async with AsyncExitStack() as stack:
        services = PlatformServices(
            host=host,
            authenticator=await stack.enter_async_context(_authenticator(foundation)),
            grant=foundation.grant,
            tools=tuple(published(all_tools())),
            flows=host.flows,
            telemetry=foundation.telemetry,
            traces=foundation.traces,
            credits=Credits(foundation.quota),
        )
        opened = open_server(services, settings.grpc, settings.platform)
        try:
            listener = await stack.enter_async_context(opened)
        except OSError as error:
            raise SettingsError(f"grpc.port: {error}") from error
        yield Sessions(listener, host)


@asynccontextmanager
async def local_host(foundation: Foundation, stores: Stores) -> AsyncIterator[LocalHost]:
    """What runs sessions in this process. Raises SettingsError."""
    async with AsyncExitStack() as stack:
        docs = SqliteSearch(index_file(foundation.settings.search, foundation.settings.data_dir))
        tools = all_tools(docs)
        guard = await stack.enter_async_context(_guard(foundation))
        served = await _served(stack, foundation, tools)
        parts = _parts(foundation, stores, tools, guard)
        yield await stack.enter_async_context(LocalHost(replace(parts, served=served)))


def _parts(
    foundation: Foundation, stores: Stores, tools: Mapping[str, Tool], guard: Guard
) -> Parts:
    settings = foundation.settings.platform
    engine = GraphEngine(
        Equipment(
            foundation.models,
            foundation.telemetry,
            foundation.clock,
            Vaults(rules_of(foundation.settings.redaction), partial(token_bytes, 32)),
            guard,
            settings,
            commands.load(LIBRARY / "commands"),
        )
    )
    return Parts(
        flows=catalogue.bundled(LIBRARY, tools, foundation.prompts),
        tools=tools,
        models=foundation.models,
        stores=_stores_of(foundation.settings, stores),
        shared=Shared(stores.leases, stores.ledger, stores.workflows),
        engine=lambda: engine,
        telemetry=foundation.telemetry,
        clock=foundation.clock,
        settings=settings,
        credits=Credits(foundation.quota),
        metered=foundation.settings.models.custom_enabled,
    )


def _guard(foundation: Foundation) -> Guard:
    scan = foundation.settings.platform.scan
    scanner: Scanner | None = None
    if scan.engine == "rules":
        scanner = RuleScanner()
    elif scan.engine == "service":
        service = Service(scan.url, scan.timeout_s, scan.token.get_secret_value())
        scanner = ServiceScanner(service, foundation.outbound, foundation.clock)
    bounds = Bounds(scan.timeout_s, scan.concurrency)
    return Guard(scanner, foundation.telemetry, foundation.clock, bounds)


async def _served(
    stack: AsyncExitStack, foundation: Foundation, tools: Mapping[str, Tool]
) -> Callable[[str], Awaitable[Mapping[str, Tool]]]:
    """MCP servers. Their library takes a second to load: only where there are any."""
    wanted = foundation.settings.mcp.servers
    if not wanted:
        return none_served
    try:
        mcp = await asyncio.to_thread(import_module, "isthmus.adapters.mcp.servers")
        link = import_module("isthmus.adapters.mcp.link")
    except ImportError as error:
        raise SettingsError("mcp.servers: needs the extra isthmus[mcp]") from error
    limits = foundation.settings.outbound
    way = link.Way(partial(trust, limits), partial(proxy_for, limits))
    opened = mcp.open_servers(wanted, tools, foundation.telemetry, way)
    servers = await stack.enter_async_context(opened)
    return servers.offered


async def upkeep(foundation: Foundation, stores: Stores) -> None:
    """What is done to old sessions while the server runs."""
    shared = Shared(stores.leases, stores.ledger, stores.workflows)
    pruning = Pruning(shared, stores.checkpoints, str(uuid4()))
    days = foundation.settings.platform.prune_after_days
    await prune_old(pruning, days, foundation.clock, foundation.telemetry)


def _stores_of(settings: Settings, stores: Stores) -> StoresOf:
    home = settings.platform.records
    if home == "auto":
        named = settings.auth.platform_gitlab_url or settings.auth.gitlab_url
        home = "instance" if named else "embedded"
    return at_instance if home == "instance" else embedded(stores.workflows, stores.checkpoints)


@asynccontextmanager
async def _authenticator(foundation: Foundation) -> AsyncIterator[Authenticator]:
    auth, keys = foundation.settings.auth, foundation.keys
    service = auth.platform_service_name
    validation = (auth.platform_validation_key, auth.validation_key)
    others = [
        keys.gateway.public(signing_kid(auth.service_name)),
        *keys.former,
        *(
            key
            for pem in validation
            for key in local_keys(service, "", pem.get_secret_value(), foundation.telemetry)
        ),
    ]
    own = public_keys(service, keys.platform, keys.local, tuple(others))
    async with accepted_keys(foundation, own, platform_issuers(auth)) as accepted:
        told = foundation.telemetry, foundation.clock
        yield Authenticator(accepted.keys, platform_policy(auth), *told, accepted.bound)
