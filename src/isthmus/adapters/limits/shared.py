"""Shared counters as one process knows them: what it may spend of them without asking.

A process that spends often takes more than it needs, and for a moment only; it takes anew before
that is spent or over, so that no call waits. A store counts what is lent from the end of that
moment on, so what is spent late is never forgotten early; what was not spent is given back. Slots
in use are lent until their holder is taken for dead.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, TypeAlias

from isthmus.adapters.limits.window import BUSY_RETRY_S, GRAINS, Entry, Window
from isthmus.core.limits import LimitKey, LimitState

LENT_S: Final = 1.0
"""How long units are lent at most."""
LENT_LEAST_S: Final = 0.02
RENEWED_S: Final = 0.06
"""How long before its end, at most, a lease is renewed."""
BARRED_S: Final = 0.05
"""How long a refusal of the store is believed without asking again."""


class Lease:
    """Units of one slot of time that may be spent until a moment."""

    __slots__ = ("half", "left", "slot", "until_s")

    def __init__(self, slot: int, left: int, until_s: float) -> None:
        self.slot = slot
        self.left = left
        self.half = left // 2
        self.until_s = until_s


Ticket: TypeAlias = Lease | Entry
_NOTHING: Final = Lease(0, 0, 0.0)


class SharedWindow:
    """A shared counter of what is spent. `touched` is called when there is something to tell."""

    kind: Final = 0

    def __init__(self, key: LimitKey, touched: Callable[["SharedWindow"], None]) -> None:
        self.key = key
        self.name = name_of(key)
        self.span_ms = max(1, round(key.window_s * 1000))
        self.lent_s = min(LENT_S, max(LENT_LEAST_S, key.window_s / GRAINS))
        self.lease = _NOTHING
        self.alone: Window | None = None
        """What is counted here alone, while the store is away."""
        self.unspent: dict[int, int] = {}
        """Slot -> units to give back."""
        self.owed = 0
        self._touched = touched
        self._free = key.amount
        self._whole_at_s = 0.0
        self._fits_at_s = 0.0
        self._barred_until_s = 0.0
        self._barred_units = 0
        self._spent = 0
        self._usual = 1
        """Units that one call asked for."""
        self._since_s = 0.0
        self._rate = 0.0

    def spend(self, units: int, now_s: float) -> Ticket | None:
        """Spend what is lent; None when it does not suffice."""
        lease = self.lease
        if lease.left >= units and now_s < lease.until_s:
            lease.left -= units
            self._spent += units
            return lease
        return None

    def spend_alone(self, units: int, now_s: float, share: float) -> Ticket | None:
        """Spend of this process's share, while the store is away."""
        if self.alone is None:
            self.alone = Window(self.key, part_of(self.key.amount, share))
        self._touched(self)
        return self.alone.spend(units, now_s)

    def force(self, units: int, now_s: float) -> Ticket:
        """Count what is spent already; the store is told later."""
        if self.alone is not None:
            return self.alone.force(units, now_s)
        lease = self.lease
        lent = min(units, lease.left) if now_s < lease.until_s else 0
        lease.left -= lent
        self._free -= units - lent
        self.owed += units - lent
        self._touched(self)
        return _NOTHING

    def give_back(self, ticket: Ticket, units: int, now_s: float) -> None:
        """Units that were not spent after all."""
        if isinstance(ticket, Entry):
            if self.alone is not None:
                self.alone.give_back(ticket, units, now_s)
        elif ticket is self.lease and now_s < ticket.until_s:
            ticket.left += units
        elif ticket is not _NOTHING:
            self._return(ticket.slot, units)
        elif units <= self.owed:
            self.owed -= units

    def left(self, now_s: float) -> int:
        """Units that are still to be had, as far as is known here."""
        if self.alone is not None:
            return self.alone.left(now_s)
        lease = self.lease
        return max(0, self._free + (lease.left if now_s < lease.until_s else 0))

    def state(self, now_s: float) -> LimitState:
        """How it stands, as far as is known here."""
        if self.alone is not None:
            return self.alone.state(now_s)
        key, reset_s = self.key, max(0.0, self._whole_at_s - now_s)
        return LimitState(
            key.rule, key.counted, key.amount, key.window_s, self.left(now_s), reset_s
        )

    def wait_s(self, units: int, now_s: float) -> float:
        """Seconds until units fit that were refused last."""
        if self.alone is not None:
            return self.alone.wait_s(units, now_s)
        if units > self.key.amount:
            return self.key.window_s
        return max(0.0, self._fits_at_s - now_s)

    def barred(self, units: int, now_s: float) -> bool:
        """Whether the store refused as much a moment ago."""
        return now_s < self._barred_until_s and units >= self._barred_units

    def spare(self, units: int, now_s: float) -> int:
        """What to ask for beyond `units`: what is spent while units are lent, if it is often."""
        elapsed_s = max(now_s - self._since_s, self.lent_s / 8)
        rate = self._spent / elapsed_s
        self._rate = rate if rate > self._rate else (self._rate + rate) / 2
        self._spent, self._since_s = 0, now_s
        spare = int(self._rate * self.lent_s)
        return spare if spare >= units else 0

    def granted(self, units: int, spare: int, slot: int, now_s: float) -> Ticket:
        """The store lent `units` and `spare` to what was asked at `now_s`."""
        self._spent += units
        self._usual = units or self._usual
        if not spare:
            return Lease(slot, 0, 0.0)
        self.retire()
        self.lease = Lease(slot, spare, now_s + self.lent_s)
        return self.lease

    def renewal(self, now_s: float) -> int:
        """What to ask for before a call misses it; 0 while there is enough, or nobody spends."""
        lease, left_s = self.lease, self.lease.until_s - now_s
        if left_s <= 0.0 or not self._spent or now_s - self._since_s < self.lent_s / 8:
            return 0
        soon = lease.left <= lease.half or left_s <= min(RENEWED_S, self.lent_s / 2)
        return self.spare(self._usual, now_s) if soon else 0

    def told(self, free: int, whole_ms: int, now_s: float) -> None:
        """How the store says that it stands."""
        self._free = free
        self._whole_at_s = now_s + whole_ms / 1000

    def refused(self, units: int, wait_ms: int, asked_s: float, now_s: float) -> None:
        """The store had no room for `units`, which were asked for at `asked_s`."""
        wait_s = wait_ms / 1000
        self._fits_at_s = now_s + wait_s
        self._barred_until_s, self._barred_units = asked_s + min(wait_s, BARRED_S), units

    def retire(self) -> None:
        """Nothing more is spent of what is lent; the rest goes back."""
        lease = self.lease
        if lease.left:
            self._return(lease.slot, lease.left)
            lease.left = 0

    busy: Final = False

    @property
    def idle(self) -> bool:
        """Whether something is lent that is not spent."""
        return self.lease.left > 0

    @property
    def lent(self) -> bool:
        """Whether it holds something that must be given back or asked for again."""
        return self.lease.left > 0

    def updates(self, now_s: float) -> list[tuple[int, int, int]]:
        """What to tell the store: slot and unspent units, and units beyond what was lent."""
        if now_s >= self.lease.until_s:
            self.retire()
        rows = [(slot, units, 0) for slot, units in self.unspent.items()]
        if self.owed:
            rows.append((0, 0, self.owed))
        self.unspent.clear()
        self.owed = 0
        return rows

    def lost(self) -> None:
        """The store is away, and what it lent with it; what is owed to it stays owed."""
        self.lease = _NOTHING
        self.unspent.clear()

    def found(self) -> None:
        """The store is back, and is told what was spent without it."""
        if self.alone is not None:
            self.owed += self.alone.end()
            self.alone = None

    def _return(self, slot: int, units: int) -> None:
        self._barred_until_s = 0.0
        self.unspent[slot] = self.unspent.get(slot, 0) + units
        self._touched(self)


