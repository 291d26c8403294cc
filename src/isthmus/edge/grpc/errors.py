"""Failure -> gRPC status: one table, and the rules for the text that goes with a status."""

import unicodedata

from grpc import StatusCode

from isthmus.core import errors
from isthmus.core.errors import Failure

DETAILS_LIMIT = 1000
"""Characters of a status text: it travels in a trailer, and clients cap those."""

CANCELLED_BY_CLIENT = "RPC cancelled by client"

CODE: dict[type[Failure], StatusCode] = {
    errors.Invalid: StatusCode.INVALID_ARGUMENT,
    errors.Rejected: StatusCode.INVALID_ARGUMENT,
    errors.TooLarge: StatusCode.RESOURCE_EXHAUSTED,
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.Forbidden: StatusCode.PERMISSION_DENIED,
    errors.NotEntitled: StatusCode.PERMISSION_DENIED,
    errors.InsufficientScope: StatusCode.PERMISSION_DENIED,
    errors.NotEnabled: StatusCode.PERMISSION_DENIED,
    errors.InsufficientCredits: StatusCode.RESOURCE_EXHAUSTED,
    errors.NotBuilt: StatusCode.UNIMPLEMENTED,
    errors.NotFound: StatusCode.NOT_FOUND,
    errors.Conflict: StatusCode.FAILED_PRECONDITION,
    errors.LimitExceeded: StatusCode.RESOURCE_EXHAUSTED,
    errors.Withheld: StatusCode.PERMISSION_DENIED,
    errors.ClientGone: StatusCode.CANCELLED,
    errors.ToolRefused: StatusCode.INTERNAL,
    errors.Unavailable: StatusCode.UNAVAILABLE,
    errors.StoreDown: StatusCode.UNAVAILABLE,
    errors.Interrupted: StatusCode.UNAVAILABLE,
    errors.CannotSign: StatusCode.INTERNAL,
    errors.MisconfiguredProvider: StatusCode.INTERNAL,
    errors.UpstreamFailed: StatusCode.INTERNAL,
    errors.UpstreamLimited: StatusCode.INTERNAL,
    errors.UpstreamUnreachable: StatusCode.INTERNAL,
    errors.UpstreamTimeout: StatusCode.INTERNAL,
}


def status_of(failure: Failure) -> tuple[StatusCode, str]:
    """The status and its text. What broke a run is named, as section 4.8 of the contract asks."""
    code = CODE[type(failure)]
    if code is StatusCode.CANCELLED:
        return code, CANCELLED_BY_CLIENT
    if code is StatusCode.INTERNAL:
        kind = type(failure).__name__
        return code, one_line(f"workflow execution failure: {kind}: {failure.detail}")
    return code, one_line(failure.detail)


def status_of_bug(error: BaseException) -> tuple[StatusCode, str]:
    """The status of an exception that is not ours: its type alone; its text may hold anything."""
    return StatusCode.INTERNAL, f"Something went wrong: {type(error).__name__}"


def one_line(text: str) -> str:
    """Printable, on one line, and short enough for a trailer."""
    plain = "".join(" " if unicodedata.category(char) in {"Cc", "Cs"} else char for char in text)
    return plain if len(plain) <= DETAILS_LIMIT else plain[: DETAILS_LIMIT - 1] + "…"
