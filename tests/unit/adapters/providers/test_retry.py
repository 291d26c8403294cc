"""When a call is tried again."""

import pytest

from isthmus.adapters.providers._retry import backoff_s, pause_s
from isthmus.core.errors import UpstreamFailed, UpstreamLimited, UpstreamTimeout


@pytest.mark.parametrize(
    ("attempt", "roll", "wait_s"),
    [(1, 0.0, 0.0), (1, 0.5, 0.1), (2, 0.5, 0.2), (3, 1.0, 0.8), (20, 1.0, 4.0)],
)
def test_full_jitter_under_a_cap(attempt: int, roll: float, wait_s: float) -> None:
    assert backoff_s(attempt, roll=roll) == pytest.approx(wait_s)


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="counts from 1"):
        backoff_s(0, roll=0.5)


def test_what_is_retried() -> None:
    def wait(failure: UpstreamFailed | UpstreamTimeout, left_s: float = 60.0) -> float | None:
        return pause_s(failure, 1, roll=0.5, left_s=left_s)

    assert wait(UpstreamFailed("x", retryable=True)) == pytest.approx(0.1)
    assert wait(UpstreamFailed("x", retryable=True), left_s=0.05) is None
    assert wait(UpstreamFailed("x")) is None
    assert wait(UpstreamTimeout("x", "connect")) is None
    assert wait(UpstreamLimited("x", retryable=True, retry_after_s=3.0)) == pytest.approx(3.1)
    assert wait(UpstreamLimited("x", retryable=True, retry_after_s=5.5)) is None
