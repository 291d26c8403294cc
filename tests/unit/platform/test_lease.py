"""Which runners have lapsed, told by their beats."""

from hypothesis import given
from hypothesis import strategies as st

from isthmus.platform.lease import BEAT_S, LAPSE_S, LATE_S, Watch


def looked(watch: Watch, beats: dict[str, int], begin_s: float, end_s: float) -> None:
    """Look as often as a runner does."""
    now_s = begin_s
    while now_s <= end_s:
        watch.note(beats, now_s)
        now_s += BEAT_S


def test_a_beat_that_stands_still_lapses() -> None:
    watch = Watch()
    looked(watch, {"a": 1, "b": 1}, 10.0, 10.5)
    looked(watch, {"a": 2, "b": 1}, 11.0, 10.0 + LAPSE_S - BEAT_S)
    assert not watch.lapsed()
    watch.note({"a": 2, "b": 1}, 10.0 + LAPSE_S)
    assert watch.lapsed() == {"b": 1}
    looked(watch, {"a": 2, "b": 1}, 12.5, 11.0 + LAPSE_S)
    assert watch.lapsed() == {"a": 2, "b": 1}


def test_a_runner_that_was_struck_off_and_returns_is_new() -> None:
    watch = Watch()
    watch.note({"a": 1}, 0.0)
    watch.note({}, 1.0)
    looked(watch, {"a": 1}, 10.0, 10.0 + LAPSE_S / 2)
    assert not watch.lapsed()


def test_while_nobody_could_look_nobody_lapses() -> None:
    """A machine that was suspended with all its servers, or a database that stood still."""
    watch = Watch()
    watch.note({"a": 1}, 0.0)
    watch.note({"a": 1}, 600.0)
    assert not watch.lapsed()
    # What may pass between two looks has passed; the dead are found all the same.
    looked(watch, {"a": 1}, 600.0 + BEAT_S, 600.0 + LAPSE_S - LATE_S)
    assert watch.lapsed() == {"a": 1}


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=50))
def test_a_runner_that_beats_never_lapses(pauses_s: list[float]) -> None:
    watch, now_s = Watch(), 0.0
    for beat, pause_s in enumerate(pauses_s):
        watch.note({"a": beat // 2}, now_s)
        now_s += pause_s
        assert not watch.lapsed()
