"""Units that one call holds of several counters: granted, grown and settled alike everywhere."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import Generic, Protocol, TypeAlias, TypeVar

from isthmus.core.errors import LimitExceeded
from isthmus.core.limits import Claim, LimitKey, LimitState
from isthmus.core.ports import Clock

Ticket = TypeVar("Ticket")


class Counter(Protocol[Ticket]):
    """What is counted in one place; a ticket says where to give units back."""

    @property
    def key(self) -> LimitKey: ...

    def spend(self, units: int, now_s: float, /) -> Ticket | None: ...

    def force(self, units: int, now_s: float, /) -> Ticket: ...

    def give_back(self, ticket: Ticket, units: int, now_s: float, /) -> None: ...

    def left(self, now_s: float, /) -> int:
        """Units that are still to be had."""
        ...

    def state(self, now_s: float, /) -> LimitState: ...

    def wait_s(self, units: int, now_s: float, /) -> float: ...


class Part(Generic[Ticket]):
    """What one call holds of one counter. `over`: it would have been refused, were it no shadow."""

    # Of the class until it changes: a call makes several of these.
    over = False
    total = 0

    def __init__(
        self, counter: Counter[Ticket], claim: Claim, ticket: Ticket | None = None
    ) -> None:
        """With a `ticket`, what is claimed is granted already."""
        self.counter = counter
        self.shadow = claim.shadow
        self.units = claim.units
        """What is asked for now; `total` is what is held."""
        self._tickets: list[tuple[Ticket, int]] = []
        if ticket is not None:
            self.total = claim.units
            self._tickets.append((ticket, claim.units))

    def hold(self, ticket: Ticket) -> None:
        """What was asked for is granted."""
        self._tickets.append((ticket, self.units))
        self.total += self.units

    def undo(self, now_s: float) -> None:
        """Give back what was granted last."""
        ticket, units = self._tickets.pop()
        self.total -= units
        self.counter.give_back(ticket, units, now_s)

    def settle(self, used: int, now_s: float) -> None:
        """Give back what was not used, of the youngest grant first, or count what is owed."""
        unused = self.total - used
        if unused < 0:
            self.counter.force(-unused, now_s)
        while unused > 0 and self._tickets:
            ticket, units = self._tickets.pop()
            back = min(unused, units)
            unused -= back
            self.counter.give_back(ticket, back, now_s)


def refusal(counter: Counter[Ticket], units: int, now_s: float) -> LimitExceeded:
    """What a caller is told; it names the rule, and never whom it counts."""
    key, wait_s = counter.key, counter.wait_s(units, now_s)
    detail = f"The limit {key.rule!r} was reached."
    return LimitExceeded(detail, wait_s, key.rule, counter.state(now_s))


Grant: TypeAlias = Callable[[Sequence[Part[Ticket]]], Awaitable[None]]
"""Grants all parts what they ask for, or none and raises LimitExceeded."""


class Held(Generic[Ticket]):
    """The Reservation port over the parts of one call."""

    __slots__ = ("_clock", "_grant", "_parts", "_settled", "_tightest")

    def __init__(
        self,
        parts: Sequence[Part[Ticket]],
        grant: Grant[Ticket],
        clock: Clock,
        tightest: Counter[Ticket] | None = None,
    ) -> None:
        """`tightest` is told by who knows it already."""
        self._parts = parts
        self._tightest = tightest
        self._grant = grant
        self._clock = clock
        self._settled = False

    @property
    def tightest(self) -> LimitState | None:
        """See `Reservation`."""
        now_s, found = self._clock.now_s(), self._tightest
        if found is None:
            least = inf
            for part in self._parts:
                if not part.shadow:
                    counter = part.counter
                    share = counter.left(now_s) / (counter.key.amount or 1)
                    if share < least:
                        found, least = counter, share
        return None if found is None else found.state(now_s)

    @property
    def shadowed(self) -> Sequence[LimitState]:
        """See `Reservation`."""
        now_s = self._clock.now_s
        return [part.counter.state(now_s()) for part in self._parts if part.over]

    async def grow(self, units: Mapping[str, int]) -> None:
        """See `Reservation`."""
        parts: list[Part[Ticket]] = []
        for part in self._parts:
            part.units = units.get(part.counter.key.counted, 0)
            if part.units > 0:
                parts.append(part)
        if parts and not self._settled:
            await self._grant(parts)

    def settle(self, units: Mapping[str, int]) -> None:
        """See `Reservation`."""
        if self._settled:
            return
        self._settled = True
        now_s = self._clock.now_s()
        for part in self._parts:
            counted = part.counter.key.counted
            if counted == "concurrency":
                part.settle(0, now_s)
            elif counted != "requests":
                part.settle(units.get(counted, part.total), now_s)
