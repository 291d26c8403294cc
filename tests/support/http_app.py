"""The HTTP application over real use cases, with a scripted provider at the far end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeAlias, cast

from isthmus.adapters.search.sqlite import SqliteSearch
from isthmus.auth.authenticate import Authenticator, AuthPolicy
from isthmus.auth.issue import SigningKey, new_private_key_pem
from isthmus.core.deadline import Deadline
from isthmus.core.messages import (
    Delta,
    EmbedCall,
    Embeddings,
    Gathering,
    ModelCall,
    RawCall,
    RawReply,
    Usage,
)
from isthmus.core.ports import ModelProvider, Quota, VerificationKey
from isthmus.edge.services import Readiness, Services
from isthmus.gateway.chat import ReactChat
from isthmus.gateway.converse import Converse
from isthmus.gateway.embed import Embed
from isthmus.gateway.forward import Forward
from isthmus.gateway.grant import Grant, Signer
from isthmus.gateway.invoke import Invoke
from isthmus.gateway.payloads import NO_PAYLOADS, PayloadPolicy
from isthmus.gateway.search import SearchDocs
from isthmus.gateway.suggest import Suggest
from isthmus.routing.catalogue import Catalogue, Model
from isthmus.routing.models import Models
from isthmus.settings import GatewaySettings, HttpSettings, OutboundSettings
from tests.support.clock import HandClock
from tests.support.sink import MemorySink

SERVICE = "gitlab-ai-gateway"
KID = "test"
JSON = (("content-type", "application/json"),)
EVENTS = (("content-type", "text/event-stream; charset=utf-8"),)

Step: TypeAlias = bytes | Exception | None
"""A chunk to yield, a failure to raise, or a silence without end."""


class ScriptedUpstream:
    """A ModelProvider whose `forward` plays `steps`; counts what it opened and closed."""

    def __init__(self, name: str, paths: Sequence[str], headers: Sequence[str]) -> None:
        self.name = name
        self.forward_headers = frozenset(headers)
        self.configured = True
        self.calls: list[RawCall] = []
        self.status = 200
        self.reply_headers: tuple[tuple[str, str], ...] = JSON
        self.steps: list[Step] = [b'{"ok":true}']
        self.failure: Exception | None = None
        self.usage: Usage | None = Usage(3, 5)
        self.metered: list[bytes] = []
        self.meter_breaks = False
        self.closed = threading.Event()
        self._paths = frozenset(paths)

    def forwards(self, path: str) -> bool:
        return path in self._paths

    @asynccontextmanager
    async def _open(self, raw: RawCall) -> AsyncIterator[RawReply]:
        self.calls.append(raw)
        try:
            if self.failure is not None:
                raise self.failure
            yield RawReply(self.status, self.reply_headers, self._chunks(), self._meter)
        finally:
            self.closed.set()

    def forward(self, raw: RawCall, deadline: Deadline) -> AbstractAsyncContextManager[RawReply]:
        assert deadline.at_s > 0
        return self._open(raw)

    async def _chunks(self) -> AsyncIterator[bytes]:
        for step in self.steps:
            match step:
                case bytes():
                    yield step
                case None:
                    await asyncio.Event().wait()
                case _:
                    raise step

    def _meter(self, chunk: bytes) -> Usage | None:
        self.metered.append(chunk)
        if self.meter_breaks:
            raise ZeroDivisionError
        return self.usage

    def stream(self, call: ModelCall, deadline: Deadline) -> AsyncIterator[Delta]:
        raise NotImplementedError

    async def whole(self, call: ModelCall, deadline: Deadline, into: Gathering) -> None:
        raise NotImplementedError

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        raise NotImplementedError


def anthropic() -> ScriptedUpstream:
    paths = ("/v1/messages", "/v1/messages?beta=true", "/v1/messages/count_tokens?beta=true")
    names = ("accept", "content-type", "anthropic-version", "anthropic-beta")
    return ScriptedUpstream("anthropic", paths, names)


CATALOGUE = Catalogue(
    models={
        name: Model(
            id=name.replace("-", "_"),
            name=name,
            provider="anthropic",
            max_context_tokens=1000,
            max_output_tokens=100,
            kinds=("chat",),
            upstream=name,
            proxy_provider="anthropic",
        )
        for name in ("claude-test", "claude-other")
    },
    features={},
)


@cache
def signing_key() -> SigningKey:
    return SigningKey.from_pem(new_private_key_pem())


class OneKey:
    """The key set of the one issuer that tests know."""

    async def keys(self, kid: str | None) -> Sequence[VerificationKey]:
        assert kid in {KID, None}
        return (signing_key().public(KID),)


def token(claims: Mapping[str, object]) -> str:
    """A token for the gateway at the time of a fresh HandClock."""
    now_s = int(HandClock().utc().timestamp())
    whole = {"iss": "https://gitlab.test", "aud": SERVICE, "exp": now_s + 3600} | dict(claims)
    return signing_key().sign(whole, KID)


def bearer(claims: Mapping[str, object]) -> dict[str, str]:
    """Headers of a caller whose token holds these claims."""
    return {"authorization": f"Bearer {token(claims)}", "x-gitlab-authentication-type": "oidc"}


@dataclass
class Stand:
    """What a test may set before it builds the services, and look at afterwards."""

    upstream: ScriptedUpstream | None = field(default_factory=anthropic)
    others: Mapping[str, ModelProvider] = field(default_factory=dict[str, ModelProvider])
    policy: AuthPolicy = field(default_factory=lambda: AuthPolicy(SERVICE, bypass=True))
    http: HttpSettings = field(default_factory=HttpSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    payloads: PayloadPolicy = NO_PAYLOADS
    quota: Quota | None = None
    sink: MemorySink = field(default_factory=MemorySink)
    clock: HandClock = field(default_factory=HandClock)

    def services(self) -> Services:
        providers = dict(self.others)
        if self.upstream is not None:
            providers[self.upstream.name] = self.upstream
        models = Models(providers, CATALOGUE, OutboundSettings(), self.sink, self.clock)
        readiness = Readiness({}, self.clock)
        readiness.set_serving(serving=True)
        return Services(
            authenticator=Authenticator(OneKey(), self.policy, self.sink, self.clock),
            grant=Grant(
                Signer(SERVICE, signing_key()),
                Signer("platform", signing_key()),
                self.clock,
                self.sink,
            ),
            # No test of this stand asks for a suggestion, a prompt or a chat.
            suggest=cast("Suggest", None),
            invoke=cast("Invoke", None),
            chat=cast("ReactChat", None),
            converse=cast("Converse", None),
            forward=Forward(models, self.gateway, self.sink, self.quota),
            embed=Embed(models, self.sink),
            search=SearchDocs(SqliteSearch(Path("no such index")), self.sink),
            definitions=models.definitions,
            prompt_ids=("generate_commit_message",),
            readiness=readiness,
            telemetry=self.sink,
            clock=self.clock,
            public_keys=(signing_key().public(KID),),
            http=self.http,
            payloads=self.payloads,
        )
