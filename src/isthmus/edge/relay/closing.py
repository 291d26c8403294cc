"""Failure -> the code with which its socket is closed, the reason, and the status for the record.

Source: instance contract, section 3.8; agent-platform contract, section 11.5.
"""

from typing import Final, NamedTuple

from isthmus.core import errors
from isthmus.core.errors import Failure

OVER: Final = 1000
AWAY: Final = 1001
NO_CREDIT: Final = 1008
BUG: Final = 1011
LOCKED: Final = 1013
INVALID: Final = 4400

CLOSE_CODE: Final[dict[type[Failure], int]] = {
    errors.Invalid: INVALID,
    errors.Rejected: INVALID,
    errors.TooLarge: OVER,
    errors.Unauthenticated: OVER,
    errors.Forbidden: OVER,
    errors.NotEntitled: OVER,
    errors.InsufficientScope: OVER,
    errors.NotEnabled: OVER,
    errors.InsufficientCredits: NO_CREDIT,
    errors.NotBuilt: OVER,
    errors.NotFound: OVER,
    errors.Conflict: OVER,
    errors.LimitExceeded: OVER,
    errors.Withheld: OVER,
    errors.ClientGone: OVER,
    errors.ToolRefused: OVER,
    errors.Unavailable: AWAY,
    errors.StoreDown: AWAY,
    errors.Interrupted: AWAY,
    errors.CannotSign: OVER,
    errors.MisconfiguredProvider: OVER,
    errors.UpstreamFailed: OVER,
    errors.UpstreamLimited: OVER,
    errors.UpstreamUnreachable: OVER,
    errors.UpstreamTimeout: OVER,
}
"""A failure that closes with OVER looks like success: the client is shown a FAILED notice first."""

STATUS: Final[dict[type[Failure], str]] = {
    errors.Invalid: "INVALID_ARGUMENT",
    errors.Rejected: "INVALID_ARGUMENT",
    errors.TooLarge: "RESOURCE_EXHAUSTED",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.Forbidden: "PERMISSION_DENIED",
    errors.NotEntitled: "PERMISSION_DENIED",
    errors.InsufficientScope: "PERMISSION_DENIED",
    errors.NotEnabled: "PERMISSION_DENIED",
    errors.InsufficientCredits: "RESOURCE_EXHAUSTED",
    errors.NotBuilt: "UNIMPLEMENTED",
    errors.NotFound: "NOT_FOUND",
    errors.Conflict: "FAILED_PRECONDITION",
    errors.LimitExceeded: "RESOURCE_EXHAUSTED",
    errors.Withheld: "PERMISSION_DENIED",
    errors.ClientGone: "CANCELLED",
    errors.Unavailable: "UNAVAILABLE",
    errors.StoreDown: "UNAVAILABLE",
    errors.Interrupted: "UNAVAILABLE",
}
"""gRPC's name of a failure, where it is not INTERNAL: the label under which ends are counted."""

_REASON: Final = {AWAY: "server shutdown", NO_CREDIT: "Insufficient credits: quota exceeded"}


class Farewell(NamedTuple):
    """How a socket ends. `status` is gRPC's name; `error` says why the connection failed."""

    code: int = OVER
    reason: str = ""
    status: str = "OK"
    error: str = ""


def farewell(failure: Failure | None) -> Farewell:
    """The end of a session that went well (None) or failed."""
    if failure is None:
        return Farewell()
    code = CLOSE_CODE[type(failure)]
    reason = failure.detail if code == INVALID else _REASON.get(code, "")
    error = "quota_exceeded" if code == NO_CREDIT else "other"
    return Farewell(code, reason, STATUS.get(type(failure), "INTERNAL"), error)
