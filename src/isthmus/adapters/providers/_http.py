"""Sends a provider's calls over the shared client: signs, retries before an answer, decodes."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import lru_cache, partial
from types import TracebackType
from typing import NamedTuple

from msgspec.structs import replace

from isthmus.adapters.providers._body import Whole, drained, linger, start_of, stopped
from isthmus.adapters.providers._retry import pause_s
from isthmus.adapters.providers._spec import (
    Decoder,
    Encoded,
    Framing,
    Headers,
    Meter,
    ProviderSpec,
    Signer,
)
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Failure, MisconfiguredProvider, Rejected, UpstreamFailed
from isthmus.core.messages import (
    Delta,
    EmbedCall,
    Embeddings,
    Gathering,
    ModelCall,
    OutboundRequest,
    RawCall,
    RawReply,
    Target,
    at_once,
)
from isthmus.core.ports import Clock, Outbound, OutboundReply

EMBED_LIMIT_BYTES = 64 * 1024 * 1024
PATHS_KEPT = 256

_IDENTITY = ("accept-encoding", "identity")
_JSON = (("content-type", "application/json"), _IDENTITY)
_REPLY = frozenset(
    {"content-type", "content-encoding", "anthropic-beta", "retry-after", "request-id"}
)
_REPLY_PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-")


@dataclass(frozen=True, slots=True)
class Tries:
    """How often a call is tried again; time and chance are arguments so that tests hold them."""

    retries: int
    roll: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class HttpProvider:
    """Implements `ModelProvider` for any provider that a `ProviderSpec` describes."""

    def __init__(self, spec: ProviderSpec, outbound: Outbound, clock: Clock, tries: Tries) -> None:
        self._spec = spec
        self._outbound = outbound
        self._clock = clock
        self._tries = tries
        self._credential = _Credential(spec.signer)
        self.configured = spec.configured
        """Whether it serves calls without a target of their own."""
        self._known: dict[tuple[str, str], tuple[str, tuple[tuple[str, str], ...]]] = {}
        self._forwards = {
            path: spec.base_url + path.removeprefix(spec.forward_cut) for path in spec.forward_paths
        }

    @property
    def name(self) -> str:
        """The provider's name in settings and in the catalogue."""
        return self._spec.name

    @property
    def forward_headers(self) -> frozenset[str]:
        """The caller's headers, in lower case, that `forward` passes on."""
        return self._spec.forward_headers

    def forwards(self, path: str) -> bool:
        """Whether `forward` takes this path (query included)."""
        return path in self._forwards or self._rewritten(path) is not None

    async def stream(self, call: ModelCall, deadline: Deadline) -> AsyncGenerator[Delta, None]:
        """The model's answer. Raises UpstreamFailed when it ends without the end marker."""
        wire, request = self._asked(call)
        framing = self._spec.framing()
        exchange, reply = await self._opened(request, deadline, call)
        decoder, told = wire.decoder, None
        try:
            async for chunk in reply.chunks():
                for delta in _deltas(framing, decoder, chunk):
                    yield delta
                if decoder.ended:
                    if not reply.complete:
                        await linger(reply)
                    return
                if decoder.usage is not told:
                    told = decoder.usage
                    yield Delta(usage=told)
        except Failure:
            if decoder.usage is not told:
                yield Delta(usage=decoder.usage)
            raise
        except (GeneratorExit, asyncio.CancelledError):
            if self._spec.drain_s:
                await drained(reply, self._spec.drain_s, partial(_read, framing, decoder))
            raise
        finally:
            await exchange.__aexit__(None, None, None)
        raise stopped(reply.headers)

    async def whole(self, call: ModelCall, deadline: Deadline, into: Gathering) -> None:
        """As `stream`, without a turn of the caller's for every delta."""
        wire, request = self._asked(call)
        framing, decoder = self._spec.framing(), wire.decoder
        exchange, reply = await self._opened(request, deadline, call)
        try:
            async for chunk in reply.chunks():
                for event in framing.feed(chunk):
                    deltas = decoder.feed(event)
                    if deltas:
                        into.add(deltas)
                    if decoder.ended:
                        if not reply.complete:
                            await linger(reply)
                        return
        except asyncio.CancelledError:
            if self._spec.drain_s:
                await drained(reply, self._spec.drain_s, partial(_read, framing, decoder))
            raise
        finally:
            if into.usage is None:
                into.usage = decoder.usage
            await exchange.__aexit__(None, None, None)
        raise stopped(reply.headers)

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        """One vector a text. Raises Rejected when the provider has no embeddings."""
        dialect = self._spec.embed
        if dialect is None:
            raise Rejected(f"The provider {self.name} makes no embeddings.")
        path, body = dialect.encode(call)
        request = self._request(path, body, ("accept", "application/json"), call.target)
        exchange, reply = await self._opened(request, deadline, call)
        try:
            return dialect.decode(await reply.read(EMBED_LIMIT_BYTES), len(call.texts))
        finally:
            await exchange.__aexit__(None, None, None)

    def forward(self, raw: RawCall, deadline: Deadline) -> AbstractAsyncContextManager[RawReply]:
        """The provider's own wire, byte for byte, never retried."""
        url = self._forwards.get(raw.path) or self._rewritten(raw.path)
        if url is None:
            raise Rejected("The provider does not take this path.")
        if raw.base_url:
            url = raw.base_url + url.removeprefix(self._spec.base_url)
        allowed = self._spec.forward_headers
        passed = [pair for pair in raw.headers if pair[0] in allowed]
        request = OutboundRequest("POST", url, (*passed, _IDENTITY), raw.body)
        exchange = _Exchange(self._outbound, self._credential, request, deadline, raw.api_key)
        return _Forward(self._spec, exchange)

    def _rewritten(self, path: str) -> str | None:
        find = self._spec.forward_url
        return None if find is None else find(path)

    def _asked(self, call: ModelCall) -> tuple[Encoded, OutboundRequest]:
        try:
            wire = self._spec.dialect.encode(call)
        except UnicodeEncodeError as error:
            raise Rejected("The prompt holds characters that are not Unicode text.") from error
        request = self._request(wire.path, wire.body, wire.accept, call.target)
        if given := call.tuning.headers:
            names = {name for name, _ in given}
            usual = (pair for pair in request.headers if pair[0] not in names)
            request = replace(request, headers=(*usual, *given))
        return wire, request

    def _request(
        self, path: str, body: bytes, accept: tuple[str, str], target: Target | None
    ) -> OutboundRequest:
        root = self._spec.base_url
        if target is not None and target.base_url:
            root = target.base_url
        elif target is None and not self._spec.configured:
            raise MisconfiguredProvider("API key not found")
        # A dialect has few paths, and all its calls to one are the same but for the body.
        known = self._known.get((root, path))
        if known is None:
            if len(self._known) >= PATHS_KEPT:
                self._known.clear()
            headers = (*_JSON, accept, *self._spec.headers)
            known = self._known[root, path] = (root + path, headers)
        return OutboundRequest("POST", known[0], known[1], body)

    async def _opened(
        self, request: OutboundRequest, deadline: Deadline, call: ModelCall | EmbedCall
    ) -> tuple[AbstractAsyncContextManager[OutboundReply], OutboundReply]:
        """An exchange to be left, and its reply, which is not an error.

        Tries again only as long as there was none and nobody else can serve it. Every try is signed
        anew: signatures age.
        """
        attempt, target = 0, call.target
        credential, key = self._credential, "" if target is None else target.api_key
        # Our own credential is for our own server alone.
        foreign = target is not None and target.base_url not in {"", self._spec.base_url}
        bare = foreign and not key
        while True:
            attempt += 1
            if credential.stale and not (key or bare):
                await credential.renew(deadline)
            signed = request if bare else credential.on(request, key)
            exchange = self._outbound.open(signed, deadline)
            try:
                reply = await exchange.__aenter__()
                if reply.status != 200:
                    raise await self._refusal(exchange, reply)
            except UpstreamFailed as failure:
                if not call.alone:
                    raise
                await self._pause(failure, attempt, deadline)
            else:
                return exchange, reply

    async def _refusal(
        self, exchange: AbstractAsyncContextManager[OutboundReply], reply: OutboundReply
    ) -> UpstreamFailed:
        try:
            body = await start_of(reply)
        finally:
            await exchange.__aexit__(None, None, None)
        return self._spec.dialect.failure(reply.status, reply.headers, body)

    async def _pause(self, failure: UpstreamFailed, attempt: int, deadline: Deadline) -> None:
        if attempt > self._tries.retries:
            raise failure
        left_s = deadline.left_s(self._clock.now_s())
        wait_s = pause_s(failure, attempt, roll=self._tries.roll(), left_s=left_s)
        if wait_s is None:
            raise failure
        await self._tries.sleep(wait_s)


