"""A failed model call's class in the metrics contract (`error_type`)."""

from isthmus.core.errors import (
    Failure,
    Forbidden,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnreachable,
)

_BY_STATUS = {
    400: "http_400",
    401: "permission_error",
    403: "permission_error",
    429: "overloaded",
    502: "service_unavailable",
    503: "service_unavailable",
    504: "service_unavailable",
    529: "overloaded",
}


def class_of_status(status: int) -> str:
    """The class of an answer's status; "none" below 400."""
    return "none" if status < 400 else _BY_STATUS.get(status, "other")


def class_of(failure: Failure) -> str:
    """The class of a failure. A timeout counts as a broken connection."""
    match failure:
        case UpstreamLimited():
            return "overloaded"
        case UpstreamUnreachable() | UpstreamTimeout():
            return "connection_error"
        case UpstreamFailed(reason="prompt_too_long"):
            return "prompt_too_long"
        case UpstreamFailed(status=status):
            return _BY_STATUS.get(status, "other") if status else "connection_error"
        case Forbidden():
            return "permission_error"
        case _:
            return "other"
