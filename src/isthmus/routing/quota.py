"""Which limits a call must keep, and what it may spend of them while its answer comes."""

from typing import Final, NamedTuple

from msgspec import Struct

from isthmus.core.errors import LimitExceeded
from isthmus.core.events import LimitMet
from isthmus.core.identity import Who
from isthmus.core.limits import Claim, LimitKey, Standing
from isthmus.core.messages import Usage
from isthmus.core.notes import NOTES
from isthmus.core.policies import Reservation, Reserver
from isthmus.core.ports import Telemetry
from isthmus.routing import price
from isthmus.routing.catalogue import Prices
from isthmus.settings_limits import LimitRule, LimitsSettings

CHARS_A_TOKEN: Final = 4
"""Of text in English or code; what it really was is counted when the provider has told."""
STEP_TOKENS: Final = 256
"""What is reserved of a streamed answer at first; it doubles as the answer grows."""
STEP_MOST_TOKENS: Final = 4_096
_PLANS_KEPT: Final = 10_000
_SEPARATOR: Final = "\x1f"
_WHO: Final = frozenset(("instance", "namespace", "user", "token"))


class Estimate(Struct, frozen=True, gc=False):
    """What a call may use, before it is known. Without `prices` it costs nothing."""

    input_tokens: int
    output_tokens: int
    prices: Prices | None = None

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.input_tokens + self.output_tokens

    @property
    def cost(self) -> int:
        """Millionths of a dollar."""
        prices = self.prices
        return price.estimate(prices, self.input_tokens, self.output_tokens) if prices else 0


