"""OpenAI, and any server that speaks its wire (vLLM, Ollama, llama.cpp)."""

import dataclasses
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from functools import lru_cache, partial
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._spec import ProviderFactory, ProviderSpec
from isthmus.adapters.providers.dialects.infill import chat_of
from isthmus.adapters.providers.dialects.openai import OpenAIDialect
from isthmus.adapters.providers.dialects.openai_embed import OpenAIEmbedDialect
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.adapters.providers.signing.api_key import ApiKey
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Rejected, UpstreamFailed
from isthmus.core.messages import (
    Delta,
    EmbedCall,
    Embeddings,
    Gathering,
    Infill,
    ModelCall,
    OutboundRequest,
    RawCall,
    RawReply,
)
from isthmus.core.ports import Clock, Outbound
from isthmus.core.single import Single
from isthmus.settings import OpenAISettings, OutboundSettings, ProvidersSettings

MODELS_LIMIT_BYTES = 1024 * 1024
_PUBLIC = str(OpenAISettings().base_url)
_NO_INFILL = frozenset({400, 404, 405, 422, 501})
_REMEMBERED = 1000
"""Servers of callers are remembered up to here; further ones are asked with every call."""


@lru_cache(maxsize=256)
def is_vendors(base_url: str) -> bool:
    """Whether this is OpenAI's own API, that of a region included."""
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:
        return False
    return f".{host}".endswith(".api.openai.com")


class _Listed(Struct):
    id: str


class _Models(Struct):
    data: list[_Listed]


_models = msgspec.json.Decoder(_Models)


class ModelList:
    """The first model that a server lists; asked once, and again after `forget`."""

    def __init__(self, spec: ProviderSpec, outbound: Outbound) -> None:
        self._spec = spec
        self._outbound = outbound
        self._first = ""
        self._asking: Single[None, str] = Single()

    async def first(self, deadline: Deadline) -> str:
        """Its name. Raises UpstreamFailed when the server lists none.

        Who asks meanwhile shares the question, and the deadline of the one who asked first.
        """
        if not self._first:
            self._first = await self._asking.do(None, partial(self._ask, deadline))
        return self._first

    def forget(self) -> None:
        """Ask again next time: the server may have changed its models."""
        self._first = ""

    async def _ask(self, deadline: Deadline) -> str:
        request = OutboundRequest(
            "GET",
            f"{self._spec.base_url}/models",
            (
                ("accept", "application/json"),
                *self._spec.signer.headers("GET", self._spec.base_url, b"", ""),
            ),
        )
        async with self._outbound.open(request, deadline) as reply:
            body = await reply.read(MODELS_LIMIT_BYTES)
            if reply.status != 200:
                raise self._spec.dialect.failure(reply.status, reply.headers, body)
        return _first_of(body)


