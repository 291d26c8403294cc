"""Whose fault a failed model call is, and so whether somebody else should be asked; pure."""

from collections.abc import Iterable
from enum import Enum

from isthmus.core.errors import (
    Failure,
    LimitExceeded,
    MisconfiguredProvider,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnreachable,
)


class Blame(Enum):
    """What a failure says of the deployment.

    ELSEWHERE: it does badly now. LIMITED: it asked to be left alone for a while. KEY: it will not
    serve us until its credential is another one. PLACE: it does not have what was asked for.
    CALLER: the call would fail anywhere.
    """

    ELSEWHERE = "elsewhere"
    LIMITED = "limited"
    KEY = "key"
    PLACE = "place"
    CALLER = "caller"


QUEUE = "queue:"
"""How the rules of deployments' own queues begin; the operator's limits are the caller's affair."""
_KEY = frozenset({401, 402, 403})
_ACCOUNT = frozenset({401, 402})
_PLACE = frozenset({404, 405, 410})
_AGAIN = frozenset({0, 408, 409, 425})


def blame(failure: Failure) -> Blame:
    """The class of a failure before any content."""
    match failure:
        case UpstreamLimited():
            found = Blame.LIMITED
        case UpstreamUnreachable() | UpstreamTimeout():
            found = Blame.ELSEWHERE
        case UpstreamFailed(reason="", status=status):
            found = _by_status(status)
        case LimitExceeded(rule=rule) if rule.startswith(QUEUE):
            found = Blame.PLACE
        case MisconfiguredProvider():
            found = Blame.PLACE
        case _:
            found = Blame.CALLER
    return found


def refuses_key(failure: Failure) -> bool:
    """Whether the credential itself is refused, and not only for this model."""
    return isinstance(failure, UpstreamFailed) and failure.status in _ACCOUNT


def blame_status(status: int) -> Blame | None:
    """The same for the status of a forwarded answer; None when the answer should be passed on.

    What is forbidden may be so by what the caller wrote, who must not take a key away from others.
    """
    if status < 400 or status == 403:
        return None
    if status == 429:
        return Blame.LIMITED
    found = _by_status(status)
    return None if found in {Blame.CALLER, Blame.PLACE} else found


def retry_after_s(headers: Iterable[tuple[str, str]]) -> float | None:
    """Seconds of a reply's `retry-after`; None for dates and for what is no number of seconds."""
    for name, text in headers:
        if name == "retry-after" and text.isdecimal() and len(text) < 9:
            return float(text)
    return None


def _by_status(status: int) -> Blame:
    if status in _KEY:
        return Blame.KEY
    if status in _PLACE:
        return Blame.PLACE
    return Blame.ELSEWHERE if status >= 500 or status in _AGAIN else Blame.CALLER
