"""Whether and when a call that got no answer is tried again; pure."""

from isthmus.core.errors import Failure, UpstreamFailed

PATIENCE_S = 5.0
"""A provider that asks for a longer pause than this is not tried again: the caller decides."""


def backoff_s(attempt: int, *, roll: float, base_s: float = 0.2, cap_s: float = 4.0) -> float:
    """Seconds to wait before retry number `attempt` (1 is the first), with full jitter.

    `roll` is a sample of [0, 1). Raises ValueError when `attempt` < 1.
    Source: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """
    if attempt < 1:
        raise ValueError("attempt counts from 1")
    return roll * min(cap_s, base_s * 2.0 ** (attempt - 1))


def pause_s(failure: Failure, attempt: int, *, roll: float, left_s: float) -> float | None:
    """Seconds until retry number `attempt`, or None when there should be none.

    `left_s` is the time that the call still has. What the provider asks for is the least wait.
    """
    if not isinstance(failure, UpstreamFailed) or not failure.retryable:
        return None
    wait_s = backoff_s(attempt, roll=roll)
    if failure.retry_after_s is not None:
        if failure.retry_after_s > PATIENCE_S:
            return None
        wait_s += failure.retry_after_s
    return wait_s if wait_s < left_s else None
