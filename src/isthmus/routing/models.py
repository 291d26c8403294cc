"""The one door to every model: which one serves, under which limits, and what is told of it."""

import random
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from msgspec import Struct, structs

from isthmus.core.deadline import Deadline
from isthmus.core.errors import MisconfiguredProvider, NotFound, Rejected, Unavailable
from isthmus.core.identity import Caller
from isthmus.core.messages import (
    PLAIN,
    Answer,
    Chat,
    Delta,
    EmbedCall,
    Embeddings,
    Gathering,
    Infill,
    ModelCall,
    ModelChoice,
    ModelMetadata,
    RawCall,
    RawReply,
    Target,
    Tuning,
)
from isthmus.core.policies import Marks
from isthmus.core.ports import Clock, ModelProvider, Telemetry
from isthmus.routing.catalogue import Catalogue, Feature
from isthmus.routing.define import Definitions, define
from isthmus.routing.plan import candidates, equals
from isthmus.routing.record import Forwarding, Labels, Record
from isthmus.routing.resolve import brought, needs_target, pointed
from isthmus.settings import OutboundSettings

SEVERAL_DEFAULTS = "ai_gateway_multi_default_models"
"""The flag of callers that know features with several defaults."""


class Ask(Struct, frozen=True, gc=False):
    """What a use case wants of a model.

    `feature` is the feature setting that pays for it, `unit_primitive` the scope it was allowed by;
    both are labels here. `streaming` tells metrics how the caller reads; the call always streams.
    """

    feature: str
    unit_primitive: str
    prompt: Chat | Infill
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    streaming: bool = False
    tuning: Tuning = PLAIN
    """Laid over what the catalogue says for the model, field by field."""
    timeout_s: float | None = None
    """Limit to the first byte, where it is shorter than the settings'."""
    marks: Marks | None = None
    """What stands in the place of secrets, where the call is a session's."""


class EmbedAsk(Struct, frozen=True, gc=False):
    """What a use case wants of a model that makes embeddings; labels as in `Ask`."""

    feature: str
    unit_primitive: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    drop_unsupported: bool = False


