"""The agent platform's side: Foundation -> a gRPC listener that runs sessions.

Importing this costs more than the rest of the server (SQLAlchemy, gRPC, LangGraph): `serve.py` does
so after HTTP answers.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import isthmus.platform.tools as tools_package
from isthmus.adapters.keysets.merged import platform_issuers
from isthmus.adapters.keysets.static import local_keys
from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database, open_database
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.app.foundation import LIBRARY, Foundation
from isthmus.app.gateway import key_set, public_keys
from isthmus.auth.authenticate import Authenticator, platform_policy
from isthmus.auth.issue import signing_kid
from isthmus.core.errors import Invalid, Unavailable
from isthmus.edge.grpc.server import GrpcListener, PlatformServices, open_server
from isthmus.platform import catalogue
from isthmus.platform.engine.run import Equipment, GraphEngine
from isthmus.platform.host import LocalHost, Parts, load_tools
from isthmus.platform.tool import Tool
from isthmus.redaction.rules import redact
from isthmus.settings import Settings, SettingsError

SQLITE_FILE = "isthmus.db"


@dataclass(frozen=True, slots=True)
class Sessions:
    """A listener that accepts, and the host behind it."""

    listener: GrpcListener
    host: LocalHost

    async def drain(self, deadline_s: float) -> None:
        """End running sessions so that they resume elsewhere, then stop listening."""
        await self.host.drain(deadline_s)
        await self.listener.stop(deadline_s)


@asynccontextmanager
async def open_sessions(foundation: Foundation) -> AsyncIterator[Sessions]:
    """Open the stores, the host and the listener. Raises SettingsError naming what is wrong."""
    settings = foundation.settings
    async with AsyncExitStack() as stack:
        database = await _database(stack, settings)
        tools = load_tools(tools_package)
        host = await stack.enter_async_context(LocalHost(_parts(foundation, database, tools)))
        services = PlatformServices(
            host=host,
            authenticator=await stack.enter_async_context(_authenticator(foundation)),
            grant=foundation.grant,
            tools=tuple(tools.values()),
            telemetry=foundation.telemetry,
        )
        opened = open_server(services, settings.grpc, settings.platform)
        try:
            listener = await stack.enter_async_context(opened)
        except OSError as error:
            raise SettingsError(f"grpc.port: {error}") from error
        yield Sessions(listener, host)


async def _database(stack: AsyncExitStack, settings: Settings) -> Database:
    opened = open_database(
        database_url(settings),
        pool_size=settings.database.pool_size,
        migrate=settings.database.migrate,
    )
    try:
        return await stack.enter_async_context(opened)
    except (Invalid, Unavailable) as error:
        raise SettingsError(f"database.url: {error}") from error


def _parts(foundation: Foundation, database: Database, tools: dict[str, Tool]) -> Parts:
    settings = foundation.settings.platform
    engine = GraphEngine(
        Equipment(
            foundation.models,
            SqlCheckpointStore(database),
            foundation.telemetry,
            foundation.clock,
            redact,
            settings.max_steps,
        )
    )
    return Parts(
        flows=catalogue.load(LIBRARY / "flows"),
        tools=tools,
        models=foundation.models,
        workflows=SqlWorkflowStore(database, foundation.clock),
        engine=lambda: engine,
        telemetry=foundation.telemetry,
        clock=foundation.clock,
        settings=settings,
    )


def database_url(settings: Settings) -> str:
    """Where records are kept: as set, or a file in the data directory."""
    url = settings.database.url.get_secret_value()
    return url or f"sqlite:///{settings.data_dir.absolute() / SQLITE_FILE}"


@asynccontextmanager
async def _authenticator(foundation: Foundation) -> AsyncIterator[Authenticator]:
    auth, keys = foundation.settings.auth, foundation.keys
    service = auth.platform_service_name
    validation = (auth.platform_validation_key, auth.validation_key)
    others = [
        *(keys.gateway.public(signing_kid(auth.service_name)),),
        *(
            key
            for pem in validation
            for key in local_keys(service, "", pem.get_secret_value(), foundation.telemetry)
        ),
    ]
    own = public_keys(service, keys.platform, keys.local, tuple(others))
    async with key_set(foundation, own, platform_issuers(auth)) as accepted:
        yield Authenticator(accepted, platform_policy(auth), foundation.telemetry, foundation.clock)
