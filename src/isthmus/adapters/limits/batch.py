"""What one call of the script is told, and what its answer means. Layout: `take.lua`."""

import asyncio
from collections.abc import Sequence
from typing import Final, TypeAlias, cast

from isthmus.adapters.limits.held import Part as AnyPart
from isthmus.adapters.limits.link import StoreLostError
from isthmus.adapters.limits.shared import Shared, Ticket

Part: TypeAlias = AnyPart[Ticket]

_FIGURES: Final = 5
"""Numbers that a claim is answered with."""


class Ask:
    """What one call needs of the store; the answer is None, or a part that does not fit."""

    __slots__ = ("answer", "at_s", "parts")

    def __init__(self, parts: Sequence[Part], answer: "asyncio.Future[Part | None]") -> None:
        self.parts = parts
        self.answer = answer
        self.at_s = 0.0

    @property
    def granted(self) -> bool:
        """Whether its parts hold what they asked for."""
        answer = self.answer
        if not answer.done() or answer.cancelled() or answer.exception() is not None:
            return False
        return answer.result() is None


class Batch:
    """Updates and asks that go together."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.asks: list[Ask] = []
        self._updates: list[int] = []
        self._rows = 0
        self._claims: list[int] = []
        self._asked: set[Shared] = set()
        self._renewed: list[tuple[Shared, float]] = []
        """Counters for which nobody waits, and when they asked."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to say."""
        return not (self._rows or self.asks or self._renewed)

    def add_updates(self, counter: Shared, rows: Sequence[tuple[int, int, int]]) -> None:
        """Tell the store what a counter gives back or owes."""
        for row in rows:
            self._updates += (self._index(counter), counter.kind, counter.span_ms, *row)
        self._rows += len(rows)

    def add_asks(self, asks: Sequence[Ask], now_s: float) -> None:
        """Ask for what calls need, and once a counter for more."""
        for ask in asks:
            if ask.answer.done():
                continue
            ask.at_s = now_s
            self.asks.append(ask)
            self._claims.append(len(ask.parts))
            for part in ask.parts:
                self._add(part, known(part), now_s)

    def add_renewal(self, counter: Shared, now_s: float) -> None:
        """Ask for more of a counter before a call has to, if it is time; after `add_asks`."""
        if counter not in self._asked and (spare := counter.renewal(now_s)):
            self._renewed.append((counter, now_s))
            self._claims.append(1)
            self._claim(counter, 0, spare, shadow=False)

    def numbers(self, time_ms: int, who: str) -> list[str | int]:
        """The script's arguments. `time_ms` 0: the server's own time."""
        asks = len(self.asks) + len(self._renewed)
        return [time_ms, who, self._rows, *self._updates, asks, *self._claims]

    def check(self, answer: Sequence[int]) -> None:
        """Raises StoreLostError for an answer that is not this batch's."""
        expected = sum(1 + _FIGURES * len(ask.parts) for ask in self.asks)
        expected += (1 + _FIGURES) * len(self._renewed)
        if len(answer) != expected:
            raise StoreLostError("an answer of another form")

    def answered(self, answer: Sequence[int], now_s: float) -> list[Shared]:
        """Hand the answer to those who asked; returns the counters that were lent more."""
        at = 0
        lent: list[Shared] = []
        for ask in self.asks:
            granted, misfit = answer[at] == 1, None
            at += 1
            for part in ask.parts:
                figures = answer[at : at + _FIGURES]
                at += _FIGURES
                if _tell(part, figures, ask.at_s, now_s) and not part.shadow:
                    misfit = misfit or part
                if granted:
                    counter = _hold(ask, part, figures, now_s)
                    if counter.lent:
                        lent.append(counter)
            if not ask.answer.done():
                ask.answer.set_result(misfit)
        for counter, asked_s in self._renewed:
            spare, slot, free, whole_ms, _ = answer[at + 1 : at + 1 + _FIGURES]
            at += 1 + _FIGURES
            counter.told(free, whole_ms, now_s)
            if spare:
                counter.granted(0, spare, slot, asked_s)
                lent.append(counter)
        return lent

    def _add(self, part: Part, counter: Shared, now_s: float) -> None:
        spare = 0
        if counter not in self._asked:
            self._asked.add(counter)
            counter.retire()
            self.add_updates(counter, counter.updates(now_s))
            spare = counter.spare(part.units, now_s)
        self._claim(counter, part.units, spare, shadow=part.shadow)

    def _claim(self, counter: Shared, units: int, spare: int, *, shadow: bool) -> None:
        self._claims += (self._index(counter), counter.kind, counter.span_ms, counter.key.amount)
        self._claims += (units, spare, round(counter.lent_s * 1000), int(shadow))

    def _index(self, counter: Shared) -> int:
        """Which of the script's keys it is; they are counted from one."""
        return self.names.setdefault(counter.name, len(self.names) + 1)


def known(part: Part) -> Shared:
    """The counter of a part: here it is always a shared one."""
    return cast("Shared", part.counter)


def _tell(part: Part, figures: Sequence[int], asked_s: float, now_s: float) -> bool:
    """Note how the counter stands; returns whether the part did not fit."""
    _, _, free, whole_ms, wait_ms = figures
    counter = known(part)
    counter.told(free, whole_ms, now_s)
    if wait_ms <= 0:
        return False
    part.over = part.shadow
    counter.refused(part.units, wait_ms, asked_s, now_s)
    return True


def _hold(ask: Ask, part: Part, figures: Sequence[int], now_s: float) -> Shared:
    spare, slot, *_ = figures
    counter = known(part)
    ticket = counter.granted(part.units, spare, slot, ask.at_s)
    if ask.answer.cancelled():
        counter.give_back(ticket, part.units, now_s)
    else:
        part.hold(ticket)
    return counter
