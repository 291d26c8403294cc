"""What was used, hour by hour: rows, questions about them, and the store that keeps them."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

DIMENSIONS: Final = (
    *("instance", "namespace", "user", "token", "feature", "model", "provider", "deployment"),
    *("language", "outcome"),
)
"""What rows tell apart besides their hour; in a row, "" is not known.

`outcome` of a call is "ok", "cancelled" or its class of error, of a judged suggestion "judged".
"""
TIMES: Final = ("day", "hour")
"""What a question may also group by; days are UTC's."""
BUCKETS_MS: Final = tuple(10 ** (step / 4) for step in range(23))
"""Where the buckets of latency end, from 1 ms to 316 s, four a decade; one more is open."""
BUCKETS: Final = len(BUCKETS_MS) + 1
OTHER: Final = "other"
"""Stands for labels beyond those that an hour may have."""
HOUR_S: Final = 3_600


class UsageKey(Struct, frozen=True, gc=False, array_like=True):
    """What a row counts. `hour` is in hours since 1970, UTC."""

    hour: int
    instance: str = ""
    namespace: str = ""
    user: str = ""
    token: str = ""
    feature: str = ""
    model: str = ""
    provider: str = ""
    deployment: str = ""
    language: str = ""
    outcome: str = ""


class Tally(Struct, frozen=True, gc=False, array_like=True):
    """Sums. Cost is in millionths of a US dollar; `unpriced` requests have no part in it:
    they went well, or used tokens, and their model has no price or its vendor told no tokens.

    `first_bytes` of the requests told when their first byte came. `latency` are requests by the
    buckets of BUCKETS_MS. The last four are of suggestions that were judged.
    """

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: int = 0
    unpriced: int = 0
    duration_us: int = 0
    first_bytes: int = 0
    first_byte_us: int = 0
    shown: int = 0
    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    latency: tuple[int, ...] = (0,) * BUCKETS

    def quantile_ms(self, share: float) -> float | None:
        """The latency that this share of the requests kept, as near as the buckets tell.

        Within its bucket it is assumed to lie evenly on a scale of powers; None without requests.
        """
        wanted, below = share * sum(self.latency), 0
        for index, count in enumerate(self.latency):
            if count and below + count >= wanted:
                step = index - 1 + (wanted - below) / count
                return min(10 ** (step / 4), BUCKETS_MS[-1])
            below += count
        return None

    @property
    def mean_ms(self) -> float | None:
        """Mean latency; None without requests."""
        return self.duration_us / self.requests / 1_000 if self.requests else None

    @property
    def first_byte_ms(self) -> float | None:
        """Mean time to the first byte; None where none came."""
        return self.first_byte_us / self.first_bytes / 1_000 if self.first_bytes else None

    @property
    def acceptance(self) -> float | None:
        """Accepted suggestions as a share of those shown, or, where more were judged, of these."""
        judged = max(self.shown, self.accepted + self.rejected)
        return self.accepted / judged if judged else None


SUMS: Final = Tally.__struct_fields__[:-1]
"""The sums but for `latency`, in their order."""


class UsageRow(Struct, frozen=True, gc=False, array_like=True):
    """What one writer counted under one key since its last batch."""

    key: UsageKey
    tally: Tally


class UsageBatch(Struct, frozen=True):
    """Rows that count once, however often they are added; no key stands in two of them.

    Ids sort by the time at which they were made.
    """

    id: str
    rows: tuple[UsageRow, ...]


class UsageQuery(Struct, frozen=True, kw_only=True):
    """Sums over the hours from `since` to before `until`, by these dimensions or times.

    `where` are values that dimensions must have.
    """

    since: int
    until: int
    by: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    page: int = 1
    per_page: int = 100


class UsageGroup(Struct, frozen=True):
    """Sums of one group; `by` are the values that it was grouped by, hours as numbers."""

    by: tuple[str | int, ...]
    tally: Tally


class UsagePage(Struct, frozen=True):
    """Groups, by time and then those with the most requests first; `total` counts all pages'."""

    groups: Sequence[UsageGroup]
    total: int


class UsageAdder(Protocol):
    """The rollup table as its writer sees it."""

    async def add(self, batch: UsageBatch) -> bool:
        """Add the rows to what is there; False when this batch was added before.

        Raises Invalid for rows that no database takes, Unavailable or Conflict when it may later.
        """
        ...

    async def prune(self, before_hour: int, before_id: str) -> int:
        """Forget rows of earlier hours, and ids of earlier batches; how many rows there were."""
        ...


class UsageStore(UsageAdder, Protocol):
    """The rollup table: SQLite (default), PostgreSQL."""

    async def page(self, query: UsageQuery) -> UsagePage:
        """Sums by group. Raises Invalid for a dimension that there is not."""
        ...


def bucket(duration_ms: float) -> int:
    """The bucket of a latency: the first that ends at it or above."""
    return bisect_left(BUCKETS_MS, duration_ms)
