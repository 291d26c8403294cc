"""One call's way over the deployments that may serve it: who is asked first, and who next."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

from isthmus.core.errors import Failure, Unavailable, UpstreamFailed
from isthmus.core.events import BreakerMoved, Noted, TryFailed
from isthmus.core.messages import Usage
from isthmus.core.ports import Clock, Telemetry
from isthmus.routing.affinity import Affinity, leave, preferred
from isthmus.routing.ask import Ask, EmbedAsk, RawAsk
from isthmus.routing.balance import pick, scores
from isthmus.routing.blame import Blame, blame, refuses_key
from isthmus.routing.breaker import Fault, State
from isthmus.routing.failures import class_of
from isthmus.routing.seats import Seat, Tiers
from isthmus.settings import RoutingSettings

Words = TypeVar("Words", Ask, EmbedAsk, RawAsk)
PATIENCE_S = 5.0
"""No call waits longer than this for a deployment that has its prompt in a cache."""
MUCH_WORSE = 2.0
"""A first choice is not kept to when its score is so many times the best one's."""
_CHARS_A_TOKEN = 4
_FAULT: dict[Blame, Fault] = {
    Blame.ELSEWHERE: "failed",
    Blame.LIMITED: "limited",
    Blame.KEY: "key",
}


@dataclass(frozen=True, slots=True)
class Guide:
    """What walks go by."""

    settings: RoutingSettings
    affinity: Affinity
    telemetry: Telemetry
    clock: Clock
    roll: Callable[[], float]
    sharing: Callable[[Seat], Iterable[Seat]] = lambda _: ()
    """The other seats that have a seat's credential."""
    tries: int = field(init=False)
    keeps: bool = field(init=False)
    """Whether calls go where their prompt's beginning is in a cache."""

    def __post_init__(self) -> None:
        # An attribute of settings takes seven times as long as one of our own.
        object.__setattr__(self, "tries", self.settings.tries)
        object.__setattr__(self, "keeps", self.settings.affinity)

    def moved(self, seat: Seat, state: State | None, reason: str) -> None:
        """Tell of a breaker that moved."""
        if state is None:
            return
        self.telemetry.emit(BreakerMoved(seat.name, state, reason))
        if state == "dead":
            details = (("deployment", seat.name), ("reason", reason))
            self.telemetry.emit(Noted("critical", "A key of a model provider is refused.", details))


