"""What is expected of a deployment after the calls that it has answered."""

import pytest

from isthmus.routing.health import NOISE_S, Health

NOW_S = 1000.0


def told(*times_s: float, now_s: float = NOW_S) -> Health:
    health = Health(half_life_s=10.0)
    for took_s in times_s:
        health.answered(took_s, now_s)
    return health


def test_nothing_known_is_as_assumed() -> None:
    assert Health().first_byte_s(NOW_S, 0.3) == 0.3
    assert Health().mean_s == 0.0


def test_calls_of_the_same_moment_count_alike() -> None:
    assert told(*[0.2, 0.4] * 50).first_byte_s(NOW_S, 0.1) == pytest.approx(0.3, rel=0.01)


def test_one_call_counts_no_more_than_what_is_assumed() -> None:
    assert told(2.0).first_byte_s(NOW_S, 0.1) == pytest.approx(1.05)


def test_a_call_loses_half_its_weight_in_a_half_life() -> None:
    health = told(*[1.0] * 100)
    for _ in range(50):
        health.answered(4.0, NOW_S + 10.0)
    assert health.first_byte_s(NOW_S + 10.0, 0.1) == pytest.approx(2.5, rel=0.01)


def test_one_that_was_slow_is_forgotten_in_time() -> None:
    health = told(2.0)
    expected = [health.first_byte_s(NOW_S + after_s, 0.1) for after_s in (0.0, 30.0, 60.0, 600.0)]
    assert expected == sorted(expected, reverse=True)
    assert expected[-1] == pytest.approx(0.1)


def test_calls_in_flight_weigh_by_the_share() -> None:
    health = told(0.2)
    expected_s = health.first_byte_s(NOW_S, 0.1) + NOISE_S
    assert health.score(NOW_S, 0.1) == pytest.approx(expected_s)
    health.in_flight = 3
    assert health.score(NOW_S, 0.1) == pytest.approx(4 * expected_s)
    assert health.score(NOW_S, 0.1, share=3.0) == pytest.approx(2 * expected_s)


def test_the_p95_is_of_the_last_64() -> None:
    health = told(*[9.0] * 100, *(n / 100 for n in range(60)))
    assert health.p95_s() == 9.0
    for n in range(60, 64):
        health.answered(n / 100, NOW_S)
    assert health.p95_s() == pytest.approx(0.60)


def test_few_calls_have_no_p95() -> None:
    assert told(*[1.0] * 19).p95_s() is None
    assert told(*[1.0] * 19, 2.0).p95_s() == 1.0
