"""How turns end their streams."""

import pytest

from isthmus.core.errors import (
    Interrupted,
    Invalid,
    MisconfiguredProvider,
    UpstreamFailed,
    UpstreamTimeout,
)
from isthmus.core.workflow import Status, StatusEvent
from isthmus.platform import ending
from isthmus.platform.ending import How
from isthmus.platform.protocol import Halt, Reason


@pytest.mark.parametrize(
    ("reason", "raised", "event", "shown"),
    [
        (Reason.USER, None, StatusEvent.STOP, Status.STOPPED),
        (Reason.SHUTDOWN, "Interrupted", None, None),
        (Reason.DRAIN, "Interrupted", None, None),
        (Reason.PING_FAILED, None, None, None),
        (Reason.GONE, "ClientGone", StatusEvent.DROP, None),
        (Reason.TOO_LARGE, "TooLarge", StatusEvent.DROP, Status.FAILED),
        (Reason.DEADLINE, "LimitExceeded", StatusEvent.DROP, Status.FAILED),
    ],
)
def test_every_reason_has_its_ending(
    reason: Reason, raised: str | None, event: StatusEvent | None, shown: Status | None
) -> None:
    end = ending.of(How(Halt(reason)), 9)
    assert (type(end.raised).__name__ if end.raised else None) == raised
    assert (end.event, end.shown) == (event, shown)


def test_a_turn_that_came_to_its_end_shows_its_state() -> None:
    end = ending.of(How(settled=True), 9)
    assert (end.outcome, end.raised, end.event, end.shown) == (
        "waiting",
        None,
        None,
        Status.RUNNING,
    )


def test_an_interrupted_turn_leaves_the_record_alone() -> None:
    error = Interrupted("x")
    end = ending.of(How(error=error), 9)
    assert (end.raised, end.event, end.shown) == (error, None, None)


def test_a_failed_turn_drops_its_record_unless_it_waits_for_the_user() -> None:
    assert ending.of(How(error=ValueError("x")), 9).event is StatusEvent.DROP
    assert ending.of(How(error=ValueError("x"), settled=True), 9).event is None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UpstreamFailed("words", status=529), ending.PROVIDER_TROUBLE),
        (UpstreamFailed("words"), ending.PROVIDER_TROUBLE),
        (UpstreamTimeout("words", "total"), ending.PROVIDER_TROUBLE),
        (UpstreamFailed("words", status=400), ending.MODEL_FAILED),
        (MisconfiguredProvider("key sk-1"), ending.MODEL_FAILED),
        (Invalid("Say it otherwise."), "Say it otherwise."),
        (ZeroDivisionError("words"), ending.UNKNOWN),
    ],
)
def test_users_read_of_a_failure_what_is_meant_for_them(error: Exception, text: str) -> None:
    assert ending.told(error) == text
