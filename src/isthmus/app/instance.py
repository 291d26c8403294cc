"""The instance API's side: Foundation and the stores -> its use cases.

Importing this costs as much as the database does: `serve.py` does so late.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import isthmus.platform.tools as tools_package
from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.adapters.signin.oidc import OidcProvider
from isthmus.app.foundation import Foundation
from isthmus.app.gateway import key_set
from isthmus.app.runners import open_runner
from isthmus.app.stores import Stores
from isthmus.core.ports import Runner
from isthmus.core.signin import IdentityProvider
from isthmus.edge.instance import InstanceServices
from isthmus.instance.accounts import Accounts
from isthmus.instance.broker import Broker, Identity, Reach
from isthmus.instance.checkpoints import Checkpoints, Sources
from isthmus.instance.discovery import Discovery
from isthmus.instance.flags import Flags
from isthmus.instance.jobs import Site
from isthmus.instance.launch import Launch, Parts, minting
from isthmus.instance.metadata import ModelMetadata
from isthmus.instance.oauth import OAuth
from isthmus.instance.places import Places
from isthmus.instance.signin import SignIn
from isthmus.instance.sweep import sweep
from isthmus.instance.workflows import Workflows
from isthmus.platform.host import SessionHost, load_tools
from isthmus.platform.records import record_of
from isthmus.platform.tool import specification
from isthmus.settings import Settings


@asynccontextmanager
async def open_instance(
    foundation: Foundation, stores: Stores, sessions: SessionHost | None
) -> AsyncIterator[InstanceServices]:
    """The use cases of the instance API; what is stuck is looked for meanwhile."""
    settings = foundation.settings.instance
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(_provider(foundation))
        runner = await stack.enter_async_context(open_runner(foundation.settings, foundation.clock))
        services = _services(foundation, stores, sessions, provider)
        services = replace(services, launcher=_launcher(foundation, stores, services, runner))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        sweeping = group.create_task(
            sweep(stores.workflows, foundation.clock, settings, foundation.telemetry)
        )
        try:
            yield services
        finally:
            sweeping.cancel()


def _services(
    foundation: Foundation,
    stores: Stores,
    sessions: SessionHost | None,
    provider: IdentityProvider | None,
) -> InstanceServices:
    everything, clock = foundation.settings, foundation.clock
    settings, limiter = everything.instance, InProcessLimiter(foundation.clock)
    flags = Flags(stores.flags)
    places = Places(stores.places, register=settings.register_projects)
    workflows = Workflows(stores.workflows, places, flags, clock, settings)
    discovery = Discovery(foundation.models, settings.pinned_models)
    sources = Sources(stores.records, stores.checkpoints, record_of)
    accounts = Accounts(stores.users, stores.tokens, clock)
    return InstanceServices(
        accounts=accounts,
        places=places,
        workflows=workflows,
        checkpoints=Checkpoints(workflows, sources, settings.keep_model),
        events=stores.events,
        flags=flags,
        metadata=ModelMetadata(discovery, flags),
        discovery=discovery,
        broker=Broker(foundation.grant, identity(foundation), _reach(everything)),
        oauth=OAuth(accounts, stores.users, stores.tokens, limiter, clock),
        sign_in=SignIn(stores.users, accounts, limiter, provider),
        sessions=sessions,
        limiter=limiter,
        telemetry=foundation.telemetry,
        clock=clock,
        settings=settings,
        outbound=foundation.outbound,
        tools=tuple(map(specification, load_tools(tools_package).values())),
    )


def _launcher(
    foundation: Foundation, stores: Stores, services: InstanceServices, runner: Runner
) -> Launch:
    settings = foundation.settings
    own = f"http://127.0.0.1:{settings.http.port}"
    base_url = (settings.instance.external_url or own).rstrip("/")
    return Launch(
        Parts(
            runner=runner,
            workflows=stores.workflows,
            places=services.places,
            metadata=services.metadata,
            mint=minting(services.accounts, services.broker),
            site=Site(base_url, services.broker.identity, services.broker.reach),
        )
    )


@asynccontextmanager
async def _provider(foundation: Foundation) -> AsyncIterator[IdentityProvider | None]:
    settings = foundation.settings.instance.oidc
    if not settings.issuer:
        yield None
        return
    async with key_set(foundation, (), (settings.issuer,)) as keys:
        yield OidcProvider(settings, foundation.outbound, keys, foundation.clock)


def _reach(settings: Settings) -> Reach:
    elsewhere = settings.platform.url
    return Reach(
        platform=settings.instance.platform_address or elsewhere.partition("://")[2] or elsewhere,
        platform_port=settings.grpc.port,
        platform_secure=settings.platform.secure if elsewhere else settings.grpc.tls.enabled,
        direct=settings.instance.direct_connections,
    )


def identity(foundation: Foundation) -> Identity:
    """Who this instance is: its id follows from the key that it keeps."""
    settings = foundation.settings.instance
    public = foundation.keys.local.public("")
    digest = hashlib.sha256(public.n.to_bytes((public.n.bit_length() + 7) // 8)).hexdigest()
    host = settings.external_url.partition("://")[2].partition("/")[0] or "isthmus"
    return Identity(digest[:32], host, settings.version, settings.realm)
