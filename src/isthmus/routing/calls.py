"""Makes calls: walks over deployments until one answers, and lets nothing through unlooked at."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from isthmus.core.deadline import Deadline
from isthmus.core.errors import MisconfiguredProvider
from isthmus.core.events import AnswerReused
from isthmus.core.identity import Caller, Who
from isthmus.core.messages import (
    PLAIN,
    Answer,
    Chat,
    Delta,
    Destination,
    EmbedCall,
    Embeddings,
    Gathering,
    Infill,
    ModelCall,
    ModelChoice,
    RawReply,
)
from isthmus.core.policies import Guard, Guarded
from isthmus.core.ports import ModelProvider
from isthmus.core.single import Single
from isthmus.routing.affinity import Affinity
from isthmus.routing.ask import Ask, EmbedAsk, RawAsk
from isthmus.routing.catalogue import Catalogue
from isthmus.routing.exact import Exact, key_of
from isthmus.routing.forwarding import Forwarding
from isthmus.routing.hedge import raced
from isthmus.routing.quota import Quotas, Spending, estimated
from isthmus.routing.seats import Seat, Seats
from isthmus.routing.turn import Labels, Teller, Turn
from isthmus.routing.walk import Account, Guide, Walk
from isthmus.settings import OutboundSettings, RoutingSettings

HELD_DELTAS: Final = 64
"""Of a stream that has said nothing yet; then it counts as begun."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the models of one instance have in common with those of everybody."""

    teller: Teller
    affinity: Affinity
    seats: Seats


@dataclass(frozen=True, slots=True)
class Governance:
    """How calls are placed, what they may cost, and what of them may leave.

    `instances` are the catalogues of those listed instances that may not use everything; in the
    governance of one of these, `shared` is what it does not have for itself.
    """

    routing: RoutingSettings = field(default_factory=RoutingSettings)
    quotas: Quotas | None = None
    guard: Guard | None = None
    exact: Exact | None = None
    roll: Callable[[], float] = random.random
    instances: Mapping[str, Catalogue] = field(default_factory=dict[str, Catalogue])
    shared: Shared | None = None


class Times(Struct, frozen=True, gc=False):
    """What settings say of outbound calls' time.

    A value of its own, because an attribute of settings takes seven times as long as one of ours.
    """

    connect_s: float
    first_byte_s: float
    between_bytes_s: float
    completion_total_s: float
    chat_total_s: float
    proxy_total_s: float


