"""Which failures of a model call a session waits out, and for how long. Pure.

Routing comes first, and heals what a moment or another deployment can heal: each attempt here is a
whole walk of `routing.walk`, before whose first byte a deployment is left for the next one, or the
only one is asked again within seconds. These waits are for what outlasts that. They do not press on
what is down: a deployment that keeps failing has an open breaker by then, and is not asked.

Source: agent-platform contract, section 9.6.
"""

from typing import Final

from isthmus.core.errors import Failure, StoreDown, Unavailable, UpstreamFailed, UpstreamTimeout

LONGEST_S: Final = 29.0
_TROUBLE: Final = frozenset({500, 502, 503, 504, 529})
"""Statuses of a provider in trouble, or of what stands before it, and of its `api_error` and
`overloaded_error` in a stream."""


def wait_s(failure: Failure, attempt: int, retries: int) -> float | None:
    """Seconds to wait behind attempt number `attempt` (1 is the first): 3, 9 and 27.

    None when there were so many retries already, or when waiting changes nothing.
    """
    if attempt > retries or not passing(failure):
        return None
    return min(3.0**attempt, LONGEST_S)


def passing(failure: Failure) -> bool:
    """Whether a failure may be over in a while; who asked too often (429) is not waited for."""
    match failure:
        case UpstreamFailed(status=0, retryable=retryable):
            return retryable
        case UpstreamFailed(status=status):
            return status in _TROUBLE
        case UpstreamTimeout(phase=phase):
            # A call that took all the time it may take would only take it again.
            return phase != "total"
        case StoreDown():
            return False
        case Unavailable(retry_after_s=known):
            # Every deployment's breaker is open: the same trouble, seen by those who came first.
            return known is not None
        case _:
            return False