class _Credential:
    """Puts a provider's credential, or the caller's key, on requests."""

    __slots__ = ("_last", "_signer")

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._last: tuple[Headers, Headers, tuple[tuple[str, str], ...]] = ((), (), ())

    @property
    def stale(self) -> bool:
        return self._signer.stale

    async def renew(self, deadline: Deadline) -> None:
        await self._signer.renew(deadline)

    def on(self, request: OutboundRequest, api_key: str) -> OutboundRequest:
        signature = self._signer.headers(request.method, request.url, request.body, api_key)
        # Most signatures, and the headers before them, are those of the call before.
        before, last, headers = self._last
        if before is not request.headers or last is not signature:
            headers = (*request.headers, *signature)
            self._last = (request.headers, signature, headers)
        return OutboundRequest(request.method, request.url, headers, request.body)


class _Exchange(NamedTuple):
    """What a forwarded call will send, and with what."""

    outbound: Outbound
    credential: _Credential
    request: OutboundRequest
    deadline: Deadline
    api_key: str


class _Forward:
    """A forwarded exchange: entering waits for status and headers."""

    __slots__ = ("_asked", "_exchange", "_meter", "_reply", "_spec")

    _exchange: AbstractAsyncContextManager[OutboundReply]
    _reply: OutboundReply
    _meter: Meter

    def __init__(self, spec: ProviderSpec, asked: _Exchange) -> None:
        self._spec = spec
        self._asked = asked

    async def __aenter__(self) -> RawReply:
        outbound, credential, request, deadline, api_key = self._asked
        if credential.stale and not api_key:
            await credential.renew(deadline)
        self._exchange = outbound.open(credential.on(request, api_key), deadline)
        reply = await self._exchange.__aenter__()
        headers: list[tuple[str, str]] = []
        content_type = ""
        for raw, value in reply.raw_headers:
            name = _passed_back(raw)
            if name:
                text = value.decode("latin-1").strip()
                headers.append((name, text))
                if name == "content-type" and not content_type:
                    content_type = text
        dialect = self._spec.dialect
        self._reply = reply
        meter = self._meter = dialect.meter(content_type)
        chunks, told = reply.chunks(), tuple(headers)
        # What is compressed against our wish is passed on unread.
        plain = reply.status == 200 and not any(name == "content-encoding" for name, _ in told)
        seen, ending = dialect.watch(content_type) if plain else (at_once, None)
        if ending is None:
            return RawReply(reply.status, told, chunks, meter, reply.whole, seen)
        return RawReply(reply.status, told, Whole(chunks, ending), meter, seen=seen)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._spec.drain_s and not (self._reply.complete or isinstance(error, Failure)):
                await drained(self._reply, self._spec.drain_s, self._metered)
        finally:
            await self._exchange.__aexit__(kind, error, trace)

    def _metered(self, chunk: bytes) -> bool:
        self._meter(chunk)
        return False


@lru_cache(maxsize=256)
def _passed_back(name: bytes) -> str:
    """A reply header's name in lower case when it may go back to the caller, else ""."""
    lower = name.decode("latin-1").lower()
    return lower if lower in _REPLY or lower.startswith(_REPLY_PREFIXES) else ""


def _deltas(framing: Framing, decoder: Decoder, chunk: bytes) -> Iterator[Delta]:
    """What a chunk says, up to the end marker."""
    for event in framing.feed(chunk):
        yield from decoder.feed(event)
        if decoder.ended:
            return


def _read(framing: Framing, decoder: Decoder, chunk: bytes) -> bool:
    """Whether the answer has come to its end with this chunk, for its usage alone."""
    for _ in _deltas(framing, decoder, chunk):
        pass
    return decoder.ended