class Account:
    """What all tries of a call have used so far. `cost` is None while no price was known."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.cost: int | None = None

    def add(self, usage: Usage, cost: int | None) -> None:
        """One more try."""
        known = self.usage
        self.usage = usage if known is None else _sum(known, usage)
        if cost is not None:
            self.cost = (self.cost or 0) + cost


def _sum(one: Usage, other: Usage) -> Usage:
    names = one.__struct_fields__
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in names})


class Walk(Generic[Words]):
    """Made for one call. `seat` is asked now, in the words of `ask`.

    Of each try, `served`, `failed` or `abandoned` must be told. `warmth` is as in ModelCalled.
    """

    ask: Words
    seat: Seat
    # Of the class until they change: most walks end at their first seat.
    _tier = tries = 0
    _passed: tuple[str, ...] = ()
    _key: int | None = None
    account: Account | None = None
    """Told what is used, where somebody wants to know."""
    failure: Failure | None = None
    warmth = ""
    pause_s = 0.0
    """Time to wait before asking: a warm deployment is not left for a short one."""

    def __init__(
        self, guide: Guide, tiers: Tiers, ask: Words, tenant: str, passed: tuple[str, ...] = ()
    ) -> None:
        """Those that are `passed` are not asked. Raises Unavailable when nobody can be."""
        self._guide = guide
        self._tiers = tiers
        self._words = self.ask = ask
        self.tenant = tenant
        first = tiers[0]
        self._first = first[0].choice.id if first else ""
        if passed:
            self._passed = passed
        elif len(first) == 1 and not first[0].breaker.shut:
            self.seat = first[0]
            self.tries = 1
            return
        elif len(first) > 1 and self._at_once(first):
            return
        if not self._step():
            raise self._nobody()

    def beside(self) -> "Walk[Words]":
        """The same call's way over those that this one has not asked. Raises Unavailable."""
        passed = (*self._passed, self.seat.name)
        other = Walk(self._guide, self._tiers[:1], self._words, self.tenant, passed)
        other.account = self.account
        return other

    @property
    def at_first(self) -> bool:
        """Whether the model is asked that was meant."""
        return self.seat.choice.id == self._first

    @property
    def others(self) -> bool:
        """Whether anybody but the floor could be asked after this one."""
        if len(self._tiers) == 1 and len(self._tiers[0]) == 1:
            return False
        if self.tries == 1 < self._guide.tries:
            # As a rule one look is enough.
            for seat in self._tiers[self._tier]:
                if seat is not self.seat and not seat.breaker.shut:
                    return True
        now_s, passed = self._guide.clock.now_s(), (*self._passed, self.seat.name)
        return self.tries < self._guide.tries and any(
            seat.name not in passed and not seat.deployment.floor and seat.breaker.allows(now_s)
            for tier in self._tiers[self._tier :]
            for seat in tier
        )

    def served(self, first_byte_s: float) -> None:
        """It answered."""
        guide, seat, session = self._guide, self.seat, self._words.session
        alone = len(self._tiers[self._tier]) == 1
        if alone and not seat.breaker.shut and self._key is None and session is None:
            # As most are: there is nothing to compare it with, and nothing to remember.
            seat.breaker.succeeded(0.0)
            return
        now_s = guide.clock.now_s()
        state = seat.breaker.succeeded(now_s)
        if state is not None:
            guide.moved(seat, state, "it answered")
        if not alone:
            seat.health.answered(first_byte_s, now_s)
        life_s = seat.deployment.cache_life_s
        if self._key is not None and life_s:
            tokens = self._words.size() // _CHARS_A_TOKEN
            guide.affinity.keep(self._key, seat.name, now_s, life_s, tokens)
        if session is not None and session.deployment != seat.name:
            session.moved(seat.name)

    def broke(self, failure: Failure) -> None:
        """It failed after it had begun to answer: nobody else can go on."""
        why = blame(failure)
        if why in _FAULT:
            guide, seat = self._guide, self.seat
            state = seat.breaker.failed(guide.clock.now_s(), _FAULT[why])
            guide.moved(seat, state, class_of(failure))

    def claim(self, seat: Seat, now_s: float) -> bool:
        """Whether a seat may be asked now; a breaker that is tried again is told of."""
        breaker = seat.breaker
        if not breaker.claim(now_s):
            return False
        if breaker.probing:
            self._guide.moved(seat, "half open", "it is tried again")
        return True

    def abandoned(self) -> None:
        """It was given up before it told anything."""
        self.seat.breaker.abandoned()

    def failed(self, failure: Failure) -> None:
        """It did not answer: the next one's turn. Raises the first failure when there is none.

        A failure that everybody would have is raised at once.
        """
        guide, seat, why = self._guide, self.seat, blame(failure)
        now_s = guide.clock.now_s()
        if why in _FAULT:
            wait_s = failure.retry_after_s if isinstance(failure, UpstreamFailed) else None
            state = seat.breaker.failed(now_s, _FAULT[why], wait_s)
            guide.moved(seat, state, class_of(failure))
            if refuses_key(failure):
                for other in guide.sharing(seat):
                    guide.moved(other, other.breaker.failed(now_s, "key"), class_of(failure))
        elif why is Blame.CALLER:
            guide.moved(seat, seat.breaker.succeeded(now_s), "it answered")
            if self.failure is None:
                raise failure
        else:
            seat.breaker.abandoned()
        self.failure = self.failure or failure
        if self.pause_s or seat.breaker.allows(now_s) or why is not Blame.LIMITED:
            self._passed += (seat.name,)
        found = self.tries < guide.tries and self._step()
        found = found or self._step(floor=True)
        if not found:
            raise self.failure
        then = "floor" if self.seat.deployment.floor else "next"
        model, error = seat.choice.upstream, class_of(failure)
        guide.telemetry.emit(TryFailed(seat.name, model, error, then, failure.detail))

    def _at_once(self, first: tuple[Seat, ...]) -> bool:
        """Find who is asked first, where all may be asked and no cache matters: as a rule."""
        for seat in first:
            if seat.breaker.shut:
                return False
        if self._keyed():
            return False
        self.seat = first[self._lightest(first, self._guide.clock.now_s())]
        self.tries = 1
        return True

    def _step(self, *, floor: bool = False) -> bool:
        """Find who is asked next; whether there is anybody."""
        now_s = self._guide.clock.now_s()
        self.pause_s = 0.0
        for index in range(self._tier, len(self._tiers)):
            tier = self._tiers[index]
            if floor and not (tier and tier[0].deployment.floor):
                continue
            self._tier = index
            while seat := self._choose(tier, now_s):
                words = self._worded(seat)
                if words is None:
                    break
                if self.pause_s or not seat.breaker.shut or self.claim(seat, now_s):
                    self.seat, self.ask = seat, words
                    self.tries += 1
                    return True
                self._passed += (seat.name,)
        return False

    def _worded(self, seat: Seat) -> Words | None:
        """The call in words for a seat's model; None when it cannot do it."""
        first = self._words
        if seat.choice.id == self._first:
            return first
        if first.again is None:
            return None
        try:
            return first.again(seat.choice)
        except Failure:
            # The first failure tells the caller more than this one's limits do.
            return None

    def _choose(self, tier: tuple[Seat, ...], now_s: float) -> Seat | None:
        if len(tier) == 1:
            only = tier[0]
            if only.name in self._passed or not only.breaker.allows(now_s):
                return None
            return only
        left = tier
        if self._passed:
            left = tuple([seat for seat in tier if seat.name not in self._passed])
        free = [s for s in left if not s.breaker.shut or s.breaker.allows(now_s)]
        if not self._keyed():
            return free[self._lightest(free, now_s)] if free else None
        return self._warm(left, free, now_s) or self._preferred(free, now_s)

    def _keyed(self) -> bool:
        """Whether it matters where this prompt's beginning was sent: it is long, or a session's."""
        if self._key is None and self._guide.keeps:
            self._key = self._words.key(self.tenant)
            self.warmth = "" if self._key is None else "new"
        return self._key is not None

    def _lightest(self, free: Sequence[Seat], now_s: float) -> int:
        weights = [seat.deployment.weight for seat in free]
        healths = [seat.health for seat in free]
        return pick(weights, healths, now_s, self._guide.roll())

    def _preferred(self, free: list[Seat], now_s: float) -> Seat | None:
        """The same one for the same key, everywhere and always, unless it does much worse."""
        if self._key is None or len(free) < 2:
            return free[0] if free else None
        weights = [seat.deployment.weight for seat in free]
        order = preferred(self._key, [seat.name for seat in free], weights)
        waits = scores(weights, [seat.health for seat in free], now_s)
        bound = min(waits) * MUCH_WORSE
        return next(free[at] for at in order if waits[at] <= bound)

    def _warm(self, left: Sequence[Seat], free: list[Seat], now_s: float) -> Seat | None:
        """The seat that this prompt's beginning was sent to last, if it is worth it."""
        session = self._words.session
        known = None if self._key is None else self._guide.affinity.warm(self._key, now_s)
        if known is None:
            name, tokens = "" if session is None else session.deployment, 0
        else:
            name, tokens = known.deployment, known.tokens
        seat = next((each for each in left if each.name == name), None)
        if seat is not None and seat not in free and not self._awaited(seat, free, tokens, now_s):
            seat = None
        if known is not None:
            self.warmth = "cold" if seat is None else "warm"
        return seat

    def _awaited(self, warm: Seat, free: list[Seat], tokens: int, now_s: float) -> bool:
        """Whether a seat that asked for a pause is waited for, and not left for a cold one."""
        wait_s = warm.breaker.ready_in_s(now_s)
        if wait_s > PATIENCE_S or warm.breaker.state(now_s) != "open":
            return False
        settings, size = self._guide.settings, self._words.size() // _CHARS_A_TOKEN
        worth = settings.second_worth_usd
        if free and leave(warm.deployment.prices, tokens, size, wait_s, worth):
            return False
        self.pause_s = wait_s
        return True

    def _nobody(self) -> Unavailable:
        now_s = self._guide.clock.now_s()
        waits = [seat.breaker.ready_in_s(now_s) for tier in self._tiers for seat in tier]
        wait_s = min(waits, default=inf)
        detail = f"Every deployment of `{self._first}` is out of service for now."
        return Unavailable(detail, wait_s if wait_s < inf else None)
