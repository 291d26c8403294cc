"""Route families' own words for failures; each function answers a failure, or leaves it alone.

Handlers set one as their exchange's `refuse`. Source: HTTP gateway contract, section 10.5.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

from starlette.responses import JSONResponse, Response

from isthmus.core.errors import (
    CannotSign,
    Conflict,
    Failure,
    FieldError,
    Forbidden,
    InsufficientScope,
    Invalid,
    LimitExceeded,
    NotFound,
    Rejected,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from isthmus.edge.http.errors import retry
from isthmus.edge.http.exchange import Exchange

UPSTREAM_REFUSED = 421
UNTOLD = "Validation error"
"""The detail of a body that does not fit its schema."""
_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}
_FAITHFUL = frozenset({400, 401, 429})


def prompts(failure: Failure) -> Response | None:
    """Registered prompts: what the model's server answered, under a status that stands for it.

    Source: HTTP gateway contract, section 6.1.
    """
    match failure:
        case NotFound():
            return _detail(400, failure.detail)
        case Invalid(fields=fields) if fields and fields[0].field.startswith("inputs."):
            return _detail(422, failure.detail)
        case UpstreamFailed() | UpstreamTimeout():
            code = upstream_status(failure)
            return _detail(UPSTREAM_REFUSED, f"{code}: {_PHRASES.get(code, 'Unknown Error')}")
        case _:
            return None


def chat(failure: Failure) -> Response | None:
    """Chat of the first version. Source: HTTP gateway contract, section 5.1."""
    match failure:
        case UpstreamTimeout():
            return _detail(504, "Anthropic API Timeout Error.")
        case UpstreamUnreachable():
            return _detail(502, "Anthropic API Connection Error.")
        case UpstreamFailed():
            return _detail(502, "Anthropic API Status Error.")
        case _:
            return None


def embeddings(failure: Failure) -> Response | None:
    """Embeddings: faults are told; a bad request, a bad key and a limit keep their statuses.

    Source: HTTP gateway contract, section 8.1.
    """
    match failure:
        case Invalid(fields=(FieldError(field="dimensions"), *_)):
            return _detail(400, failure.detail)
        case Invalid() if failure.detail != UNTOLD:
            return _detail(422, failure.detail)
        case UpstreamLimited():
            return JSONResponse({"detail": failure.detail}, 429, headers=retry(failure))
        case UpstreamFailed(status=status) if status in _FAITHFUL:
            return _detail(status, failure.detail)
        case _:
            return None


INSTANCE: dict[type[Failure], tuple[int, str]] = {
    Unauthenticated: (401, "Unauthorized"),
    Forbidden: (403, "Forbidden"),
    Invalid: (400, "Bad request"),
    Rejected: (400, "Bad request"),
    Conflict: (400, "Bad request"),
    TooLarge: (413, "Payload Too Large"),
    Unavailable: (503, "Service Unavailable"),
    CannotSign: (503, "Service Unavailable"),
}
_UNEXPLAINED = frozenset({401, 413})


def instance(failure: Failure) -> Response | None:
    """The instance API. Source: instance contract, section 1.0."""
    match failure:
        case InsufficientScope(detail=detail, scopes=scopes):
            body = {"error": "insufficient_scope", "error_description": detail}
            return JSONResponse(body | {"scope": " ".join(scopes)}, 403)
        case Invalid(fields=(FieldError(field=field, reason=reason), *_)) if field:
            return JSONResponse({"error": f"{field} {reason}"}, 400)
        case NotFound(detail=detail):
            text = detail if detail.startswith("404 ") else "404 Not Found"
            return JSONResponse({"message": text}, 404)
        case LimitExceeded():
            text = "This endpoint has been requested too many times. Try again later."
            told = {"error": text} | ({"rule": failure.rule} if failure.rule else {})
            return JSONResponse({"message": told}, 429, headers=retry(failure))
        case _:
            return _titled(failure)


def monolith(failure: Failure) -> Response | None:
    """The same where clients must tell our refusals from a gateway's. Source: section 1.17."""
    response = instance(failure)
    if response is not None:
        response.headers["x-gitlab-error-origin"] = "monolith"
    return response


def unserved(
    exchange: Exchange, status: Literal[404, 405], headers: Mapping[str, str] | None = None
) -> Response:
    """The answer to a path, or a method of it, that nobody serves, in the words of its family."""
    if exchange.refuse in {instance, monolith}:
        title = {404: "Not Found", 405: "Not Allowed"}[status]
        return JSONResponse({"error": f"{status} {title}"}, status, headers)
    return JSONResponse({"detail": _PHRASES[status]}, status, headers)


def _titled(failure: Failure) -> Response | None:
    """A status with its title, and the reason where one may be told."""
    for kind in type(failure).__mro__:
        if kind in INSTANCE:
            status, title = INSTANCE[kind]
            told = failure.detail and status not in _UNEXPLAINED
            text = f"{status} {title}" + (f" - {failure.detail}" if told else "")
            return JSONResponse({"message": text}, status, headers=retry(failure))
    return None


def upstream_status(failure: UpstreamFailed | UpstreamTimeout) -> int:
    """The status that a failed model call stands for: the server's own, else the nearest.

    A server that was never reached counts as 500, an answer that broke as 502.
    """
    match failure:
        case UpstreamTimeout():
            return 408
        case UpstreamUnreachable():
            return 500
        case UpstreamLimited(status=status):
            return status or 429
        case UpstreamFailed(status=status):
            return status if status >= 400 else 502


def _detail(status: int, text: str) -> Response:
    return JSONResponse({"detail": text}, status)
