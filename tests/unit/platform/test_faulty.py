"""How often a model gave answers that are of no use."""

from isthmus.platform import faulty
from isthmus.platform.history import Stored, StoredUse

GOAL: Stored = {"role": "user", "text": "go"}
GOOD: StoredUse = {"id": "a", "name": "t", "arguments": "{}"}
BAD: StoredUse = {"id": "b", "name": "t", "arguments": "{}", "fault": "no"}
SAID: Stored = {"role": "assistant", "text": "half an ans"}
RESULT: Stored = {"role": "tool", "id": "a", "text": "ok"}


def called(*uses: StoredUse) -> Stored:
    return {"role": "assistant", "text": "", "tools": list(uses)}


def test_answers_that_were_cut_off_in_a_row_are_counted() -> None:
    again = faulty.again("m")
    assert faulty.cuts([]) == faulty.cuts([GOAL]) == 0
    assert faulty.cuts([GOAL, SAID, again, SAID, again]) == 2
    assert faulty.cuts([GOAL, SAID, again, called(GOOD), RESULT]) == 0
    assert faulty.cuts([GOAL, SAID, again, called(GOOD), RESULT, SAID, again]) == 1


def test_the_next_answer_takes_the_place_of_one_that_was_cut_off() -> None:
    assert faulty.begun([GOAL, SAID, faulty.again("m")]) == "m"
    assert faulty.begun([]) == faulty.begun([GOAL]) == faulty.begun([GOAL, SAID]) == ""
    assert faulty.begun([{"role": "user", "text": faulty.CUT}]) == "", "a user's own words"


def test_calls_that_cannot_be_read_are_counted_by_answers_in_a_row() -> None:
    assert faulty.malformed([GOAL]) == 0
    assert faulty.malformed([GOAL, called(BAD, GOOD), RESULT, RESULT, called(BAD), RESULT]) == 2
    assert faulty.malformed([GOAL, called(BAD), RESULT, called(GOOD), RESULT]) == 0
    assert faulty.malformed([called(BAD), RESULT, GOAL]) == 0