class SharedSlots:
    """A shared counter of what runs now. What is `held` beyond `in_use` may be used at once."""

    kind: Final = 1

    def __init__(
        self, key: LimitKey, lease_s: float, touched: Callable[["SharedSlots"], None]
    ) -> None:
        self.key = key
        self.name = name_of(key)
        self.span_ms = round(lease_s * 1000)
        self.lent_s = lease_s
        self.in_use = 0
        self.held = 0
        self._until_s = 0.0
        self._touched = touched
        self._free = key.amount
        self._used_at_s = 0.0
        self._barred_until_s = 0.0

    def spend(self, units: int, now_s: float) -> Ticket | None:
        """Use slots that are held; None when there are not enough."""
        if self.in_use + units <= self.held and now_s < self._until_s:
            self.in_use += units
            self._used_at_s = now_s
            return _NOTHING
        return None

    def spend_alone(self, units: int, now_s: float, share: float) -> Ticket | None:
        """Use slots of this process's share, while the store is away."""
        self.held = part_of(self.key.amount, share)
        self._until_s = now_s + 1.0
        self._touched(self)
        return self.spend(units, now_s)

    def force(self, units: int, _now_s: float, /) -> Ticket:
        """Slots that are in use already; the store is told later."""
        self.in_use += units
        self._touched(self)
        return _NOTHING

    def give_back(self, _ticket: Ticket, units: int, _now_s: float, /) -> None:
        """What ran has ended."""
        self._barred_until_s = 0.0
        self.in_use -= units
        self._touched(self)

    def left(self, _now_s: float, /) -> int:
        """Slots that are still to be had, as far as is known here."""
        return max(0, self._free + self.held - self.in_use)

    def state(self, now_s: float) -> LimitState:
        """How it stands, as far as is known here."""
        key, left = self.key, self.left(now_s)
        return LimitState(key.rule, key.counted, key.amount, key.window_s, left, BUSY_RETRY_S)

    def wait_s(self, _units: int, _now_s: float, /) -> float:
        """Which call ends next is not known."""
        return BUSY_RETRY_S

    def barred(self, _units: int, now_s: float, /) -> bool:
        """Whether the store refused a moment ago."""
        return now_s < self._barred_until_s

    def spare(self, _units: int, _now_s: float, /) -> int:
        """Slots that ended are kept for a moment; more than that is never asked for."""
        return 0

    def renewal(self, _now_s: float, /) -> int:
        """What is held is told again by its updates."""
        return 0

    def granted(self, units: int, spare: int, _slot: int, now_s: float, /) -> Ticket:
        """The store lent `units` and `spare` to what was asked at `now_s`."""
        self.held += units + spare
        self.in_use += units
        self._until_s = now_s + self.lent_s
        self._used_at_s = now_s
        return _NOTHING

    def told(self, free: int, _whole_ms: int, _now_s: float, /) -> None:
        """How the store says that it stands."""
        self._free = free

    def refused(self, _units: int, _wait_ms: int, asked_s: float, _now_s: float, /) -> None:
        """The store had no room."""
        self._barred_until_s = asked_s + BARRED_S / 5

    @property
    def idle(self) -> bool:
        """Whether something is lent that is not spent."""
        return self.held > self.in_use

    @property
    def busy(self) -> bool:
        """Whether it may not be forgotten."""
        return self.held > 0 or self.in_use > 0

    @property
    def lent(self) -> bool:
        """Whether it holds something that must be given back or asked for again."""
        return self.held > 0

    def retire(self) -> None:
        """Nothing more is started with what is held."""
        self._used_at_s = 0.0

    def updates(self, now_s: float) -> list[tuple[int, int, int]]:
        """What to tell the store: how many slots are held, when that is news.

        Ended ones are kept while new calls come and the counter is far from its amount.
        """
        ample = self._free * 4 > self.key.amount and now_s - self._used_at_s < LENT_S
        wanted = max(self.held, self.in_use) if ample else self.in_use
        if wanted == self.held and self._until_s - now_s > self.lent_s / 2:
            return []
        self._free += self.held - wanted
        self.held, self._until_s = wanted, now_s + self.lent_s
        return [(0, wanted, 0)]

    def lost(self) -> None:
        """The store is away."""
        self._free = 0

    def found(self) -> None:
        """The store is back, and is told what runs."""
        self.held = -1


Shared: TypeAlias = SharedWindow | SharedSlots


def part_of(amount: int, share: float) -> int:
    """This process's share of an amount: at least one, or nobody could do anything."""
    return min(amount, max(1, int(amount * share)))


def name_of(key: LimitKey) -> str:
    """The counter's name in the store; whom it counts is not readable there.

    The amount is no part of it: who changes the amount goes on with what was counted.
    """
    text = f"{len(key.rule)}:{key.rule}:{key.subject}".encode("utf-8", "surrogatepass")
    digest = blake2b(text, digest_size=16).hexdigest()
    return f"isthmus:limit:{key.counted}:{key.window_s:g}:{digest}"
