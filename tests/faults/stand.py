"""The whole HTTP application before a faulty vendor, once for every dialect, on one real port."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import uvicorn
from msgspec import structs
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._load import load_providers
from isthmus.adapters.providers._spec import ProviderSpec
from isthmus.adapters.providers.dialects.openai import OpenAIDialect
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.adapters.providers.signing.api_key import ApiKey
from isthmus.app.foundation import SystemClock
from isthmus.auth.authenticate import AuthPolicy
from isthmus.core.events import REQUEST_ID, Fact, ModelCalled, ModelCallStarted
from isthmus.core.ports import Clock, ModelProvider, Outbound
from isthmus.edge.http.app import create
from isthmus.edge.http.protocol import CorkedProtocol
from isthmus.edge.services import Services
from isthmus.gateway.chat import ReactChat
from isthmus.gateway.converse import Converse
from isthmus.gateway.embed import Embed
from isthmus.gateway.forward import Forward
from isthmus.gateway.invoke import Invoke
from isthmus.gateway.suggest import Library, Rules, Suggest
from isthmus.routing.catalogue import Catalogue, CustomModels
from isthmus.routing.models import Models
from isthmus.settings import GatewaySettings, ModelsSettings, OutboundSettings, ProvidersSettings
from tests.faults.vendors import Dialect
from tests.support import google
from tests.support.faulty_upstream import FaultyUpstream, faulty_upstream
from tests.support.http_app import SERVICE, Stand
from tests.support.suggest_stand import CATALOGUE, LANGUAGES, PROMPTS

PATIENT: Final = OutboundSettings(retries=0)
HASTY: Final = OutboundSettings(retries=0, first_byte_s=0.4, between_bytes_s=0.4)
"""For vendors that stall."""
MODEL: Final = "under_test"
STAND: Final = "x-stand"
TOKEN: Final = b'{"access_token":"a-token","expires_in":3599,"token_type":"Bearer"}'
KEY: Final = SecretStr("key-of-the-faulty-upstream")


class FactsByCase:
    """A telemetry sink that keeps the facts of model calls by request id."""

    def __init__(self) -> None:
        self.started: dict[str, int] = {}
        self.called: dict[str, list[ModelCalled]] = {}
        self.others: dict[str, list[Fact]] = {}
        self._told: dict[str, asyncio.Event] = {}

    def emit(self, fact: Fact) -> None:
        case = REQUEST_ID.get()
        match fact:
            case ModelCallStarted():
                self.started[case] = self.started.get(case, 0) + 1
            case ModelCalled():
                self.called.setdefault(case, []).append(fact)
                self._told.setdefault(case, asyncio.Event()).set()
            case _:
                self.others.setdefault(case, []).append(fact)

    async def told(self, case: str) -> ModelCalled:
        """The end of the case's last call, when every one that began has one.

        Raises TimeoutError when that does not come to pass.
        """
        told = self._told.setdefault(case, asyncio.Event())
        async with asyncio.timeout(10):
            while not 0 < self.started.get(case, 0) <= len(self.called.get(case, ())):
                told.clear()
                await told.wait()
        return self.called[case][-1]


class FreshModels:
    """Models for every request anew: what one case breaks must not shut a breaker for the next."""

    def __init__(
        self,
        providers: Mapping[str, ModelProvider],
        catalogue: Catalogue,
        limits: OutboundSettings,
        sink: FactsByCase,
    ) -> None:
        self._parts = (providers, catalogue, limits, sink, SystemClock())
        self._usual = Models(*self._parts)
        self._models: dict[str, Models] = {}

    def __getattr__(self, name: str) -> Any:
        case = REQUEST_ID.get()
        if not case:
            return getattr(self._usual, name)
        models = self._models.get(case)
        if models is None:
            models = self._models[case] = Models(*self._parts)
        return getattr(models, name)


def settings_of(upstream: FaultyUpstream) -> ProvidersSettings:
    """Every vendor at the one address."""
    keyed = {"api_key": KEY, "base_url": f"{upstream.url}/v1"}
    return ProvidersSettings.model_validate(
        {
            "anthropic": {"api_key": KEY, "base_url": upstream.url},
            "openai": keyed,
            "azure": {"api_key": KEY, "base_url": upstream.url},
            "mistral": keyed,
            "fireworks": keyed,
            "bedrock": {"bearer_token": KEY, "base_url": upstream.url},
            "vertex": {
                "project": google.PROJECT,
                "location": google.LOCATION,
                "endpoint": upstream.url,
                "credentials": google.service_account(f"{upstream.url}/token"),
            },
            "local": {"enabled": False, "embeddings": False},
            "scripted": {"enabled": False},
        }
    )


def _openai(upstream: FaultyUpstream, outbound: Outbound, clock: Clock) -> HttpProvider:
    """OpenAI's own server, which settings place at OpenAI alone."""
    spec = ProviderSpec(
        name="openai",
        base_url=f"{upstream.url}/v1",
        dialect=OpenAIDialect(own=True, completions=False),
        framing=SseParser,
        signer=ApiKey(KEY, "authorization", "Bearer "),
        forward_paths=frozenset(),
        forward_headers=frozenset(),
    )
    return HttpProvider(spec, outbound, clock, Tries(0))


