"""Prompts and chat over the whole HTTP application, with providers that answer by script."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import httpx
from pydantic import SecretStr
from starlette.types import ASGIApp

from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.providers._load import load_providers
from isthmus.app.foundation import SystemClock
from isthmus.auth.authenticate import AuthPolicy
from isthmus.core.events import HttpServed
from isthmus.core.ports import ModelProvider
from isthmus.edge.http.app import create
from isthmus.gateway.chat import ReactChat
from isthmus.gateway.converse import Converse
from isthmus.gateway.invoke import Invoke
from isthmus.prompts.registry import Registry
from isthmus.routing.catalogue import Catalogue, CustomModels, parse_catalogue
from isthmus.routing.models import Models
from isthmus.settings import (
    GatewaySettings,
    ModelsSettings,
    OpenAISettings,
    OutboundSettings,
    ProvidersSettings,
)
from tests.support.clock import HandClock
from tests.support.http_app import SERVICE, Stand, bearer
from tests.support.listener import listening
from tests.support.replay import KEY, Replay
from tests.support.suggest_stand import CATALOGUE, LIBRARY, PROMPTS, Scripted

MODELS_FILE = (LIBRARY / "models.yml").read_bytes()


def claude(*chunks: str | Exception) -> Scripted:
    """A model that says this."""
    return Scripted("anthropic", *(chunks or ("Fix ", "it")))


@dataclass
class Instance:
    """A client of the application. `scopes` None is the debug caller, who may do everything."""

    providers: Sequence[ModelProvider] = field(default_factory=lambda: (claude(),))
    scopes: tuple[str, ...] | None = None
    issuer: str = "https://gitlab.test"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    models: ModelsSettings = field(default_factory=ModelsSettings)
    catalogue: Catalogue = CATALOGUE
    prompts: Registry = PROMPTS
    clock: HandClock = field(default_factory=HandClock)
    stand: Stand = field(init=False)

    def __post_init__(self) -> None:
        policy = AuthPolicy(SERVICE, bypass=self.scopes is None)
        self.stand = Stand(policy=policy, clock=self.clock)

    def app(self) -> ASGIApp:
        sink, clock = self.stand.sink, self.stand.clock
        providers = {provider.name: provider for provider in self.providers}
        models = Models(providers, self.catalogue, OutboundSettings(), sink, clock)
        invoke = Invoke(models, self.prompts, sink, clock, self.models, self.stand.payloads)
        services = replace(
            self.stand.services(),
            invoke=invoke,
            chat=ReactChat(invoke, sink),
            converse=Converse(models, sink, self.gateway),
        )
        return create(services)

    async def post(self, path: str, body: object) -> httpx.Response:
        """The answer."""
        transport = httpx.ASGITransport(self.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.post(path, json=body, headers=self._headers())

    async def post_until_broken(self, path: str, body: object) -> tuple[int, str]:
        """Status and text of an answer over a real connection, which must break off."""
        parts: list[str] = []
        broken = False
        with listening(self.app()) as port:
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                asked = client.stream("POST", path, json=body, headers=self._headers())
                async with asked as reply:
                    try:
                        async for part in reply.aiter_text():
                            parts.append(part)
                    except httpx.RemoteProtocolError:
                        broken = True
        assert broken, "the answer had an end"
        return reply.status_code, "".join(parts)

    def _headers(self) -> dict[str, str]:
        if self.scopes is None:
            return dict(self.headers)
        return dict(self.headers) | bearer({"iss": self.issuer, "scopes": list(self.scopes)})

    def logged(self) -> dict[str, object]:
        """The fields of the one access record."""
        (served,) = self.stand.sink.of(HttpServed)
        return dict(served.fields)


@asynccontextmanager
async def behind_sockets(replay: Replay, *, custom: bool = False) -> AsyncIterator[Instance]:
    """An instance whose models are a server on a real port; `custom`: callers may name others."""
    openai = OpenAISettings(api_key=SecretStr(KEY), base_url=replay.base_url, model="m")
    catalogue = parse_catalogue(MODELS_FILE, ModelsSettings(), openai)
    clock, limits = SystemClock(), OutboundSettings()
    async with open_client(limits, clock) as outbound:
        settings = ProvidersSettings(openai=openai)
        providers = await asyncio.to_thread(load_providers, settings, outbound, clock, limits)
        yield Instance(
            tuple(providers.values()),
            catalogue=replace(catalogue, custom=CustomModels(custom)),
            clock=HandClock(clock.now_s()),
        )