@dataclass(frozen=True, slots=True)
class Calls:
    """Everything that calls are made with. Another configuration is another one of these."""

    providers: Mapping[str, ModelProvider]
    catalogue: Catalogue
    limits: OutboundSettings
    seats: Seats
    guide: Guide
    teller: Teller
    governance: Governance
    embedding: Single[bytes, Embeddings] = field(default_factory=Single[bytes, Embeddings])
    times: Times = field(init=False)
    hedges: bool = field(init=False)

    def __post_init__(self) -> None:
        told = [getattr(self.limits, name) for name in Times.__struct_fields__]
        object.__setattr__(self, "times", Times(*told))
        object.__setattr__(self, "hedges", self.governance.routing.hedge)

    def whole(self, ask: Ask, choice: ModelChoice, caller: Caller) -> Awaitable[Answer]:
        """The answer, from the first deployment that gives one. Raises what ModelProvider raises.

        Nothing reaches the caller before the end: when an answer breaks off, the next one is asked.
        """
        governance = self.governance
        if governance.quotas is not None:
            return self._paid_whole(governance.quotas, ask, choice, caller)
        return self._answer(self._walk(ask, choice, caller.who), _labels(ask, caller))

    async def _paid_whole(
        self, quotas: Quotas, ask: Ask, choice: ModelChoice, caller: Caller
    ) -> Answer:
        spending = await self._reserved(quotas, ask, choice, caller.who, streaming=False)
        account = Account()
        try:
            walk = self._walk(ask, choice, caller.who)
            walk.account = account
            return await self._answer(walk, _labels(ask, caller))
        finally:
            if spending is not None:
                spending.settle(account.usage, account.cost)

    def _answer(self, walk: Walk[Ask], labels: Labels) -> Awaitable[Answer]:
        exact = self.governance.exact
        if exact is not None:
            return self._exact(exact, walk, labels)
        if self.hedges and walk.ask.lane == "interactive" and walk.others:
            return raced(walk, lambda each: self._whole(each, labels))
        return self._whole(walk, labels)

    async def _exact(self, exact: Exact, walk: Walk[Ask], labels: Labels) -> Answer:
        """The answer that the same tenant's same call was given before, or else a new one."""
        call = self._said(walk, walk.ask.prompt)
        key, now_s = key_of(walk.tenant, walk.seat.choice.id, call), self.guide.clock.now_s
        kept = None if key is None else exact.get(key, now_s())
        if isinstance(kept, Answer):
            walk.abandoned()
            model = walk.seat.choice.upstream
            self.guide.telemetry.emit(AnswerReused(model, labels.feature, labels.who))
            return kept
        answer = await self._whole(walk, labels)
        if key is not None and walk.at_first:
            exact.put(key, answer, now_s())
        return answer

    async def _whole(self, walk: Walk[Ask], labels: Labels) -> Answer:
        while True:
            with Turn(self.teller, walk, labels) as turn:
                if not turn.ready():
                    await turn.wait()
                guarded, call = self._call(walk)
                door, deadline = self.door(turn.seat), self._deadline_of(walk.ask)
                gathering = Gathering(turn.answered)
                turn.start()
                try:
                    await door.whole(call, deadline, gathering)
                finally:
                    turn.usage, turn.finish = gathering.usage, gathering.finish or ""
                answer = gathering.answer()
                if guarded is not None:
                    answer = guarded.answer(answer)
                turn.served()
                return answer if walk.at_first else replace(answer, choice=turn.seat.choice)

    def stream(self, ask: Ask, choice: ModelChoice, caller: Caller) -> AsyncGenerator[Delta, None]:
        """The answer as it is produced, from the first deployment that begins one.

        Raises what ModelProvider raises. Close the generator (`aclosing`) to stop the call.
        """
        if self.governance.quotas is None:
            return self._streamed(ask, choice, caller)
        return self._paid(self.governance.quotas, ask, choice, caller)

    async def _paid(
        self, quotas: Quotas, ask: Ask, choice: ModelChoice, caller: Caller
    ) -> AsyncGenerator[Delta, None]:
        """The stream, within what may be spent; when that runs out it is cut before the delta."""
        spending = await self._reserved(quotas, ask, choice, caller.who, streaming=True)
        account = Account()
        try:
            async with aclosing(self._streamed(ask, choice, caller, account)) as deltas:
                async for delta in deltas:
                    if spending is not None and spending.spent(_size(delta)):
                        await spending.grow()
                    yield delta
        finally:
            if spending is not None:
                spending.settle(account.usage, account.cost)

    async def _streamed(
        self, ask: Ask, choice: ModelChoice, caller: Caller, account: Account | None = None
    ) -> AsyncGenerator[Delta, None]:
        walk, labels = self._walk(ask, choice, caller.who), _labels(ask, caller)
        walk.account = account
        while True:
            with Turn(self.teller, walk, labels) as turn:
                if not turn.ready():
                    await turn.wait()
                guarded, call = self._call(walk)
                deltas = self.door(turn.seat).stream(call, self._deadline_of(walk.ask))
                turn.start()
                held: list[Delta] = []
                try:
                    async for delta in deltas:
                        turn.saw(delta)
                        if turn.begun and guarded is None:
                            yield delta
                            continue
                        for each in _ready(delta, held, turn, guarded):
                            yield each
                    for each in _rest(held, guarded):
                        yield each
                finally:
                    # It holds a connection, which must not wait for the garbage collector.
                    if isinstance(deltas, AsyncGenerator):
                        await deltas.aclose()
                if not turn.begun:
                    turn.served()
                return

    async def embed(self, ask: EmbedAsk, choice: ModelChoice, caller: Caller) -> Embeddings:
        """One vector a text; the same call of the same tenant, at the same time, is made once.

        Raises what ModelProvider raises.
        """
        quotas, spending = self.governance.quotas, None
        if quotas is not None:
            spending = await self._reserved(quotas, ask, choice, caller.who, streaming=False)
        account = Account()
        labels = Labels(ask.feature, ask.unit_primitive, False, caller.who)
        try:
            tiers = self.seats.tiers(ask.feature, choice, "model")
            walk = Walk(self.guide, tiers, ask, tenant(caller.who))
            walk.account = account
            return await self._vectors(walk, choice, labels)
        finally:
            if spending is not None:
                spending.settle(account.usage, account.cost)

    async def _vectors(
        self, walk: Walk[EmbedAsk], choice: ModelChoice, labels: Labels
    ) -> Embeddings:
        key = key_of(walk.tenant, choice.id, self._embed_call(walk, walk.ask.texts))
        if key is None:
            return await self._embedded(walk, labels)
        exact, now_s = self.governance.exact, self.guide.clock.now_s
        kept = None if exact is None else exact.get(key, now_s())
        if isinstance(kept, Embeddings):
            self.guide.telemetry.emit(AnswerReused(choice.upstream, labels.feature, labels.who))
            return kept
        found = await self.embedding.do(key, lambda: self._embedded(walk, labels))
        if exact is not None:
            exact.put(key, found, now_s())
        return found

    async def _embedded(self, walk: Walk[EmbedAsk], labels: Labels) -> Embeddings:
        while True:
            with Turn(self.teller, walk, labels) as turn:
                if not turn.ready():
                    await turn.wait()
                call = self._embed_call(walk, self._looked_at(walk))
                door = self.door(turn.seat)
                turn.start()
                found = await door.embed(call, self.deadline(self.limits.embed_total_s))
                turn.answered()
                turn.usage, turn.finish = found.usage, "stop"
                turn.served()
                return found

    def forward(
        self, ask: RawAsk, provider: str, caller: Caller
    ) -> AbstractAsyncContextManager[RawReply]:
        """A provider's own wire, byte for byte, from the first of its places that answers.

        Raises Rejected("Unsupported model").
        """
        raw = ask.raw
        walk = Walk(self.guide, self.seats.proxied(provider, raw.model), ask, tenant(caller.who))
        labels = Labels("", ask.unit_primitive, raw.streaming, caller.who)
        quotas = self.governance.quotas
        if quotas is None:
            return Forwarding(self, walk, labels)
        walk.account = Account()
        return Forwarding(self, walk, labels, partial(self._forwarded, quotas, walk, caller.who))

    def _forwarded(
        self, quotas: Quotas, walk: Walk[RawAsk], who: Who
    ) -> Awaitable[Spending | None]:
        raw, deployment = walk.ask.raw, walk.seat.deployment
        size, prices = len(raw.body), deployment.prices
        estimate = estimated(size, None, streaming=raw.streaming, prices=prices)
        provider = deployment.choice.provider
        return quotas.reserve(who, "", deployment.choice.id, provider, estimate)

    def _reserved(
        self, quotas: Quotas, ask: Ask | EmbedAsk, choice: ModelChoice, who: Who, *, streaming: bool
    ) -> Awaitable[Spending | None]:
        """What a call may spend. Raises LimitExceeded."""
        model = None if choice.brought else self.catalogue.models.get(choice.id)
        prices = None if model is None else model.prices
        most = 0 if isinstance(ask, EmbedAsk) else ask.max_tokens or choice.max_output_tokens
        estimate = estimated(ask.size(), most, streaming=streaming, prices=prices)
        return quotas.reserve(who, ask.feature, choice.id, choice.provider, estimate)

    @property
    def guard(self) -> Guard | None:
        """What says what may leave."""
        return self.governance.guard

    def proxy_deadline(self) -> Deadline:
        """The limits of a forwarded call that begins now."""
        return self.deadline(self.times.proxy_total_s)

    def door(self, seat: Seat) -> ModelProvider:
        """The provider of a seat. Raises MisconfiguredProvider when it has no credential."""
        found = self.providers.get(seat.deployment.door)
        if found is None or not (found.configured or seat.choice.target is not None):
            raise MisconfiguredProvider("API key not found")
        return found

    def deadline(self, total_s: float, first_byte_s: float | None = None) -> Deadline:
        """The limits of one call that begins now."""
        times, limit_s = self.times, self.times.first_byte_s
        return Deadline(
            self.guide.clock.now_s() + total_s,
            times.connect_s,
            limit_s if first_byte_s is None else min(first_byte_s or limit_s, limit_s),
            times.between_bytes_s,
        )

    def _walk(self, ask: Ask, choice: ModelChoice, who: Who) -> Walk[Ask]:
        reach = "model" if ask.again is None else "floor" if ask.floor_only else "any"
        tiers = self.seats.tiers(ask.feature, choice, reach)
        return Walk(self.guide, tiers, ask, tenant(who))

    def _call(self, walk: Walk[Ask]) -> tuple[Guarded | None, ModelCall]:
        """The call as it may leave, and who reads its answer."""
        ask, seat, guard = walk.ask, walk.seat, self.governance.guard
        if guard is None:
            return None, self._said(walk, ask.prompt)
        place = Destination(ask.feature, seat.choice.provider, seat.name)
        guarded = guard.call(ask.prompt, place, ask.marks)
        return guarded, self._said(walk, ask.prompt if guarded is None else guarded.prompt)

    def _said(self, walk: Walk[Ask], prompt: Chat | Infill) -> ModelCall:
        ask, choice = walk.ask, walk.seat.choice
        limit = choice.max_output_tokens
        # By position: by name it takes several times as long.
        return ModelCall(
            choice.upstream,
            prompt,
            min(ask.max_tokens or limit, limit),
            choice.temperature if ask.temperature is None else ask.temperature,
            ask.stop,
            choice.tuning if ask.tuning is PLAIN else ask.tuning.over(choice.tuning),
            choice.target,
            not walk.others,
        )

    def _looked_at(self, walk: Walk[EmbedAsk]) -> tuple[str, ...]:
        """The texts that may leave. Raises Withheld."""
        ask, seat, guard = walk.ask, walk.seat, self.governance.guard
        if guard is None:
            return ask.texts
        return guard.texts(ask.texts, Destination(ask.feature, seat.choice.provider, seat.name))

    def _embed_call(self, walk: Walk[EmbedAsk], texts: tuple[str, ...]) -> EmbedCall:
        ask, choice = walk.ask, walk.seat.choice
        return EmbedCall(
            model=choice.upstream,
            texts=texts,
            dimensions=ask.dimensions,
            drop_unsupported=ask.drop_unsupported,
            target=choice.target,
            alone=not walk.others,
        )

    def _deadline_of(self, ask: Ask) -> Deadline:
        fills = isinstance(ask.prompt, Infill)
        if not fills:
            feature = self.catalogue.features.get(ask.feature)
            fills = feature is not None and feature.kind == "infill"
        total_s = self.times.completion_total_s if fills else self.times.chat_total_s
        return self.deadline(total_s, ask.timeout_s)