def catalogue_of(dialect: Dialect) -> Catalogue:
    """Every feature is served by the one model of this dialect."""
    model = structs.replace(
        CATALOGUE.models["claude_sonnet_4_6"],
        id=MODEL,
        provider=dialect.provider,
        upstream=dialect.upstream,
        params=dialect.params,
        kinds=("chat", "infill"),
        proxy_provider=None,
        deployments=(),
    )
    features = {
        name: structs.replace(
            feature, default_models=(MODEL,), fallback_models=(), models_for_tags={}
        )
        for name, feature in CATALOGUE.features.items()
        if feature.kind != "embedding"
    }
    return replace(
        CATALOGUE,
        models={**CATALOGUE.models, MODEL: model},
        features={**CATALOGUE.features, **features},
        custom=CustomModels(enabled=True),
    )


@dataclass(frozen=True)
class Server:
    """Where the application listens, and what it told."""

    port: int
    upstream: FaultyUpstream
    sink: FactsByCase

    def headers(self, case: str, *, hasty: bool) -> dict[str, str]:
        """Of a request that belongs to a case."""
        return {
            "x-request-id": case,
            STAND: str(hasty),
            "x-gitlab-unit-primitive": "ai_gateway_model_provider_proxy",
        }


class _Switch:
    """Passes a request to the application that its header names."""

    def __init__(self, apps: Mapping[str, ASGIApp]) -> None:
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(cast("list[tuple[bytes, bytes]]", scope["headers"]))
        await self._apps[headers[STAND.encode()].decode()](scope, receive, send)


def services_of(
    providers: Mapping[str, ModelProvider],
    dialect: Dialect,
    limits: OutboundSettings,
    sink: FactsByCase,
) -> Services:
    """Every use case of the gateway over real providers; the caller may do everything."""
    stand = Stand(policy=AuthPolicy(SERVICE, bypass=True))
    models = cast("Models", FreshModels(providers, catalogue_of(dialect), limits, sink))
    clock, gateway = SystemClock(), GatewaySettings(suggestions_per_minute=0)
    rules = Rules(gateway, None, stand.payloads, InProcessLimiter(clock))
    invoke = Invoke(models, PROMPTS, sink, clock, ModelsSettings(), stand.payloads)
    return replace(
        stand.services(),
        suggest=Suggest(models, Library(PROMPTS, LANGUAGES), sink, clock, rules),
        invoke=invoke,
        chat=ReactChat(invoke, sink),
        converse=Converse(models, sink, gateway),
        forward=Forward(models, gateway, sink),
        embed=Embed(models, sink),
        telemetry=sink,
        clock=clock,
    )


@asynccontextmanager
async def serving(dialect: Dialect) -> AsyncIterator[Server]:
    """The server, on this loop, for as long as the context lasts."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(faulty_upstream())
        upstream.plain = {"/token": TOKEN}
        sink, clock = FactsByCase(), SystemClock()
        apps: dict[str, ASGIApp] = {}
        for limits in (PATIENT, HASTY):
            outbound = await stack.enter_async_context(open_client(limits, clock))
            providers = await asyncio.to_thread(
                load_providers, settings_of(upstream), outbound, clock, limits
            )
            if dialect.name == "responses":
                providers["openai"] = _openai(upstream, outbound, clock)
            services = services_of(providers, dialect, limits, sink)
            apps[str(limits is HASTY)] = await asyncio.to_thread(create, services)
        port = await stack.enter_async_context(_listening(_Switch(apps)))
        yield Server(port, upstream, sink)


@asynccontextmanager
async def _listening(app: ASGIApp) -> AsyncIterator[int]:
    config = uvicorn.Config(
        app,
        port=0,
        http=CorkedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=1024,
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        await server.up.wait()
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True


class _Server(uvicorn.Server):
    """Tells when it is up, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()
