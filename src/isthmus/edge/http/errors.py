"""Failures -> status and body, by one table, and the last line of defence for everything else."""

import math
import traceback

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus.core.errors import (
    CannotSign,
    ClientGone,
    Conflict,
    Failure,
    Forbidden,
    InsufficientCredits,
    InsufficientScope,
    Interrupted,
    Invalid,
    LimitExceeded,
    MisconfiguredProvider,
    NotBuilt,
    NotEnabled,
    NotEntitled,
    NotFound,
    Rejected,
    StoreDown,
    TooLarge,
    ToolRefused,
    Unauthenticated,
    Unavailable,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnreachable,
    Withheld,
)
from isthmus.core.events import Crashed, Noted
from isthmus.core.ports import Telemetry
from isthmus.edge.http.exchange import Exchange, exchange_of
from isthmus.gateway.payloads import PayloadPolicy

STATUS: dict[type[Failure], int] = {
    Invalid: 422,
    Rejected: 400,
    TooLarge: 413,
    Unauthenticated: 401,
    Forbidden: 403,
    NotEntitled: 403,
    InsufficientScope: 403,
    NotEnabled: 402,
    InsufficientCredits: 402,
    NotBuilt: 501,
    NotFound: 404,
    Conflict: 409,
    LimitExceeded: 429,
    Withheld: 403,
    ClientGone: 499,
    ToolRefused: 400,
    Unavailable: 503,
    StoreDown: 503,
    Interrupted: 503,
    MisconfiguredProvider: 500,
    CannotSign: 500,
    UpstreamFailed: 503,
    UpstreamLimited: 429,
    UpstreamUnreachable: 503,
    UpstreamTimeout: 503,
}
"""Status of each failure. Source: HTTP gateway contract, sections 4.10 and 10.5."""

UNAVAILABLE_RETRY_S = 5.0
FAULTS_SHOWN = 50


def respond(failure: Failure, *, verbose: bool) -> Response:
    """The answer to a failure. `verbose` lets the body of a 422 name the fields at fault."""
    match failure:
        case Unauthenticated():
            body = {"error": failure.detail}
        case Invalid():
            body = {"detail": _faults(failure) if verbose else "Validation error"}
        case InsufficientCredits():
            body = _quota("insufficient_credits", "USAGE_QUOTA_EXCEEDED", failure.detail)
        case NotEntitled():
            body = _quota("not_entitled", "USAGE_QUOTA_NOT_ENTITLED", failure.detail)
        case LimitExceeded(rule=rule) if rule:
            body = {"detail": failure.detail, "rule": rule}
        case UpstreamLimited():
            body = {"detail": "Too many requests. Please try again later."}
        case UpstreamFailed() | UpstreamTimeout():
            body = {"detail": "Inference failed"}
        case _:
            body = {"detail": failure.detail}
    return JSONResponse(body, status(failure), headers=retry(failure))


def status(failure: Failure) -> int:
    """The failure's status; a kind that has none of its own takes its parent's."""
    for kind in type(failure).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def _quota(error: str, code: str, message: str) -> dict[str, str]:
    return {"error": error, "error_code": code, "message": message}


def _faults(failure: Invalid) -> str:
    faults = [
        {"loc": fault.field or "body", "msg": fault.reason}
        for fault in failure.fields[:FAULTS_SHOWN]
    ]
    return str(faults) if faults else failure.detail


def retry(failure: Failure) -> dict[str, str] | None:
    """The header that says when another try makes sense, where that is known."""
    match failure:
        case LimitExceeded() | UpstreamLimited():
            seconds = failure.retry_after_s
        case Unavailable(retry_after_s=wait_s) if wait_s is not None:
            seconds = wait_s
        case Unavailable() | Interrupted() | UpstreamFailed(retryable=True) | UpstreamTimeout():
            seconds = UNAVAILABLE_RETRY_S
        case _:
            seconds = None
    return None if seconds is None else {"retry-after": str(max(0, math.ceil(seconds)))}


class Errors:
    """Answers for every failure of what it wraps.

    Once the status line is out nothing can be said any more: the connection is then left without
    its end, which makes the server close it, so that the caller never takes a part for the whole.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry, payloads: PayloadPolicy) -> None:
        self._app = app
        self._telemetry = telemetry
        self._payloads = payloads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Failure as failure:
            exchange = exchange_of(scope)
            if isinstance(failure, Unauthenticated):
                exchange.fields.append(("auth_error_details", failure.detail))
            else:
                exchange.fields.append(("http_exception_details", failure.detail))
                if status(failure) >= 500:
                    exchange.fields.append(("exception_class", type(failure).__name__))
            if exchange.started:
                self._break(scope, exchange, failure)
            else:
                own = exchange.refuse and exchange.refuse(failure)
                client = exchange.client
                verbose = client is not None and self._payloads.allows(client)
                reply = own or respond(failure, verbose=verbose)
                await reply(scope, receive, send)
        except Exception as bug:  # noqa: BLE001 - this edge answers for whatever goes wrong inside
            self._telemetry.emit(_crash(scope, bug))
            exchange = exchange_of(scope)
            exchange.fields.append(("exception_class", type(bug).__name__))
            if not exchange.started:
                reply = PlainTextResponse("Internal Server Error", 500)
                await reply(scope, receive, send)

    def _break(self, scope: Scope, exchange: Exchange, failure: Failure) -> None:
        if not exchange.gone:
            details = (("path", scope["path"]), ("failure", type(failure).__name__))
            self._telemetry.emit(Noted("warning", "An answer broke off.", details))


def _crash(scope: Scope, bug: Exception) -> Crashed:
    """The bug as a fact. Messages of exceptions stay out: they may quote what the caller sent."""
    where = f"{scope['method']} {scope['path']}"
    return Crashed(where, type(bug).__name__, trace(bug))


def trace(bug: BaseException) -> str:
    """The frames of an exception and of those that led to it, at most five, without messages."""
    parts: list[str] = []
    cause: BaseException | None = bug
    while cause is not None and len(parts) < 5:
        frames = "".join(traceback.format_tb(cause.__traceback__)[-30:])
        parts.append(f"{frames}{type(cause).__name__}\n")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "raised from:\n".join(parts)