def tenant(who: Who) -> str:
    """Whose calls share caches and a fair part of a queue."""
    if who.listed and who.namespace:
        # Each instance numbers its namespaces from 1.
        return f"{who.listed}/{who.namespace}"
    return who.namespace or who.instance or who.user


def _labels(ask: Ask, caller: Caller) -> Labels:
    return Labels(ask.feature, ask.unit_primitive, ask.streaming, caller.who)


def _size(delta: Delta) -> int:
    """Characters that a delta adds to an answer."""
    return len(delta.text) + (len(delta.tool_use.arguments) if delta.tool_use is not None else 0)


def _says(delta: Delta) -> bool:
    """Whether a delta is of an answer's content, or its end."""
    return bool(delta.text) or delta.tool_use is not None or delta.finish is not None


def _ready(
    delta: Delta, held: list[Delta], turn: Turn[Ask], guarded: Guarded | None
) -> Sequence[Delta]:
    """What may go on when this delta has come: nothing before there is content."""
    if not turn.begun:
        held.append(delta)
        if not _says(delta) and len(held) < HELD_DELTAS:
            return ()
        turn.served()
        ready = (turn.signed(held[0]), *held[1:])
        held.clear()
    else:
        ready = (delta,)
    return ready if guarded is None else [each for one in ready for each in guarded.feed(one)]


def _rest(held: list[Delta], guarded: Guarded | None) -> Sequence[Delta]:
    """What is left at the end of an answer."""
    if guarded is None:
        return held
    return [*(each for one in held for each in guarded.feed(one)), *guarded.finish()]
