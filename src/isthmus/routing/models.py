"""The one door to every model: which one serves, under which limits, and what is told of it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager

from msgspec import Struct

from isthmus.core.deadline import Deadline
from isthmus.core.errors import MisconfiguredProvider, Rejected
from isthmus.core.identity import Caller
from isthmus.core.messages import (
    Answer,
    Chat,
    Delta,
    Gathering,
    Infill,
    ModelCall,
    ModelChoice,
    RawCall,
    RawReply,
)
from isthmus.core.ports import Clock, ModelProvider, Telemetry
from isthmus.routing.catalogue import Catalogue
from isthmus.routing.plan import candidates
from isthmus.routing.record import Forwarding, Labels, Record
from isthmus.settings import OutboundSettings


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


class Models:
    """Every call to a model passes here: code completions, chat, proxies and sessions alike."""

    def __init__(
        self,
        providers: Mapping[str, ModelProvider],
        catalogue: Catalogue,
        limits: OutboundSettings,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._providers = providers
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
            chosen = candidates(self._catalogue, feature, model_id, self._providers)[0]
            self._chosen[key] = chosen
        return chosen

    async def stream(
        self, ask: Ask, choice: ModelChoice, caller: Caller
    ) -> AsyncGenerator[Delta, None]:
        """The answer as it is produced; ModelCalled is told however it ends.

        Raises what ModelProvider raises. Close the generator (`aclosing`) to stop the call.
        """
        provider = self.provider(choice.provider)
        with self._record(ask, choice, caller) as record:
            deltas = provider.stream(_call(ask, choice), self._deadline(self._total_s(ask)))
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
        provider = self.provider(choice.provider)
        with self._record(ask, choice, caller) as record:
            gathering = Gathering(record.answered)
            try:
                deadline = self._deadline(self._total_s(ask))
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
            choice = ModelChoice(raw.model, provider, provider, raw.model)
            self._forwarded[provider, raw.model] = choice
        reply = self.provider(provider).forward(raw, self._deadline(self._limits.proxy_total_s))
        labels = Labels("", unit_primitive, raw.streaming, caller.realm)
        return Forwarding(reply, Record(self._telemetry, self._clock, choice, labels))

    def provider(self, name: str) -> ModelProvider:
        """A configured provider. Raises MisconfiguredProvider when it has no credential."""
        found = self._providers.get(name)
        if found is None:
            raise MisconfiguredProvider("API key not found")
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

    def _deadline(self, total_s: float) -> Deadline:
        limits = self._limits
        return Deadline(
            at_s=self._clock.now_s() + total_s,
            connect_s=limits.connect_s,
            first_byte_s=limits.first_byte_s,
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
        temperature=ask.temperature,
        stop=ask.stop,
    )
