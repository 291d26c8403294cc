"""How much of what a search found is handed on."""

from isthmus.core.page import Passage
from isthmus.gateway.search import estimate, within


def passages(*words: int) -> list[Passage]:
    return [Passage(str(index), "word " * count) for index, count in enumerate(words)]


def test_passages_are_taken_while_they_fit() -> None:
    assert [one.id for one in within(passages(40, 40, 40, 1), 120)] == ["0", "1"]
    assert [one.id for one in within(passages(10, 10), 8_000)] == ["0", "1"]
    assert within((), 8_000) == ()


def test_the_first_passage_is_cut_to_fit() -> None:
    (one,) = within(passages(1_000, 5), 140)
    assert 90 <= len(one.content.split()) <= 101
    assert estimate(one.content) <= 141.4


def test_writing_without_spaces_has_a_size_too() -> None:
    (one,) = within([Passage("a", "語" * 100_000)], 1_000)
    assert len(one.content) == 8_000
