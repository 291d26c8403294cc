"""Which runners have lapsed, told by their beats."""

from hypothesis import given
from hypothesis import strategies as st

from isthmus.platform.lease import LAPSE_S, Watch


def test_a_beat_that_stands_still_lapses() -> None:
    watch = Watch()
    watch.note({"a": 1, "b": 1}, 10.0)
    watch.note({"a": 2, "b": 1}, 11.0)
    assert watch.lapsed(10.0 + LAPSE_S) == {"b"}
    assert watch.lapsed(11.0 + LAPSE_S) == {"a", "b"}


def test_a_runner_that_was_struck_off_and_returns_is_new() -> None:
    watch = Watch()
    watch.note({"a": 1}, 0.0)
    watch.note({}, 1.0)
    assert watch.lapsed(9.0) == frozenset()
    watch.note({"a": 1}, 10.0)
    assert watch.lapsed(10.0 + LAPSE_S / 2) == frozenset()


@given(st.lists(st.floats(0.01, 1.5), min_size=1, max_size=50))
def test_a_runner_that_beats_never_lapses(pauses_s: list[float]) -> None:
    watch, now_s = Watch(), 0.0
    for beat, pause_s in enumerate(pauses_s):
        watch.note({"a": beat}, now_s)
        now_s += pause_s
        assert watch.lapsed(now_s) == frozenset()
