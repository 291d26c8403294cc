"""How a stream begins, told by the record's status. Pure.

Source: agent-platform contract, section 4.9.
"""

from enum import StrEnum

from isthmus.core.workflow import WAITING, Status, StatusEvent


class Mode(StrEnum):
    """A first turn, an answer to a pause, or another try from the last checkpoint."""

    START = "start"
    RESUME = "resume"
    RETRY = "retry"

    @property
    def event(self) -> StatusEvent:
        """The move that the record makes."""
        return StatusEvent(self.value)


def mode_of(status: Status) -> Mode:
    """How a stream on a record in this status begins; the store refuses moves it cannot make."""
    if status is Status.CREATED:
        return Mode.START
    if status in WAITING:
        return Mode.RESUME
    return Mode.RETRY


def event_of(mode: Mode, status: Status) -> StatusEvent:
    """The move of a record in this status; one that a lost server left paused is resumed.

    An instance refuses to retry a paused workflow, so that the contract's own move would fail.
    """
    return StatusEvent.RESUME if status is Status.PAUSED else mode.event