class OpenAIProvider:
    """Implements `ModelProvider`. A call that names no model gets the server's first one.

    `inner` is the provider's own server; `vendor` and `servers` say the same calls as OpenAI's API
    and as any other server want them, because a caller's target may be either.
    """

    def __init__(
        self, vendor: HttpProvider, servers: HttpProvider, models: ModelList, own: OpenAISettings
    ) -> None:
        self._vendor = vendor
        self._servers = servers
        self._models = models
        self._base_url = own.base_url.rstrip("/")
        self._inner = self._at(self._base_url)
        self.configured = self._inner.configured
        """Whether it serves calls without a target of their own."""
        self._no_infill = {_PUBLIC}
        if is_vendors(self._base_url):
            self._no_infill = set[str]() if own.completion_model else {_PUBLIC, self._base_url}

    @property
    def name(self) -> str:
        """The provider's name in settings and in the catalogue."""
        return self._inner.name

    @property
    def forward_headers(self) -> frozenset[str]:
        """The caller's headers, in lower case, that `forward` passes on."""
        return self._inner.forward_headers

    def forwards(self, path: str) -> bool:
        """Whether `forward` takes this path (query included)."""
        return self._inner.forwards(path)

    def forward(self, raw: RawCall, deadline: Deadline) -> AbstractAsyncContextManager[RawReply]:
        """The provider's own wire, byte for byte, never retried."""
        return self._inner.forward(raw, deadline)

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        """One vector a text."""
        return await self._inner.embed(call, deadline)

    async def stream(self, call: ModelCall, deadline: Deadline) -> AsyncGenerator[Delta, None]:
        """The model's answer as it is produced.

        An Infill that the server's completions endpoint refuses is put to its chat instead, from
        then on: many models behind this wire take no `suffix`.
        """
        call = await self._said(call, deadline)
        inner = self._at(self._base_of(call))
        started = False
        try:
            async with aclosing(inner.stream(call, deadline)) as deltas:
                async for delta in deltas:
                    started = True
                    yield delta
        except UpstreamFailed as failure:
            again = self._as_chat(call, failure, started=started)
            if again is None:
                raise
        else:
            return
        async with aclosing(inner.stream(again, deadline)) as deltas:
            async for delta in deltas:
                self._remember(call)
                yield delta

    async def whole(self, call: ModelCall, deadline: Deadline, into: Gathering) -> None:
        """As `stream`, for who reads the answer at its end."""
        if not call.model or self._base_of(call) in self._no_infill:
            call = await self._said(call, deadline)
        inner = self._at(self._base_of(call))
        try:
            await inner.whole(call, deadline, into)
        except UpstreamFailed as failure:
            again = self._as_chat(call, failure, started=not into.empty)
            if again is None:
                raise
        else:
            return
        try:
            await inner.whole(again, deadline, into)
        finally:
            if not into.empty:
                self._remember(call)

    def _base_of(self, call: ModelCall) -> str:
        return (call.target.base_url if call.target is not None else "") or self._base_url

    def _at(self, base_url: str) -> HttpProvider:
        return self._vendor if is_vendors(base_url) else self._servers

    async def _said(self, call: ModelCall, deadline: Deadline) -> ModelCall:
        """The call as this server understands it."""
        if not call.model:
            if call.target is not None:
                raise Rejected("A call to a server of one's own must name its model.")
            call = replace(call, model=await self._models.first(deadline))
        refused = self._base_of(call) in self._no_infill and not call.tuning.fim_format
        if isinstance(call.prompt, Infill) and refused:
            call = replace(call, prompt=chat_of(call.prompt))
        return call

    def _as_chat(
        self, call: ModelCall, failure: UpstreamFailed, *, started: bool
    ) -> ModelCall | None:
        """The call to make after a failure; None when there is none."""
        if call.target is None:
            self._models.forget()
        refused = failure.status in _NO_INFILL and not call.tuning.fim_format
        if started or not refused or not isinstance(call.prompt, Infill):
            return None
        return replace(call, prompt=chat_of(call.prompt))

    def _remember(self, call: ModelCall) -> None:
        if len(self._no_infill) < _REMEMBERED:
            self._no_infill.add(self._base_of(call))


def build(
    settings: ProvidersSettings, outbound: Outbound, clock: Clock, limits: OutboundSettings
) -> OpenAIProvider:
    """The provider; configured by a key, or a base URL of the operator's own."""
    own = settings.openai
    base_url = own.base_url.rstrip("/")
    vendor = ProviderSpec(
        name="openai",
        base_url=base_url,
        dialect=OpenAIDialect(own=True, completions=True),
        framing=SseParser,
        signer=ApiKey(own.api_key, "authorization", "Bearer "),
        forward_paths=frozenset(
            {"/v1/chat/completions", "/v1/embeddings", "/v1/models", "/v1/responses"}
        ),
        forward_headers=frozenset({"accept", "content-type", "user-agent"}),
        configured=bool(own.api_key.get_secret_value()) or base_url != _PUBLIC,
        forward_cut="/v1",
        drain_s=own.drain_s,
        embed=OpenAIEmbedDialect(),
    )
    servers = dataclasses.replace(vendor, dialect=OpenAIDialect(own=False, completions=True))
    both = [
        HttpProvider(spec, outbound, clock, Tries(limits.retries)) for spec in (vendor, servers)
    ]
    return OpenAIProvider(both[0], both[1], ModelList(vendor, outbound), own)


def _first_of(body: bytes) -> str:
    try:
        listed = _models.decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamFailed("The model server's list of models cannot be read.") from error
    if not listed or not listed[0].id:
        raise UpstreamFailed("The model server lists no model.")
    return listed[0].id


PROVIDER = ProviderFactory(build)