class Models:
    """Every call to a model passes here: code completions, chat, proxies and sessions alike."""

    def __init__(
        self,
        providers: Mapping[str, ModelProvider],
        catalogue: Catalogue,
        limits: OutboundSettings,
        telemetry: Telemetry,
        clock: Clock,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self._roll = roll
        self._providers = providers
        self._configured = frozenset(name for name, one in providers.items() if one.configured)
        self._catalogue = catalogue
        self._limits = limits
        self._telemetry = telemetry
        self._clock = clock
        # The settings are fixed, so these are asked for once and not with every call.
        self._chosen: dict[tuple[str, str | None], ModelChoice] = {}
        self._forwarded: dict[tuple[str, str], ModelChoice] = {}

    def choose(self, feature: str, model_id: str | None = None) -> ModelChoice:
        """The model for a feature: `model_id` when given, else the first default that can serve.

        Raises NotFound for an unknown feature or model, Unavailable when no provider of the
        feature's models is configured.
        """
        key = (feature, model_id)
        chosen = self._chosen.get(key)
        if chosen is None:
            # Only answers are kept: there are no more of them than features and models.
            chosen = candidates(self._catalogue, feature, model_id, self._configured)[0]
            self._chosen[key] = chosen
        return chosen

    def resolve(
        self, wanted: ModelMetadata | None, feature: str, flags: Collection[str] = ()
    ) -> ModelChoice:
        """The model that a caller's metadata means; the feature's own when it means none.

        With the flag for several defaults, one of those that can serve is drawn. Raises what
        `choose` raises, Rejected when the caller may name no server, NotBuilt for Amazon Q.
        """
        point = pointed(wanted, self._catalogue) if wanted is not None else None
        if wanted is not None and point is None:
            kind = self._feature(feature).kind
            own = brought(wanted, self._catalogue, kind)
            if own is not None:
                if needs_target(own, self._configured):
                    raise Rejected(f"Nothing says where `{own.id}` is served: name an endpoint.")
                return own
        if point is not None and point.model_id:
            return self.choose(feature, point.model_id)
        if point is not None and point.feature:
            feature = point.feature
        if SEVERAL_DEFAULTS in flags:
            several = equals(self._catalogue, self._feature(feature), self._configured)
            if several:
                return several[int(self._roll() * len(several))]
        return self.choose(feature)

    def tagged(self, feature: str, tags: Sequence[str], default: ModelChoice) -> ModelChoice:
        """The model that the feature has for the first of these tags, else `default`."""
        for tag in tags:
            model_id = self._feature(feature).models_for_tags.get(tag)
            if model_id is not None:
                try:
                    return self.choose(feature, model_id)
                except (NotFound, Unavailable):
                    continue
        return default

    def key_of(self, endpoint: str) -> str:
        """The key that settings hold for exactly this address; empty when they hold none."""
        return self._catalogue.custom.keys.get(endpoint.rstrip("/"), "")

    def definitions(self, flags: Collection[str] = ()) -> Definitions:
        """What callers may choose, as `GET /v1/models/definitions` tells it."""
        return define(self._catalogue, self._configured, several=SEVERAL_DEFAULTS in flags)

    async def embed(self, ask: EmbedAsk, choice: ModelChoice, caller: Caller) -> Embeddings:
        """One vector a text. Raises what ModelProvider raises."""
        provider = self._door(choice)
        labels = Labels(ask.feature, ask.unit_primitive, False, caller.realm)
        call = EmbedCall(
            model=choice.upstream,
            texts=ask.texts,
            dimensions=ask.dimensions,
            drop_unsupported=ask.drop_unsupported,
            target=choice.target,
        )
        with Record(self._telemetry, self._clock, choice, labels) as record:
            found = await provider.embed(call, self._deadline(self._limits.embed_total_s))
            record.answered()
            record.usage, record.finish = found.usage, "stop"
        return found

    async def stream(
        self, ask: Ask, choice: ModelChoice, caller: Caller
    ) -> AsyncGenerator[Delta, None]:
        """The answer as it is produced; ModelCalled is told however it ends.

        Raises what ModelProvider raises. Close the generator (`aclosing`) to stop the call.
        """
        provider = self._door(choice)
        with self._record(ask, choice, caller) as record:
            deadline = self._deadline(self._total_s(ask), ask.timeout_s)
            deltas = provider.stream(_call(ask, choice), deadline)
            try:
                async for delta in deltas:
                    record.saw(delta)
                    yield delta
            finally:
                # It holds a connection, which must not wait for the garbage collector.
                if isinstance(deltas, AsyncGenerator):
                    await deltas.aclose()

    async def whole(self, ask: Ask, choice: ModelChoice, caller: Caller) -> Answer:
        """The answer of `stream`, for who reads it at its end; told and raising as there."""
        provider = self._door(choice)
        with self._record(ask, choice, caller) as record:
            gathering = Gathering(record.answered)
            try:
                deadline = self._deadline(self._total_s(ask), ask.timeout_s)
                await provider.whole(_call(ask, choice), deadline, gathering)
            finally:
                record.usage, record.finish = gathering.usage, gathering.finish or ""
        return gathering.answer()

    def forward(
        self, provider: str, raw: RawCall, caller: Caller, unit_primitive: str
    ) -> AbstractAsyncContextManager[RawReply]:
        """A provider's own wire, byte for byte. Raises Rejected("Unsupported model").

        The provider's path list and header list are `provider(name)`'s; telemetry as in `stream`,
        with the usage that the reply's meter read.
        """
        choice = self._forwarded.get((provider, raw.model))
        if choice is None:
            if raw.model not in self.proxied(provider):
                raise Rejected("Unsupported model")
            key = self._catalogue.proxy_key(provider, raw.model)
            target = Target(api_key=key) if key else None
            choice = ModelChoice(raw.model, provider, provider, raw.model, target=target)
            self._forwarded[provider, raw.model] = choice
        if choice.target is not None:
            raw = structs.replace(raw, api_key=choice.target.api_key)
        reply = self._door(choice).forward(raw, self._deadline(self._limits.proxy_total_s))
        labels = Labels("", unit_primitive, raw.streaming, caller.realm)
        return Forwarding(reply, Record(self._telemetry, self._clock, choice, labels))

    def provider(self, name: str) -> ModelProvider:
        """A configured provider. Raises MisconfiguredProvider when it has no credential."""
        found = self._providers.get(name)
        if found is None or name not in self._configured:
            raise MisconfiguredProvider("API key not found")
        return found

    def known(self, name: str) -> ModelProvider | None:
        """A provider, configured or not: what its routes take is known without a credential."""
        return self._providers.get(name)

    def _door(self, choice: ModelChoice) -> ModelProvider:
        """The provider of a choice; one that brings its own target needs no credential of ours."""
        if choice.target is None:
            return self.provider(choice.provider)
        found = self._providers.get(choice.provider)
        if found is None:
            raise MisconfiguredProvider("API key not found")
        return found

    def _feature(self, name: str) -> Feature:
        found = self._catalogue.features.get(name)
        if found is None:
            raise NotFound(f"There is no feature setting `{name}`.")
        return found

    def proxied(self, provider: str) -> frozenset[str]:
        """Upstream model names that the proxy route of this provider may name."""
        return self._catalogue.proxied(provider)

    def _total_s(self, ask: Ask) -> float:
        if isinstance(ask.prompt, Infill):
            return self._limits.completion_total_s
        feature = self._catalogue.features.get(ask.feature)
        infill = feature and feature.kind == "infill"
        return self._limits.completion_total_s if infill else self._limits.chat_total_s

    def _deadline(self, total_s: float, first_byte_s: float | None = None) -> Deadline:
        limits = self._limits
        return Deadline(
            at_s=self._clock.now_s() + total_s,
            connect_s=limits.connect_s,
            first_byte_s=min(first_byte_s or limits.first_byte_s, limits.first_byte_s),
            between_bytes_s=limits.between_bytes_s,
        )

    def _record(self, ask: Ask, choice: ModelChoice, caller: Caller) -> Record:
        labels = Labels(ask.feature, ask.unit_primitive, ask.streaming, caller.realm)
        return Record(self._telemetry, self._clock, choice, labels)


def _call(ask: Ask, choice: ModelChoice) -> ModelCall:
    limit = choice.max_output_tokens
    return ModelCall(
        model=choice.upstream,
        prompt=ask.prompt,
        max_tokens=min(ask.max_tokens or limit, limit),
        temperature=choice.temperature if ask.temperature is None else ask.temperature,
        stop=ask.stop,
        tuning=choice.tuning if ask.tuning is PLAIN else ask.tuning.over(choice.tuning),
        target=choice.target,
    )
