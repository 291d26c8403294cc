"""How a turn that is over ends its stream: record, last notice, failure. Pure.

Source: agent-platform contract, sections 4.7 and 4.8.
"""

from dataclasses import dataclass
from typing import cast

from isthmus.core.errors import (
    ClientGone,
    Failure,
    Interrupted,
    LimitExceeded,
    MisconfiguredProvider,
    StoreDown,
    TooLarge,
    UpstreamFailed,
    UpstreamTimeout,
)
from isthmus.core.workflow import Status, StatusEvent
from isthmus.platform.protocol import Halt, Reason

PROVIDER_TROUBLE = "The model's provider has a problem at the moment. Try again a little later."
MODEL_FAILED = "The model could not answer. Try again, or ask your administrator."
PAUSED = "The session pauses; nothing that was stored is lost. Go on with it a little later."
TOO_LONG = "The session's turn took longer than `platform.session_s` allows, and was ended."
UNKNOWN = "Something went wrong in this session. Try again, or contact your support."


@dataclass(frozen=True, slots=True)
class Ending:
    """`shown` is the status of the last notice: None sends none, RUNNING the state as it is."""

    outcome: str
    raised: Exception | None = None
    event: StatusEvent | None = None
    shown: Status | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class How:
    """What is known of a turn that is over. `settled`: its record waits for the user already."""

    halt: Halt | None = None
    error: Exception | None = None
    final: Status | None = None
    settled: bool = False


def of(how: How, limit_bytes: int) -> Ending:
    """The ending of a turn that was halted, failed, or came to its end."""
    if how.halt is not None:
        return _halted(how.halt, limit_bytes)
    if how.error is not None:
        return _failed(how.error, settled=how.settled)
    if how.final is Status.FINISHED:
        return Ending("finished", event=StatusEvent.FINISH, shown=Status.RUNNING)
    if how.final is Status.FAILED:
        return Ending("failed", event=StatusEvent.DROP, shown=Status.RUNNING)
    return Ending("waiting", shown=Status.RUNNING)


def _failed(error: Exception, *, settled: bool) -> Ending:
    if isinstance(error, Interrupted):
        return Ending("interrupted", raised=error)
    if isinstance(error, StoreDown):
        return paused(error)
    # A turn whose record waits for the user keeps it so, even when its last step was lost.
    event = None if settled else StatusEvent.DROP
    return Ending("failed", error, event, Status.FAILED, told(error))


def paused(error: StoreDown) -> Ending:
    """The records are out of reach: the turn goes on from its last stored step, when asked again.

    The record stays as it is, for it cannot be moved.
    """
    return Ending("paused", error, None, Status.PAUSED, f"{error.detail} {PAUSED}")


def _halted(halt: Halt, limit_bytes: int) -> Ending:
    match halt.reason:
        case Reason.USER | Reason.RECORD:
            # A record that somebody else stopped is where it should be.
            event = StatusEvent.STOP if halt.reason is Reason.USER else None
            return Ending("stopped", event=event, shown=Status.STOPPED)
        case Reason.PING_FAILED:
            return Ending("interrupted")
        case Reason.SHUTDOWN | Reason.DRAIN:
            raised = Interrupted("workflow execution interrupted: RUNNING")
            return Ending("interrupted", raised=raised)
        case Reason.GONE:
            gone = ClientGone("RPC cancelled by client")
            return Ending("aborted", raised=gone, event=StatusEvent.DROP)
        case Reason.TOO_LARGE:
            large = too_large(limit_bytes)
            return Ending("failed", large, StatusEvent.DROP, Status.FAILED, large.detail)
        case Reason.DEADLINE:
            late = LimitExceeded(TOO_LONG, 0.0)
            return Ending("failed", late, StatusEvent.DROP, Status.FAILED, late.detail)


def too_large(limit_bytes: int) -> TooLarge:
    """A message to the client passed the limit."""
    return TooLarge("Outgoing message too large.", limit_bytes)


def told(error: Exception) -> str:
    """What the user may read of a failure; a bug, or a provider's own words, tell nothing."""
    match error:
        case UpstreamTimeout():
            return PROVIDER_TROUBLE
        case UpstreamFailed(status=status) if status >= 500 or status == 0:
            return PROVIDER_TROUBLE
        case UpstreamFailed() | MisconfiguredProvider():
            return MODEL_FAILED
        case Failure(detail=detail):
            return detail
        case _:
            return UNKNOWN


def alone(error: Exception) -> Exception:
    """What failed: a task group wraps even a single failure."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error
