"""Which steps of a thread can be gone back to."""

from isthmus.platform.prune import Step, unreachable


def step(name: str, parent: str | None, mark: str = "", ns: str = "") -> Step:
    """`mark`: b for one that begins a turn, w for one that waits."""
    return Step(ns, name, parent, begins="b" in mark, waits="w" in mark)


TURN = [step("1", None, "b"), step("2", "1"), step("3", "2"), step("4", "3")]


def names(steps: list[Step]) -> list[str]:
    return [name for _, name in unreachable(steps)]


def test_of_one_turn_the_first_and_the_last_step_stay() -> None:
    assert names(TURN) == ["2", "3"]


def test_an_end_from_which_a_turn_began_stays_with_its_beginning() -> None:
    assert names([*TURN, step("5", "4", "b"), step("6", "5"), step("7", "6")]) == ["2", "3", "6"]


def test_a_pause_stays_though_its_answer_begins_no_turn() -> None:
    steps = [step("1", None, "b"), step("2", "1"), step("3", "2", "w"), step("4", "3")]
    assert names([*steps, step("5", "4"), step("6", "5")]) == ["2", "4", "5"]


def test_the_end_of_an_abandoned_branch_stays() -> None:
    assert names([*TURN, step("5", "2"), step("6", "5")]) == ["2", "3", "5"]


def test_a_fork_from_the_middle_keeps_where_it_began() -> None:
    assert names([*TURN, step("5", "2", "b"), step("6", "5")]) == ["3"]


def test_graphs_within_the_graph_are_threads_of_their_own() -> None:
    inner = [step("1", None, "b", "agent:1"), step("2", "1", "", "agent:1")]
    assert names([*TURN, *inner]) == ["2", "3"]
    assert unreachable([*inner, step("3", "2", "", "agent:1")]) == [("agent:1", "2")]


def test_nothing_goes_of_nothing() -> None:
    assert unreachable([]) == []
