"""What was used, as administrators ask for it: a question in words, and the figures as told."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from isthmus.core.accounts import Member
from isthmus.core.errors import FieldError, Forbidden, Invalid
from isthmus.core.ports import Clock
from isthmus.core.usage import (
    DIMENSIONS,
    HOUR_S,
    TIMES,
    Tally,
    UsageGroup,
    UsagePage,
    UsageQuery,
    UsageStore,
)

DEFAULT_SPAN: Final = timedelta(days=30)
_AGO: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS: Final = {"h": 1, "d": 24, "w": 7 * 24}


class UsageWish(Struct, frozen=True, kw_only=True):
    """A question. Times are ISO 8601 (UTC where they say no zone), or how long ago: `24h`, `7d`.

    Without `since`, the last 30 days; without `until`, all that came since. `by` names dimensions
    and times, `where` the values that dimensions must have.
    """

    since: str = ""
    until: str = ""
    by: tuple[str, ...] = ()
    where: Mapping[str, str] = {}
    page: int = 1
    per_page: int = 20


class Latency(Struct, frozen=True):
    """Milliseconds of whole calls, and to their first byte; nulls where there were none."""

    mean: float | None
    p50: float | None
    p95: float | None
    first_byte: float | None


class Suggestions(Struct, frozen=True):
    """What became of suggestions; the rate is null where none was judged."""

    shown: int
    accepted: int
    rejected: int
    failed: int
    acceptance_rate: float | None


class UsageShape(Struct, frozen=True):
    """Figures of one group. `by` are its values; "" is not known.

    `cost_usd` leaves out the `unpriced` requests, whose model has no price in the list.
    """

    by: dict[str, str]
    requests: int
    errors: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_usd: float
    unpriced: int
    latency_ms: Latency
    suggestions: Suggestions


class UsageReport:
    """Answers questions about usage."""

    def __init__(self, store: UsageStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def asked(self, member: Member, wish: UsageWish) -> tuple[Sequence[UsageShape], int]:
        """A page of groups, and how many there are. Raises Forbidden, Invalid."""
        if not member.user.admin:
            raise Forbidden("Usage is for administrators.")
        return await self.told(wish)

    async def told(self, wish: UsageWish) -> tuple[Sequence[UsageShape], int]:
        """The same for who has the database at hand."""
        query = _query(wish, self._clock.utc())
        found: UsagePage = await self._store.page(query)
        return [_shape(query.by, group) for group in found.groups], found.total


def _query(wish: UsageWish, now: datetime) -> UsageQuery:
    known = (*TIMES, *DIMENSIONS)
    by = tuple(dict.fromkeys(wish.by))
    if not set(by) <= set(known):
        raise _invalid("by")
    for name in wish.where:
        if name not in DIMENSIONS:
            raise _invalid(name)
    since = _time("since", wish.since, now) if wish.since else now - DEFAULT_SPAN
    until = _time("until", wish.until, now) if wish.until else now + timedelta(hours=1)
    return UsageQuery(
        since=_hour(since),
        # An hour that has begun is a part of what was asked for.
        until=-(-int(until.timestamp()) // HOUR_S),
        by=by,
        where=tuple(wish.where.items()),
        page=wish.page,
        per_page=wish.per_page,
    )


def _time(field: str, text: str, now: datetime) -> datetime:
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(hours=int(ago[1]) * _UNITS[ago[2]])
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _invalid(field) from None


def _hour(at: datetime) -> int:
    return int(at.timestamp()) // HOUR_S


def _invalid(field: str) -> Invalid:
    reason = "does not have a valid value"
    return Invalid(f"{field} {reason}", (FieldError(field, reason),))


def _shape(by: Sequence[str], group: UsageGroup) -> UsageShape:
    tally = group.tally
    return UsageShape(
        by={name: _value(name, value) for name, value in zip(by, group.by, strict=True)},
        requests=tally.requests,
        errors=tally.errors,
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens,
        cache_read_tokens=tally.cache_read_tokens,
        cache_write_tokens=tally.cache_write_tokens,
        reasoning_tokens=tally.reasoning_tokens,
        cost_usd=tally.cost / 1_000_000,
        unpriced=tally.unpriced,
        latency_ms=_latency(tally),
        suggestions=Suggestions(
            tally.shown, tally.accepted, tally.rejected, tally.failed, _rounded(tally.acceptance, 4)
        ),
    )


def _latency(tally: Tally) -> Latency:
    told = (tally.mean_ms, tally.quantile_ms(0.5), tally.quantile_ms(0.95), tally.first_byte_ms)
    return Latency(*(_rounded(each, 1) for each in told))


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _value(name: str, value: str | int) -> str:
    if isinstance(value, str):
        return value
    at = datetime.fromtimestamp(value * HOUR_S * (24 if name == "day" else 1), UTC)
    return at.date().isoformat() if name == "day" else f"{at:%Y-%m-%dT%H:%M:%SZ}"
