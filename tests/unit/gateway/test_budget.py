"""How code and context are cut to a model's size."""

from isthmus.core.messages import ContextItem
from isthmus.gateway.budget import (
    CHARS_A_TOKEN,
    CONTEXT_PART,
    MOST_CHARS_A_TOKEN,
    SUFFIX_PART,
    chars_a_token,
    cut,
    estimate,
    shortened,
)


def item(name: str, chars: int) -> ContextItem:
    return ContextItem("file", name, "c" * chars)


def test_what_fits_stays_whole() -> None:
    found = cut("prefix", "suffix", (item("a", 3),), 1_000)
    assert (found.prefix, found.suffix, found.context) == ("prefix", "suffix", (item("a", 3),))


def test_the_suffix_gets_seven_percent_and_the_prefix_the_rest() -> None:
    found = cut("1 " * 500 + "END", "START" + " 1" * 500, (), 100)
    room = int(100 * chars_a_token("1 " * 500 + "END" + "START" + " 1" * 500))
    assert found.suffix == ("START" + " 1" * 500)[: int(room * SUFFIX_PART)]
    assert len(found.prefix) == room - len(found.suffix)
    assert found.prefix.endswith("END")


def test_context_gets_its_part_in_the_order_of_worth() -> None:
    lines = "c = 1\n" * 200
    items = tuple(ContextItem("file", name, lines) for name in "abcd")
    found = cut("p", "", items, 7_500)
    room = int(7_500 * chars_a_token("p" + lines) * CONTEXT_PART)
    assert [kept.name for kept in found.context] == ["a", "b", "c"]
    assert found.context[0] == items[0]
    assert lines.startswith(found.context[2].content)
    assert found.context[2].content.endswith("\n")
    assert sum(len(kept.content) + 1 for kept in found.context) <= room
    assert found.context_tokens_sent == 4 * 400
    assert found.context_tokens_used == sum(estimate(len(k.content)) for k in found.context)


def test_context_for_a_server_of_the_caller_s_own_gets_what_the_prefix_leaves() -> None:
    items = (item("a", 4_000), item("b", 1_000))
    assert [kept.name for kept in cut("p = 1", "", items, 2_400).context] == ["a"]
    assert cut("p = 1", "", items, 2_400, 1.0).context == items


def test_the_imports_stay_when_the_prefix_is_cut() -> None:
    imports = "import a\nfrom b import (\n    c,\n    d,\n)\nimport e\n"
    text = "# licence\n\n" + imports + "\nx = 1\nimport f\n" + "y = 2\n" * 1_000 + "END"
    found = shortened(text, 1_000)
    assert len(found) == 1_000
    assert found.startswith(imports + "y = 2\n") or found[len(imports) :].lstrip("2= \n")[:1] == "y"
    assert found.endswith("END")
    assert shortened("#include <a>\n" * 1_000, 500).startswith("#include <a>\n")
    assert shortened("x" * 2_000, 500) == "x" * 500
    assert shortened("import a\n" * 10, 5) == "rt a\n"


def test_no_room_is_no_text() -> None:
    found = cut("prefix", "suffix", (item("a", 1),), -5)
    assert (found.prefix, found.suffix, found.context) == ("", "", ())


def test_tokens_are_rounded_up() -> None:
    assert [estimate(chars) for chars in (0, 1, 3, 4)] == [0, 1, 1, 2]


def test_dense_text_takes_more_tokens() -> None:
    code = "def handle_request(self, request):\n    return self.answer(request)\n" * 20
    assert 3.0 < chars_a_token(code) < 4.5
    assert chars_a_token("0x1f,0x2e,0x3d," * 50) < 1.6
    assert chars_a_token("") == CHARS_A_TOKEN
    assert chars_a_token(" " * 1_000) == MOST_CHARS_A_TOKEN
    assert chars_a_token("é" * 10) >= 1
