"""The instance API's side: Foundation and the stores -> its use cases.

Importing this costs as much as the database does: `serve.py` does so late.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from isthmus.adapters.signin.oidc import OidcProvider
from isthmus.app.foundation import Foundation
from isthmus.app.gateway import key_set
from isthmus.app.runners import open_runner
from isthmus.app.stores import Stores
from isthmus.core.ports import Clock, Limiter, Outbound, Runner, Telemetry
from isthmus.core.signin import IdentityProvider
from isthmus.edge.instance import InstanceServices
from isthmus.instance.accounts import Accounts
from isthmus.instance.broker import Broker, Grants, Identity, Reach
from isthmus.instance.checkpoints import Checkpoints, Sources
from isthmus.instance.discovery import Discovery
from isthmus.instance.flags import Flags
from isthmus.instance.jobs import Site
from isthmus.instance.launch import Launch, Parts, minting
from isthmus.instance.metadata import ModelMetadata
from isthmus.instance.oauth import OAuth
from isthmus.instance.places import Places
from isthmus.instance.runs import Runs
from isthmus.instance.signin import SignIn
from isthmus.instance.sweep import sweep
from isthmus.instance.usage import UsageReport
from isthmus.instance.workflows import Workflows
from isthmus.platform.host import SessionHost
from isthmus.platform.records import record_of
from isthmus.platform.tool import specification
from isthmus.platform.toolbox import all_tools
from isthmus.routing.models import Models
from isthmus.settings import InstanceSettings, Settings


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the use cases stand on, besides the stores. `site` is where jobs find us.

    `sessions`, `runner`, `provider` and `outbound` are None where there is none.
    """

    settings: InstanceSettings
    models: Models
    grants: Grants
    site: Site
    clock: Clock
    telemetry: Telemetry
    limiter: Limiter
    sessions: SessionHost | None = None
    runner: Runner | None = None
    provider: IdentityProvider | None = None
    outbound: Outbound | None = None
    tools: Sequence[Mapping[str, object]] = ()


@asynccontextmanager
async def open_instance(
    foundation: Foundation, stores: Stores, sessions: SessionHost | None
) -> AsyncIterator[InstanceServices]:
    """The use cases of the instance API; what is stuck is looked for meanwhile."""
    settings, clock = foundation.settings, foundation.clock
    async with AsyncExitStack() as stack:
        around = replace(
            await stack.enter_async_context(open_surroundings(foundation)),
            sessions=sessions,
            provider=await stack.enter_async_context(_provider(foundation)),
            tools=await asyncio.to_thread(_tools),
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        sweeping = group.create_task(
            sweep(stores.workflows, clock, settings.instance, foundation.telemetry)
        )
        try:
            yield use_cases(stores, around)
        finally:
            sweeping.cancel()


@asynccontextmanager
async def open_surroundings(foundation: Foundation) -> AsyncIterator[Surroundings]:
    """What the use cases stand on where nobody signs in, and no session runs."""
    settings, clock = foundation.settings, foundation.clock
    async with open_runner(settings, clock) as runner:
        yield Surroundings(
            settings=settings.instance,
            models=foundation.models,
            grants=foundation.grant,
            site=_site(foundation),
            clock=clock,
            telemetry=foundation.telemetry,
            runner=runner,
            outbound=foundation.outbound,
            limiter=foundation.limiter,
        )


def use_cases(stores: Stores, around: Surroundings) -> InstanceServices:
    """The use cases, put together."""
    settings, clock, limiter = around.settings, around.clock, around.limiter
    flags = Flags(stores.flags)
    places = Places(stores.places, register=settings.registers)
    workflows = Workflows(stores.workflows, places, flags, clock, settings)
    discovery = Discovery(around.models, settings.pinned_models)
    metadata = ModelMetadata(discovery, flags)
    accounts = Accounts(stores.users, stores.tokens, clock)
    broker = Broker(around.grants, around.site.identity, around.site.reach)
    launch, runner = None, around.runner
    if runner is not None:
        mint = minting(accounts, broker)
        launch = Launch(Parts(runner, stores.workflows, places, metadata, mint, around.site))
    sources = Sources(stores.records, stores.checkpoints, record_of)
    return InstanceServices(
        accounts=accounts,
        places=places,
        workflows=workflows,
        runs=Runs(workflows, launch),
        checkpoints=Checkpoints(workflows, sources, settings.keep_model),
        events=stores.events,
        flags=flags,
        metadata=metadata,
        discovery=discovery,
        broker=broker,
        oauth=OAuth(accounts, stores.users, stores.tokens, limiter, clock),
        sign_in=SignIn(stores.users, accounts, limiter, around.provider),
        usage=UsageReport(stores.usage, clock),
        sessions=around.sessions,
        limiter=limiter,
        telemetry=around.telemetry,
        clock=clock,
        settings=settings,
        outbound=around.outbound,
        tools=around.tools,
    )


def _tools() -> tuple[Mapping[str, object], ...]:
    """What sessions have, as it is told to clients. Blocking: a package is looked through."""
    return tuple(map(specification, all_tools().values()))


def _site(foundation: Foundation) -> Site:
    settings = foundation.settings
    own = f"http://127.0.0.1:{settings.http.port}"
    base_url = (settings.instance.external_url or own).rstrip("/")
    return Site(base_url, identity(foundation), _reach(settings))


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
    """Who this instance is: its id follows from the first key that it kept."""
    settings = foundation.settings.instance
    public = foundation.keys.first
    digest = hashlib.sha256(public.n.to_bytes((public.n.bit_length() + 7) // 8)).hexdigest()
    host = settings.external_url.partition("://")[2].partition("/")[0] or "isthmus"
    return Identity(digest[:32], host, settings.version, settings.realm)
