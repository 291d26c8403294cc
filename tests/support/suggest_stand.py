"""Code suggestions over the whole HTTP application, with a provider that answers by script."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

import httpx
from starlette.types import ASGIApp

from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.adapters.providers.local import LocalProvider
from isthmus.auth.authenticate import AuthPolicy
from isthmus.core.deadline import Deadline
from isthmus.core.messages import (
    Chat,
    Delta,
    EmbedCall,
    Embeddings,
    Finish,
    Gathering,
    Infill,
    ModelCall,
    RawCall,
    RawReply,
    Text,
    Usage,
    gather,
)
from isthmus.core.ports import ModelProvider, Quota
from isthmus.edge.http.app import create
from isthmus.gateway.language import parse_languages
from isthmus.gateway.payloads import PayloadPolicy
from isthmus.gateway.suggest import Library, Rules, Suggest
from isthmus.prompts.registry import Registry
from isthmus.routing.catalogue import Catalogue, parse_catalogue
from isthmus.routing.models import Models
from isthmus.settings import GatewaySettings, ModelsSettings, OpenAISettings, OutboundSettings
from tests.support.http_app import SERVICE, Stand, bearer

LIBRARY = files("isthmus") / "library"


# Files are read here, before any event loop runs.
PROMPTS = Registry.load(LIBRARY / "prompts")
LANGUAGES = parse_languages((LIBRARY / "languages.yml").read_text(encoding="utf-8"))
CATALOGUE = parse_catalogue(
    (LIBRARY / "models.yml").read_bytes(), ModelsSettings(), OpenAISettings()
)


class Scripted:
    """A provider that answers every call with the same chunks, and keeps the calls."""

    def __init__(self, name: str, *chunks: str | Exception) -> None:
        self.name = name
        self.chunks = chunks
        self.calls: list[ModelCall] = []
        self.closed = 0
        self.finish: Finish = "stop"
        self.score: float | None = None

    async def stream(self, call: ModelCall, deadline: Deadline) -> AsyncIterator[Delta]:
        del deadline
        self.calls.append(call)
        try:
            for chunk in self.chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield Delta(text=chunk)
            yield Delta(finish=self.finish, usage=Usage(21, 6), score=self.score)
        finally:
            self.closed += 1

    async def whole(self, call: ModelCall, deadline: Deadline, into: Gathering) -> None:
        await gather(self.stream(call, deadline), into)

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        raise NotImplementedError

    def forward(self, raw: RawCall, deadline: Deadline) -> AbstractAsyncContextManager[RawReply]:
        raise NotImplementedError

    def forwards(self, path: str) -> bool:
        del path
        return False

    @property
    def configured(self) -> bool:
        return True

    @property
    def forward_headers(self) -> frozenset[str]:
        return frozenset()

    def sent(self) -> str:
        """The text of the one call that was made."""
        (call,) = self.calls
        match call.prompt:
            case Infill(prefix=prefix, suffix=suffix, context=context):
                return "".join(item.content for item in context) + prefix + suffix
            case Chat(messages=messages):
                parts = (part for message in messages for part in message.parts)
                return "\n".join(part.text for part in parts if isinstance(part, Text))


def suggest_of(
    stand: Stand,
    *providers: ModelProvider,
    gateway: GatewaySettings | None = None,
    catalogue: Catalogue = CATALOGUE,
    quota: Quota | None = None,
) -> Suggest:
    by_name: dict[str, ModelProvider] = {provider.name: provider for provider in providers}
    models = Models(by_name, catalogue, OutboundSettings(), stand.sink, stand.clock)
    return Suggest(
        models,
        Library(PROMPTS, LANGUAGES),
        stand.sink,
        stand.clock,
        Rules(gateway or GatewaySettings(), quota, stand.payloads, InProcessLimiter(stand.clock)),
    )


@dataclass
class Editor:
    """A client of the application. `scopes` None is the debug caller, who may do everything."""

    providers: tuple[ModelProvider, ...] = field(default_factory=lambda: (LocalProvider(),))
    scopes: tuple[str, ...] | None = None
    issuer: str = "https://gitlab.test"
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    verbose: bool = False
    catalogue: Catalogue = CATALOGUE
    quota: Quota | None = None
    stand: Stand = field(default_factory=Stand)

    def app(self) -> ASGIApp:
        stand = self.stand
        stand.policy = AuthPolicy(SERVICE, bypass=self.scopes is None)
        stand.payloads = PayloadPolicy(always=self.verbose)
        suggest = suggest_of(
            stand,
            *self.providers,
            gateway=self.gateway,
            catalogue=self.catalogue,
            quota=self.quota,
        )
        return create(replace(stand.services(), suggest=suggest))

    async def post(self, path: str, body: object) -> httpx.Response:
        return await self.ask("POST", path, json=body)

    async def ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        headers = dict(self.headers)
        if self.scopes is not None:
            headers |= bearer({"iss": self.issuer, "scopes": list(self.scopes)})
        transport = httpx.ASGITransport(self.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, headers=headers, **content)
