"""The table of moves, written out a second time from the contract and compared whole."""

import pytest

from isthmus.core.errors import Conflict
from isthmus.core.workflow import MOVES, STORED, WAITING, Status, StatusEvent, after

# Agent-platform contract, 5.1: event, from, to.
TABLE = """
start                      | created                        | running
pause                      | running                        | paused
require_input              | running                        | input_required
require_plan_approval      | running                        | plan_approval_required
require_tool_call_approval | running                        | tool_call_approval_required
resume                     | paused WAITING                 | running
retry                      | running stopped failed         | running
finish                     | running                        | finished
drop                       | created running paused WAITING | failed
stop                       | created running paused WAITING | stopped
"""
THREE = "input_required plan_approval_required tool_call_approval_required"
LINES = [
    [cell.strip().replace("WAITING", THREE) for cell in line.split("|")]
    for line in TABLE.strip().splitlines()
]
LEGAL = {(source, event): target for event, sources, target in LINES for source in sources.split()}


@pytest.mark.parametrize("event", list(StatusEvent))
@pytest.mark.parametrize("status", list(Status))
def test_a_move_is_legal_exactly_when_the_contract_says_so(
    status: Status, event: StatusEvent
) -> None:
    target = LEGAL.get((status.value, event.value))
    if target is not None:
        assert after(status, event).value == target
        return
    with pytest.raises(Conflict) as caught:
        after(status, event)
    assert status.value in caught.value.detail
    assert event.value in caught.value.detail


def test_every_event_of_the_contract_has_a_line_and_no_other() -> None:
    assert {line[0] for line in LINES} == {event.value for event in StatusEvent}
    assert set(MOVES) == set(StatusEvent)


def test_the_stored_numbers_are_those_of_the_contract() -> None:
    assert {status.value: number for status, number in STORED.items()} == {
        "created": 0,
        "running": 1,
        "paused": 2,
        "finished": 3,
        "failed": 4,
        "stopped": 5,
        "input_required": 6,
        "plan_approval_required": 7,
        "tool_call_approval_required": 8,
    }


def test_what_is_over_stays_over_but_for_a_retry() -> None:
    over = {Status.FINISHED, Status.FAILED, Status.STOPPED}
    assert {event for status in over for event in MOVES if status in MOVES[event][0]} == {
        StatusEvent.RETRY
    }
    assert not any(Status.FINISHED in sources for sources, _ in MOVES.values())


def test_a_workflow_waits_for_a_person_in_three_ways() -> None:
    assert {status.value for status in WAITING} == {
        "input_required",
        "plan_approval_required",
        "tool_call_approval_required",
    }
