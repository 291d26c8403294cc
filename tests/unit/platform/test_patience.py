"""What a session waits out."""

import pytest

from isthmus.core.errors import (
    Failure,
    LimitExceeded,
    MisconfiguredProvider,
    StoreDown,
    Unavailable,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from isthmus.platform.patience import wait_s

WAITED = (
    *(UpstreamFailed("", status=status) for status in (500, 502, 503, 504)),
    UpstreamLimited("", status=529),
    UpstreamFailed("it broke off", retryable=True),
    UpstreamUnreachable("refused", retryable=True),
    UpstreamTimeout("", "connect"),
    UpstreamTimeout("", "first_byte"),
    UpstreamTimeout("", "between_bytes"),
    Unavailable("every breaker is open", 5.0),
)
NOT_WAITED = (
    UpstreamLimited("", status=429),
    UpstreamFailed("", status=400),
    UpstreamFailed("", status=501),
    UpstreamFailed("it cannot be read"),
    UpstreamUnreachable("its certificate is not trusted"),
    UpstreamTimeout("", "total"),
    Unavailable("nothing is configured"),
    StoreDown("", 1.0),
    LimitExceeded("", 1.0),
    MisconfiguredProvider(""),
)


@pytest.mark.parametrize("failure", WAITED, ids=repr)
def test_what_may_pass_is_waited_for_three_times(failure: Failure) -> None:
    assert [wait_s(failure, attempt, 3) for attempt in range(1, 6)] == [3, 9, 27, None, None]
    assert [wait_s(failure, attempt, 1) for attempt in range(1, 3)] == [3, None]
    assert wait_s(failure, 1, 0) is None


@pytest.mark.parametrize("failure", NOT_WAITED, ids=repr)
def test_what_does_not_pass_is_not(failure: Failure) -> None:
    assert wait_s(failure, 1, 3) is None
