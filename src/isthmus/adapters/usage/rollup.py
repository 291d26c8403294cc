"""Adds facts up by hour and by whom, as they are told; another task takes the sums away.

Everything here runs on the loop's thread, except `rows_of`.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, TypeAlias

from isthmus.adapters.usage.labels import Allowance, Labels
from isthmus.core.events import Fact, ModelCalled, SuggestionAsked, SuggestionJudged
from isthmus.core.identity import Who
from isthmus.core.usage import BUCKETS, HOUR_S, SUMS, Tally, UsageKey, UsageRow, bucket

Told: TypeAlias = tuple[float, str, Fact]
"""As the pipeline tells: seconds since the epoch, the request, the fact."""
Counted: TypeAlias = dict[Labels, list[int]]
"""Sums in the order of Tally's fields, the buckets behind them."""
BATCH_ROWS: Final = 1_000
"""So many rows are written without waiting for more."""
PENDING_ROWS: Final = 20_000
"""So many rows are kept apart while the disk stands still."""
ASKED_LIMIT: Final = 8_192
"""Requests whose language is remembered for their calls: as many again, and no more."""
_WIDTH: Final = len(SUMS) + BUCKETS
_OFFSETS: Final = {name: SUMS.index(name) for name in ("shown", "accepted", "rejected", "failed")}
_COUNT_LIMIT: Final = 1_000_000
_SUM_LIMIT: Final = 2**53
_COUNTED: Final = frozenset({ModelCalled, SuggestionAsked, SuggestionJudged})
_SUGGESTIONS: Final = frozenset({"code_completions", "code_generations"})


class Rollup:
    """A sink of facts. `begun` is set while anything is counted, `full` once it is much."""

    def __init__(self, *, tokens: bool = True, allowance: Allowance | None = None) -> None:
        self.begun = asyncio.Event()
        self.full = asyncio.Event()
        self._tokens = tokens
        self._allowance = allowance or Allowance()
        self._counted: Counted = {}
        self._asked: dict[str, str] = {}
        self._asked_before: dict[str, str] = {}

    def take(self, batch: Sequence[Told]) -> None:
        """Count what is of use or money; everything else passes."""
        for at_s, request_id, fact in batch:
            if type(fact) not in _COUNTED:
                continue
            if type(fact) is ModelCalled:
                self._called(at_s, request_id, fact)
            elif type(fact) is SuggestionAsked:
                self._remember(request_id, fact.language)
            elif type(fact) is SuggestionJudged:
                self._judged(at_s, fact)

    def cut(self) -> Counted:
        """Everything counted since the last cut; nothing here knows it any more."""
        counted, self._counted = self._counted, {}
        self.begun.clear()
        self.full.clear()
        return counted

    def _called(self, at_s: float, request_id: str, fact: ModelCalled) -> None:
        feature, error, language = fact.feature, fact.error, ""
        if feature in _SUGGESTIONS:
            language = self._asked.get(request_id) or self._asked_before.get(request_id, "")
        if error == "none":
            outcome = "cancelled" if fact.finish == "cancelled" else "ok"
        else:
            outcome = error
        place = (feature, fact.model, fact.provider, fact.deployment, language, outcome)
        sums = self._sums(at_s, fact.who, place)
        sums[0] += 1
        if error != "none":
            sums[1] += 1
        usage = fact.usage
        if usage is not None:
            sums[2] += usage.input_tokens
            sums[3] += usage.output_tokens
            sums[4] += usage.cache_read_tokens
            sums[5] += usage.cache_write_tokens
            sums[6] += usage.reasoning_tokens
        if fact.cost is not None:
            sums[7] += fact.cost
        elif usage is not None or error == "none":
            sums[8] += 1
        duration_s, first_byte_s = fact.duration_s, fact.first_byte_s
        sums[9] += int(duration_s * 1_000_000)
        if first_byte_s:
            sums[10] += 1
            sums[11] += int(first_byte_s * 1_000_000)
        sums[16 + bucket(duration_s * 1_000)] += 1

    def _judged(self, at_s: float, fact: SuggestionJudged) -> None:
        offset = _OFFSETS.get(fact.verdict)
        if offset is not None:
            place = (fact.feature, fact.model, "", "", fact.language, "judged")
            self._sums(at_s, fact.who, place)[offset] += max(0, min(fact.count, _COUNT_LIMIT))

    def _remember(self, request_id: str, language: str) -> None:
        if len(self._asked) >= ASKED_LIMIT:
            self._asked_before, self._asked = self._asked, {}
        self._asked[request_id] = language

    def _sums(self, at_s: float, who: Who, place: tuple[str, str, str, str, str, str]) -> list[int]:
        hour, token = int(at_s) // HOUR_S, who.token if self._tokens else ""
        key = (hour, who.instance, who.namespace, who.user, token, *place)
        sums = self._counted.get(key)
        return self._another(key) if sums is None else sums

    def _another(self, key: Labels) -> list[int]:
        room = len(self._counted) < PENDING_ROWS
        key = self._allowance.admit(key, room=room)
        sums = self._counted.get(key)
        if sums is None:
            sums = self._counted[key] = [0] * _WIDTH
            self.begun.set()
            if len(self._counted) >= BATCH_ROWS:
                self.full.set()
        return sums


def rows_of(counted: Counted) -> tuple[UsageRow, ...]:
    """What was counted, as rows; a vendor's mad figure is cut to what any database takes."""
    rows: list[UsageRow] = []
    width = len(SUMS)
    for key, sums in counted.items():
        told = [max(0, min(each, _SUM_LIMIT)) for each in sums]
        rows.append(UsageRow(UsageKey(*key), Tally(*told[:width], latency=tuple(told[width:]))))
    return tuple(rows)
