"""Points in time as the databases keep them: whole microseconds since 1970, UTC."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """What is stored for `at`, which knows its time zone."""
    return (at - _EPOCH) // _MICROSECOND


def utc(at_us: int) -> datetime:
    """The point in time that was stored as `at_us`."""
    return _EPOCH + timedelta(microseconds=at_us)
