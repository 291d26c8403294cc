"""How calls are shared among equal deployments, and among those that are not."""

from collections import Counter
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.routing.balance import pick, ranked, scores
from isthmus.routing.breaker import Breaker
from isthmus.routing.health import Health

NOW_S = 1000.0
WEIGHTS = st.lists(st.just(0.0) | st.floats(0.01, 100.0), min_size=1, max_size=8)
ROLLS = st.floats(0.0, 1.0, exclude_max=True)


def fresh(count: int) -> list[Health]:
    return [Health() for _ in range(count)]


@given(WEIGHTS, ROLLS)
def test_every_deployment_is_in_the_order_once(weights: list[float], roll: float) -> None:
    order = ranked(weights, fresh(len(weights)), NOW_S, roll)
    assert sorted(order) == list(range(len(weights)))


@given(WEIGHTS, ROLLS)
def test_the_same_roll_gives_the_same_order(weights: list[float], roll: float) -> None:
    first = ranked(weights, fresh(len(weights)), NOW_S, roll)
    assert ranked(weights, fresh(len(weights)), NOW_S, roll) == first


@given(st.lists(st.integers(0, 5), min_size=2, max_size=6).filter(any))
def test_equals_are_picked_by_weight(weights: list[int]) -> None:
    rolls = 4000
    healths = fresh(len(weights))
    picks = Counter(pick(weights, healths, NOW_S, n / rolls) for n in range(rolls))
    for position, weight in enumerate(weights):
        assert picks[position] / rolls == pytest.approx(weight / sum(weights), abs=0.002)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (3.0, 2.0, 1.0)])
def test_calls_that_take_their_time_are_shared_by_weight_too(weights: tuple[float, ...]) -> None:
    random = Random(1)  # noqa: S311 - a reproducible sample
    healths, picks = fresh(3), Counter[int]()
    flying: list[int] = []
    for _ in range(6000):
        chosen = pick(weights, healths, NOW_S, random.random())
        picks[chosen] += 1
        healths[chosen].in_flight += 1
        healths[chosen].answered(random.uniform(0.19, 0.21), NOW_S)
        flying.append(chosen)
        if len(flying) > 24:
            healths[flying.pop(random.randrange(24))].in_flight -= 1
    for position, weight in enumerate(weights):
        assert picks[position] / 6000 == pytest.approx(weight / sum(weights), abs=0.06)


@pytest.mark.parametrize("took_s", [0.003, 0.4, 5.0])
def test_one_that_nobody_asked_yet_is_not_passed_over(took_s: float) -> None:
    healths = fresh(3)
    healths[0].answered(took_s, NOW_S)
    picks = Counter(pick((1, 1, 1), healths, NOW_S, n / 300) for n in range(300))
    assert picks == {0: 100, 1: 100, 2: 100}


def test_differences_that_nobody_feels_do_not_count() -> None:
    healths = fresh(2)
    healths[0].answered(0.001, NOW_S)
    healths[1].answered(0.005, NOW_S)
    picks = Counter(pick((1, 3), healths, NOW_S, n / 400) for n in range(400))
    assert picks == {0: 100, 1: 300}


def test_scores_are_comparable_where_little_is_known() -> None:
    healths = fresh(3)
    healths[1].answered(0.4, NOW_S)
    assert scores((1, 1, 0), healths, NOW_S) == pytest.approx([0.42, 0.42, inf])
    assert scores((), (), NOW_S) == []
    healths[0].in_flight = 3
    assert scores((3, 1), healths[:2], NOW_S) == pytest.approx([3 * 0.42, 0.42])


def test_a_slow_one_gets_little() -> None:
    random = Random(1)  # noqa: S311 - a reproducible sample
    healths, picks, now_s = fresh(3), Counter[int](), NOW_S
    for _ in range(3000):
        now_s += 0.01
        chosen = pick((1, 1, 1), healths, now_s, random.random())
        picks[chosen] += 1
        healths[chosen].answered(2.0 if chosen == 0 else 0.2, now_s)
    assert 1 <= picks[0] <= 30


def test_a_busy_one_is_passed_over() -> None:
    healths = fresh(2)
    healths[0].in_flight = 5
    assert {pick((1, 1), healths, NOW_S, n / 10) for n in range(10)} == {1}


def test_the_calls_of_a_busy_one_go_to_the_others_by_weight() -> None:
    healths = fresh(3)
    healths[0].in_flight = 1000
    picks = Counter(pick((3, 1, 2), healths, NOW_S, n / 6000) for n in range(6000))
    assert picks[0] == 0
    assert picks[1] == pytest.approx(2000, abs=10)


def test_a_dead_one_gets_none() -> None:
    healths, breakers = fresh(3), [Breaker() for _ in range(3)]
    breakers[1].failed(NOW_S, "key")
    alive = [position for position, one in enumerate(breakers) if one.allows(NOW_S)]
    for n in range(100):
        order = ranked([1.0] * 2, [healths[position] for position in alive], NOW_S, n / 100)
        assert {alive[position] for position in order} == {0, 2}


def test_those_that_are_not_picked_follow_by_score() -> None:
    healths = fresh(4)
    for position, took_s in enumerate((0.4, 0.1, 0.3, 0.2)):
        healths[position].answered(took_s, NOW_S)
    assert ranked((1, 1, 1, 1), healths, NOW_S, 0.0) == (1, 3, 2, 0)


def test_weight_zero_is_the_last_resort() -> None:
    assert {ranked((0, 1, 2), fresh(3), NOW_S, n / 10)[-1] for n in range(10)} == {0}
    assert ranked((0, 0), fresh(2), NOW_S, 0.9) == (0, 1)


def test_nothing_and_one_need_no_choice() -> None:
    assert ranked((), (), NOW_S, 0.0) == ()
    assert ranked((1.0,), fresh(1), NOW_S, 0.5) == (0,)
    assert pick((1.0,), fresh(1), NOW_S, 0.5) == 0
    assert pick((0.0, 0.0), fresh(2), NOW_S, 0.5) == 0
