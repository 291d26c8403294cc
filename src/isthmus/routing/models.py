"""The one door to every model: which one is meant, and calls to it."""

from collections.abc import AsyncGenerator, Awaitable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Final

from isthmus.core.errors import (
    Forbidden,
    MisconfiguredProvider,
    NotFound,
    Rejected,
    Unavailable,
)
from isthmus.core.identity import Caller, Who
from isthmus.core.messages import (
    Answer,
    Delta,
    Embeddings,
    ModelChoice,
    ModelMetadata,
    RawCall,
    RawReply,
)
from isthmus.core.ports import Clock, ModelProvider, Telemetry
from isthmus.routing.affinity import Affinity
from isthmus.routing.ask import Ask, EmbedAsk, RawAsk
from isthmus.routing.calls import Calls, Governance, Shared
from isthmus.routing.catalogue import Catalogue, Feature
from isthmus.routing.define import Definitions, define
from isthmus.routing.plan import candidates, equals
from isthmus.routing.resolve import brought, needs_target, pointed
from isthmus.routing.seats import Seats
from isthmus.routing.turn import Teller
from isthmus.routing.walk import Guide
from isthmus.settings import OutboundSettings

DEFAULT: Final = Governance()

SEVERAL_DEFAULTS = "ai_gateway_multi_default_models"
"""The flag of callers that know features with several defaults."""


class Models:
    """Every call to a model passes here: code completions, chat, proxies and sessions alike."""

    def __init__(
        self,
        providers: Mapping[str, ModelProvider],
        catalogue: Catalogue,
        limits: OutboundSettings,
        telemetry: Telemetry,
        clock: Clock,
        governance: Governance = DEFAULT,
    ) -> None:
        self._telemetry = telemetry
        self._clock = clock
        shared = governance.shared
        self._teller = Teller(telemetry, clock) if shared is None else shared.teller
        self._affinity = Affinity() if shared is None else shared.affinity
        self._seats: Seats | None = None
        self.adopt(providers, catalogue, limits, governance)

    def adopt(
        self,
        providers: Mapping[str, ModelProvider],
        catalogue: Catalogue,
        limits: OutboundSettings,
        governance: Governance,
    ) -> None:
        """Go by another configuration from the next call on; those under way end by the old one.

        What is known of a deployment that stays as it is goes on to be known.
        """
        configured = frozenset(name for name, one in providers.items() if one.configured)
        routing = governance.routing
        beside = None if governance.shared is None else governance.shared.seats
        seats = Seats(catalogue, configured, routing, self._clock, self._seats, beside)
        self._seats = seats
        told = self._affinity, self._telemetry, self._clock
        guide = Guide(routing, *told, governance.roll, seats.sharing)
        self._providers, self._catalogue, self._configured = providers, catalogue, configured
        self._calls = Calls(providers, catalogue, limits, seats, guide, self._teller, governance)
        # A configuration is fixed, so these are asked for once and not with every call.
        self._chosen: dict[tuple[str, str | None], ModelChoice] = {}
        shared = Shared(self._teller, self._affinity, seats)
        common = replace(governance, instances={}, shared=shared)
        told = self._telemetry, self._clock
        self._instances = {
            name: Models(providers, narrowed, limits, *told, common)
            for name, narrowed in governance.instances.items()
        }

    def of(self, who: Who) -> "Models":
        """The models as the instance of this caller may use them."""
        return self._instances.get(who.listed, self) if self._instances else self

    def choose(self, feature: str, model_id: str | None = None) -> ModelChoice:
        """The model for a feature: `model_id` when given, else the first default that can serve.

        Raises NotFound for an unknown feature or model, Forbidden for one that the instance may
        not use, Unavailable when no provider of the feature's models is configured.
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
                return several[int(self._calls.governance.roll() * len(several))]
        return self.choose(feature)

    def tagged(self, feature: str, tags: Sequence[str], default: ModelChoice) -> ModelChoice:
        """The model that the feature has for the first of these tags, else `default`."""
        for tag in tags:
            model_id = self._feature(feature).models_for_tags.get(tag)
            if model_id is not None:
                try:
                    return self.choose(feature, model_id)
                except (Forbidden, NotFound, Unavailable):
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
        return await self.of(caller.who)._calls.embed(ask, choice, caller)

    def stream(self, ask: Ask, choice: ModelChoice, caller: Caller) -> AsyncGenerator[Delta, None]:
        """The answer as it is produced; every try is told of, however it ends.

        Raises what ModelProvider raises. Close the generator (`aclosing`) to stop the call.
        """
        return self.of(caller.who)._calls.stream(ask, choice, caller)

    def whole(self, ask: Ask, choice: ModelChoice, caller: Caller) -> Awaitable[Answer]:
        """The answer of `stream`, for who reads it at its end; told and raising as there."""
        return self.of(caller.who)._calls.whole(ask, choice, caller)

    def forward(
        self, provider: str, raw: RawCall, caller: Caller, unit_primitive: str
    ) -> AbstractAsyncContextManager[RawReply]:
        """A provider's own wire, byte for byte. Raises Rejected("Unsupported model").

        The provider's path list and header list are `provider(name)`'s; told of as in `stream`,
        with the usage that the reply's meter read.
        """
        calls = self.of(caller.who)._calls
        return calls.forward(RawAsk(raw, unit_primitive), provider, caller)

    def provider(self, name: str) -> ModelProvider:
        """A configured provider. Raises MisconfiguredProvider when it has no credential."""
        found = self._providers.get(name)
        if found is None or name not in self._configured:
            raise MisconfiguredProvider("API key not found")
        return found

    def known(self, name: str) -> ModelProvider | None:
        """A provider, configured or not: what its routes take is known without a credential."""
        return self._providers.get(name)

    def _feature(self, name: str) -> Feature:
        found = self._catalogue.features.get(name)
        if found is None:
            raise NotFound(f"There is no feature setting `{name}`.")
        return found

    def proxied(self, provider: str) -> frozenset[str]:
        """Upstream model names that the proxy route of this provider may name."""
        return self._catalogue.proxied(provider)