def estimated(
    chars: int, max_tokens: int | None, *, streaming: bool, prices: Prices | None = None
) -> Estimate:
    """The estimate for a prompt of `chars` characters (of a forwarded body: bytes).

    Of the answer, a stream reserves its first step, as it grows by steps; an answer that comes
    whole reserves what the caller allows it, else the largest step.
    """
    most = STEP_TOKENS if streaming else STEP_MOST_TOKENS
    if max_tokens is not None:
        most = min(most, max_tokens) if streaming else max_tokens
    return Estimate(-(-chars // CHARS_A_TOKEN), most, prices)


class _Plan(NamedTuple):
    """Counters of one caller for one model; `fixed` claims are the same with every call."""

    keys: tuple[LimitKey, ...]
    """Those that may refuse it."""
    fixed: tuple[Claim, ...]
    tokens: tuple[tuple[LimitKey, bool], ...]
    cost: tuple[tuple[LimitKey, bool], ...]
    shadows: bool
    """Whether there are any that may not."""


class Quotas:
    """Turns the rules of the settings into claims, one set a call."""

    def __init__(self, settings: LimitsSettings, reserver: Reserver, telemetry: Telemetry) -> None:
        self._rules = settings.rules
        self._first = settings.match == "first"
        self._reserver = reserver
        self._telemetry = telemetry
        self._plans: dict[tuple[str, str, str, Who], _Plan | None] = {}

    async def reserve(
        self, who: Who, feature: str, model: str, provider: str, estimate: Estimate
    ) -> "Spending | None":
        """What the call may spend; None when no rule looks at it. Raises LimitExceeded.

        The counters are noted for the headers of the reply.
        """
        call = (feature, model, provider, who)
        try:
            plan = self._plans[call]
        except KeyError:
            plan = self._planned(call)
        if plan is None:
            return None
        claims = [*plan.fixed]
        for key, shadow in plan.tokens:
            claims.append(Claim(key, estimate.tokens, shadow))
        for key, shadow in plan.cost:
            claims.append(Claim(key, estimate.cost, shadow))
        try:
            reservation = await self._reserver.reserve(claims)
        except LimitExceeded as refusal:
            self.met(refusal, who, feature)
            raise
        if plan.keys:
            notes = NOTES.get()
            if notes is not None:
                tightest = reservation.tightest
                notes.limits = None if tightest is None else Standing(tightest, plan.keys)
        if plan.shadows:
            for state in reservation.shadowed:
                told = LimitMet(state.rule, state.counted, "shadow", who, feature)
                self._telemetry.emit(told)
        watched = bool(plan.tokens or plan.cost)
        return Spending(self, reservation, estimate, who, feature, watched=watched)

    def met(self, refusal: LimitExceeded, who: Who, feature: str) -> None:
        """Tell of a refusal, and note for the reply which limit it was."""
        state = refusal.state
        counted = "" if state is None else state.counted
        self._telemetry.emit(LimitMet(refusal.rule, counted, "enforce", who, feature))
        notes = NOTES.get()
        if notes is not None and state is not None:
            key = LimitKey(state.rule, "", state.amount, state.window_s, state.counted)
            notes.limits = Standing(state, (key,))

    def _planned(self, call: tuple[str, str, str, Who]) -> _Plan | None:
        if len(self._plans) >= _PLANS_KEPT:
            self._plans.clear()
        *names, who = call
        facts = dict(zip(("feature", "model", "provider"), names, strict=True))
        facts |= {name: getattr(who, name) for name in _WHO}
        keys: list[tuple[LimitKey, bool]] = []
        counted: set[str] = set()
        for rule in self._rules:
            if _fits(rule, facts) and not (self._first and rule.counts in counted):
                counted.add(rule.counts)
                subject = _SEPARATOR.join(facts[name] for name in rule.by)
                key = LimitKey(rule.name, subject, rule.units, rule.window_s, rule.counts)
                keys.append((key, rule.mode == "shadow"))
        fixed = [Claim(key, 1, shadow) for key, shadow in keys if _once(key)]
        plan = _Plan(
            tuple(key for key, shadow in keys if not shadow),
            tuple(fixed),
            tuple(each for each in keys if each[0].counted == "tokens"),
            tuple(each for each in keys if each[0].counted == "cost"),
            any(shadow for _, shadow in keys),
        )
        self._plans[call] = found = plan if keys else None
        return found


class Spending:
    """What one call spends while it runs, and in the end.

    Where an answer streams: `if spending.spent(len(text)): await spending.grow()`, before the text
    goes on. However the call ends: `settle`.
    """

    __slots__ = (
        *("_estimate", "_feature", "_quotas", "_reservation", "_room", "_step", "_told"),
        *("_who", "_watched"),
    )

    def __init__(
        self,
        quotas: Quotas,
        reservation: Reservation,
        estimate: Estimate,
        who: Who,
        feature: str,
        *,
        watched: bool,
    ) -> None:
        """`watched`: something that the answer uses is counted."""
        self._quotas = quotas
        self._reservation = reservation
        self._estimate = estimate
        self._who = who
        self._feature = feature
        self._told = 0
        self._watched = watched
        self._room = estimate.output_tokens * CHARS_A_TOKEN
        self._step = max(STEP_TOKENS, estimate.output_tokens)

    def spent(self, chars: int) -> bool:
        """Characters of the answer have come; whether `grow` must be awaited before they go on."""
        self._told += chars
        return self._told > self._room and self._watched

    async def grow(self) -> None:
        """Reserve what the answer needs beyond what it has. Raises LimitExceeded: cut it."""
        missing = -(-(self._told - self._room) // CHARS_A_TOKEN)
        step = max(self._step, missing)
        try:
            await self._more(step)
        except LimitExceeded:
            # Less than a step may be left, which is still the caller's.
            try:
                await self._more(missing)
            except LimitExceeded as refusal:
                self._quotas.met(refusal, self._who, self._feature)
                raise
        else:
            self._step = min(2 * self._step, STEP_MOST_TOKENS)

    def settle(self, usage: Usage | None, cost: int | None = None) -> None:
        """The end: tokens as the provider told, cost in millionths of a dollar.

        Where nothing was told, what has come is estimated; a call without an answer used nothing.
        Never waits, never raises; a second call does nothing.
        """
        if not self._watched:
            self._reservation.settle({})
            return
        prices = self._estimate.prices
        if usage is None:
            usage = Usage()
            if self._told:
                usage = Usage(self._estimate.input_tokens, -(-self._told // CHARS_A_TOKEN))
        if cost is None:
            cost = price.cost(prices, usage) if prices else 0
        tokens = usage.input_tokens + usage.output_tokens
        self._reservation.settle({"tokens": tokens, "cost": cost})

    async def _more(self, tokens: int) -> None:
        prices = self._estimate.prices
        cost = price.estimate(prices, 0, tokens) if prices else 0
        await self._reservation.grow({"tokens": tokens, "cost": cost})
        self._room += tokens * CHARS_A_TOKEN


def _fits(rule: LimitRule, facts: dict[str, str]) -> bool:
    return all(facts[name] in values for name, values in rule.where.items())


def _once(key: LimitKey) -> bool:
    return key.counted in {"requests", "concurrency"}
