"""A clock that tests wind by hand."""

from datetime import UTC, datetime, timedelta


class HandClock:
    """Stands still until `advance`."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self._now_s = now_s
        self._start = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(seconds=now_s)

    def now_s(self) -> float:
        return self._now_s

    def utc(self) -> datetime:
        return self._start + timedelta(seconds=self._now_s)

    def advance(self, seconds: float) -> None:
        self._now_s += seconds
