"""How code and context are cut to a model's size."""

from isthmus.core.messages import ContextItem
from isthmus.gateway.budget import cut, estimate


def item(name: str, chars: int) -> ContextItem:
    return ContextItem("file", name, "c" * chars)


def test_what_fits_stays_whole() -> None:
    found = cut("prefix", "suffix", (item("a", 3),), 1_000)
    assert (found.prefix, found.suffix, found.context) == ("prefix", "suffix", (item("a", 3),))


def test_the_suffix_gets_seven_percent_and_the_prefix_the_rest() -> None:
    found = cut("p" * 500 + "END", "START" + "s" * 500, (), 100)
    assert len(found.suffix) == 21
    assert found.suffix.startswith("START")
    assert len(found.prefix) == 300 - 21
    assert found.prefix.endswith("END")


def test_context_gets_thirty_percent_item_by_item() -> None:
    items = (item("a", 50), item("b", 60), item("c", 30))
    found = cut("p" * 500, "", items, 100)
    assert [kept.name for kept in found.context] == ["a", "c"]
    assert found.context_tokens_sent == 17 + 20 + 10
    assert found.context_tokens_used == 17 + 10
    assert len(found.prefix) == 300 - 82


def test_no_room_is_no_text() -> None:
    found = cut("prefix", "suffix", (item("a", 1),), -5)
    assert (found.prefix, found.suffix, found.context) == ("", "", ())


def test_tokens_are_rounded_up() -> None:
    assert [estimate(chars) for chars in (0, 1, 3, 4)] == [0, 1, 1, 2]
