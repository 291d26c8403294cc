"""When a breaker opens, for how long, and who is let through to try again."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.routing.breaker import (
    CALM_S,
    FIRST_PAUSE_S,
    LIMITED_MOST_S,
    Breaker,
    Fault,
)

NOW_S = 1000.0


def breaker(roll: float = 0.5) -> Breaker:
    return Breaker(lambda: roll)


def opened(one: Breaker, now_s: float = NOW_S) -> Breaker:
    while one.failed(now_s) != "open":
        pass
    return one


def test_four_failures_in_a_row_leave_it_closed_and_the_fifth_opens_it() -> None:
    one = breaker()
    assert [one.failed(NOW_S) for _ in range(5)] == [None, None, None, None, "open"]
    assert one.state(NOW_S) == "open"
    assert not one.allows(NOW_S)
    assert not one.claim(NOW_S)


def test_a_success_ends_a_row() -> None:
    one = breaker()
    for _ in range(2):
        assert [one.failed(NOW_S) for _ in range(4)] == [None] * 4
        assert one.succeeded(NOW_S) is None
    assert one.state(NOW_S) == "closed"


def test_half_of_the_last_twenty_open_it() -> None:
    one = breaker()
    moves = [one.failed(NOW_S) if n % 2 else one.succeeded(NOW_S) for n in range(20)]
    assert moves == [None] * 19 + ["open"]


def test_nine_of_every_twenty_do_not() -> None:
    one = breaker()
    for n in range(400):
        assert (one.failed(NOW_S) if n % 20 in range(1, 18, 2) else one.succeeded(NOW_S)) is None


def test_one_call_at_a_time_tries_it_again() -> None:
    one = opened(breaker())
    later_s = NOW_S + FIRST_PAUSE_S
    assert not one.allows(later_s - 0.01)
    assert one.allows(later_s)
    assert one.state(later_s) == "half open"
    assert one.claim(later_s)
    assert one.probing
    assert not one.allows(later_s)
    assert not one.claim(later_s)
    assert one.succeeded(later_s) == "closed"
    assert not one.probing
    assert one.claim(later_s)
    assert not one.probing


def test_a_trial_that_is_given_up_leaves_its_place() -> None:
    one = opened(breaker())
    later_s = NOW_S + FIRST_PAUSE_S
    assert one.claim(later_s)
    one.abandoned()
    assert one.state(later_s) == "half open"
    assert one.claim(later_s)


def test_it_stays_open_twice_as_long_each_time() -> None:
    one = opened(breaker())
    now_s, pauses = NOW_S, list[float]()
    for _ in range(6):
        pauses.append(one.ready_in_s(now_s))
        now_s += pauses[-1]
        assert one.claim(now_s)
        assert one.failed(now_s) == "open"
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_pauses_are_spread_by_the_roll() -> None:
    assert opened(breaker(0.0)).ready_in_s(NOW_S) == pytest.approx(4.0)
    assert opened(breaker(1.0)).ready_in_s(NOW_S) == pytest.approx(6.0)


@pytest.mark.parametrize(("calm_s", "pause_s"), [(CALM_S - 1.0, 10.0), (CALM_S + 1.0, 5.0)])
def test_one_that_opens_soon_after_it_closed_waits_longer(calm_s: float, pause_s: float) -> None:
    one = opened(breaker())
    closed_s = NOW_S + FIRST_PAUSE_S
    assert one.claim(closed_s)
    assert one.succeeded(closed_s) == "closed"
    opened(one, closed_s + calm_s)
    assert one.ready_in_s(closed_s + calm_s) == pytest.approx(pause_s)


def test_failures_before_it_opened_are_forgotten_when_it_closes() -> None:
    one = opened(breaker())
    one.claim(NOW_S + FIRST_PAUSE_S)
    one.succeeded(NOW_S + FIRST_PAUSE_S)
    assert [one.failed(NOW_S + FIRST_PAUSE_S) for _ in range(4)] == [None] * 4


def test_results_of_calls_that_began_before_it_opened_change_nothing() -> None:
    one = opened(breaker())
    assert one.failed(NOW_S + 1.0) is None
    assert one.succeeded(NOW_S + 1.0) is None
    assert one.ready_in_s(NOW_S + 1.0) == FIRST_PAUSE_S - 1.0


@pytest.mark.parametrize("before", ["closed", "open", "half open"])
def test_a_refused_key_kills_it_until_it_is_revived(before: str) -> None:
    one = breaker() if before == "closed" else opened(breaker())
    now_s = NOW_S + (FIRST_PAUSE_S if before == "half open" else 0.0)
    one.claim(now_s)
    assert one.failed(now_s, "key") == "dead"
    assert one.failed(now_s, "key") is None
    assert one.succeeded(now_s) is None
    assert one.state(now_s + 1e9) == "dead"
    assert not one.claim(now_s + 1e9)
    assert one.ready_in_s(now_s) == inf
    assert one.revived() == "closed"
    assert one.claim(now_s)
    assert not one.probing
    assert [one.failed(now_s) for _ in range(4)] == [None] * 4


def test_only_the_dead_are_revived() -> None:
    one = opened(breaker())
    assert one.revived() is None
    assert one.state(NOW_S) == "open"


def test_what_asks_for_a_pause_gets_it_and_needs_no_trial() -> None:
    one = breaker()
    assert one.failed(NOW_S, "limited", 30.0) == "open"
    assert one.state(NOW_S + 29.0) == "open"
    assert one.ready_in_s(NOW_S) == 30.0
    assert not one.claim(NOW_S + 29.0)
    assert one.state(NOW_S + 30.0) == "closed"
    assert [one.claim(NOW_S + 30.0) for _ in range(3)] == [True] * 3
    assert not one.probing
    assert one.succeeded(NOW_S + 30.0) == "closed"
    assert one.succeeded(NOW_S + 30.0) is None


def test_one_failure_after_a_pause_that_was_asked_for_counts_as_one() -> None:
    one = breaker()
    one.failed(NOW_S, "limited", 1.0)
    assert one.failed(NOW_S + 1.0) == "closed"
    assert [one.failed(NOW_S + 1.0) for _ in range(4)] == [None, None, None, "open"]


def test_a_second_pause_follows_the_first() -> None:
    one = breaker()
    one.failed(NOW_S, "limited", 10.0)
    assert one.failed(NOW_S + 5.0, "limited", 10.0) is None
    assert one.ready_in_s(NOW_S + 5.0) == 10.0
    assert one.failed(NOW_S + 15.0, "limited", 10.0) == "open"


def test_a_short_pause_is_one_too() -> None:
    one = breaker()
    assert one.failed(NOW_S, "limited", 0.5) == "open"
    assert one.ready_in_s(NOW_S) == 0.5


def test_a_limit_that_names_no_time_is_a_failure() -> None:
    one = breaker()
    assert [one.failed(NOW_S, "limited") for _ in range(5)] == [None, None, None, None, "open"]


def test_a_pause_has_an_end_whatever_is_asked_for() -> None:
    one = breaker()
    one.failed(NOW_S, "limited", 1e12)
    assert one.ready_in_s(NOW_S) == LIMITED_MOST_S


def test_a_failure_that_asks_for_a_pause_opens_for_no_less() -> None:
    one = breaker()
    for _ in range(5):
        one.failed(NOW_S, "failed", 20.0)
    assert one.ready_in_s(NOW_S) == 20.0


def test_a_trial_that_is_out_counts_as_the_shortest_pause() -> None:
    one = opened(breaker())
    one.claim(NOW_S + FIRST_PAUSE_S)
    assert one.ready_in_s(NOW_S + FIRST_PAUSE_S) == FIRST_PAUSE_S
    assert breaker().ready_in_s(NOW_S) == 0.0


STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 30.0),
        st.sampled_from(["claim", "succeeded", "failed", "limited", "key", "abandoned"]),
    ),
    max_size=120,
)


@given(STEPS)
def test_whatever_happens_no_two_try_at_once_and_only_the_dead_stay_out(
    steps: list[tuple[float, str]],
) -> None:
    one, now_s, told = breaker(), NOW_S, "closed"
    for after_s, step in steps:
        now_s += after_s
        moved = None
        match step:
            case "claim":
                trying = one.probing
                if one.claim(now_s) and one.probing:
                    assert not trying
            case "succeeded":
                moved = one.succeeded(now_s)
            case "abandoned":
                one.abandoned()
            case _:
                kind: Fault = "limited" if step == "limited" else "failed"
                kind = "key" if step == "key" else kind
                moved = one.failed(now_s, kind, 3.0 if step == "limited" else None)
        told = moved or told
        if told == "closed":
            assert one.claim(now_s)
        assert (one.state(now_s) == "dead") == (told == "dead")
    one.abandoned()
    assert one.claim(now_s + LIMITED_MOST_S) == (told != "dead")
