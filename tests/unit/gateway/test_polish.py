"""What is cut from a model's code, step by step."""

import time

import pytest

from isthmus.gateway.language import Comments
from isthmus.gateway.polish.echo import clean_model_reflection, cut_at_suffix, drop_repeats
from isthmus.gateway.polish.marks import (
    clean_irrelevant_keywords,
    filter_score,
    remove_comment_only_completion,
    strip_asterisks,
    strip_markdown_fences,
    strip_whitespaces,
)
from isthmus.gateway.polish.place import Place
from isthmus.gateway.polish.shape import (
    close_brackets,
    fix_end_block_errors,
    fix_indentation,
    fix_truncation,
    open_line,
)
from isthmus.gateway.polish.steps import COMPLETION, NAMES, TEXTUAL, WRITTEN, Polish, trim


def around(prefix: str = "", suffix: str = "") -> Place:
    return Place(prefix, suffix)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a<cursor/>b", "ab"),
        ("<|fim_middle|>x<|endoftext|>", "x"),
        ("<PRE>x<EOT>", "x"),
        ("a < b > c", "a < b > c"),
        ("<div>", "<div>"),
    ],
)
def test_markers_are_stripped(text: str, expected: str) -> None:
    assert clean_irrelevant_keywords(text, around()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```python\nx = 1\n```", "x = 1"),
        ("```\nx = 1\n\n```\n\n", "x = 1\n"),
        ("~~~~\nx\n~~~~", "x"),
        ("```py\nx = 1", "x = 1"),
        ("```\n```", ""),
        ("x = '```'\n```", "x = '```'\n```"),
        ("    x", "    x"),
    ],
)
def test_fences_are_taken_off(text: str, expected: str) -> None:
    assert strip_markdown_fences(text, around()) == expected


@pytest.mark.parametrize(
    ("prefix", "text", "expected"),
    [
        ("a = 1\nreturn a", "return a + b", " + b"),
        ("a = 1\n    return a", "return a + b", " + b"),
        ("def f():\n    x", "def f():\n    x = 1", " = 1"),
        ("a = 1\n", "b = 2", "b = 2"),
        ("x", "x1", "x1"),
        ("def one", "def two", "def two"),
    ],
)
def test_an_echo_of_the_prefix_is_dropped(prefix: str, text: str, expected: str) -> None:
    assert clean_model_reflection(text, around(prefix)) == expected


@pytest.mark.parametrize(
    ("text", "suffix", "expected"),
    [
        ("a + b\n    print(x)", "\n    print(x)\n", "a + b"),
        ("a + b\n    print(x)\n    more()", "\n    print(x)\n", "a + b"),
        ("a + b\n    print(x)\n    more()", "\n    print(x)\n    less()\n", None),
        ("value, other", ", other)", "value"),
        ("foo()", ")", "foo()"),
        ("x = 1\n}", "\n}\n", "x = 1\n}"),
        ("same", "", "same"),
    ],
)
def test_it_stops_where_the_suffix_begins(text: str, suffix: str, expected: str | None) -> None:
    assert cut_at_suffix(text, around(suffix=suffix)) == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("text", "suffix", "expected"),
    [
        ("foo(a)", ")", "foo(a)"),
        ("foo(a))", ")", "foo(a)"),
        ("a])", "])", "a"),
        ("a)", "])", "a)"),
        ("x = 1;\n}", "\n}\n", "x = 1;"),
        ("') '", ")", "') '"),
        ("a) + f(b)", ")", "a) + f(b)"),
        ("} else {", "\n}", "} else {"),
    ],
)
def test_closers_that_the_suffix_holds_are_dropped(text: str, suffix: str, expected: str) -> None:
    assert fix_end_block_errors(text, around(suffix=suffix)) == expected


@pytest.mark.parametrize(
    ("prefix", "text", "expected"),
    [
        ("# add two numbers", "def add():", "\ndef add():"),
        ("def f():", "    pass", "\n    pass"),
        ("# add\n", "def add():", "def add():"),
        ("x = ", "1", "1"),
        ("// go", "\nfunc", "\nfunc"),
    ],
)
def test_a_generation_opens_a_line_where_it_must(prefix: str, text: str, expected: str) -> None:
    assert open_line(text, around(prefix)) == expected


def test_the_steps_stop_when_nothing_is_left() -> None:
    assert trim(" \n ", around(), TEXTUAL) == ""
    assert trim("```\n```", around("x ="), WRITTEN) == ""
    assert trim("", around("# a comment"), WRITTEN) == ""


@pytest.mark.parametrize(
    ("comments", "text", "only"),
    [
        ("hash", "# a\n  # b\n", True),
        ("hash", "# a\nx = 1", False),
        ("hash", "// a", False),
        ("slash", "// a\n/* b\n c */\n", True),
        ("slash", "/* never closed", True),
        ("slash", "/* a */ x", False),
        ("dash", "-- a", True),
        ("percent", "% a", True),
        ("", "# a", False),
    ],
)
def test_comments_alone_are_no_completion(comments: Comments, text: str, only: bool) -> None:
    place = Place("", "", "x", comments)
    assert remove_comment_only_completion(text, place) == ("" if only else text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("x = 1\n** *", "x = 1"), ("**", ""), ("a\n*\n*", "a"), ("a ** b", "a ** b"), ("", "")],
)
def test_asterisks_at_the_end_go(text: str, expected: str) -> None:
    assert strip_asterisks(text, around()) == expected


@pytest.mark.parametrize(
    ("score", "least", "kept"),
    [(0.1, 0.5, False), (0.5, 0.5, True), (None, 0.5, True), (0.1, None, True)],
)
def test_a_model_that_does_not_trust_its_answer_gives_none(
    score: float | None, least: float | None, kept: bool
) -> None:
    place = Place("", "", score=score, least_score=least)
    assert filter_score("x", place) == ("x" if kept else "")


@pytest.mark.parametrize(
    ("text", "truncated", "language", "expected"),
    [
        ("a = 1\nb = foo(", True, "python", "a = 1"),
        ("a = 1\nb = foo(", False, "python", "a = 1\nb = foo("),
        ("a = 1\nb = foo(", True, "", "a = 1\nb = foo("),
        ("b = foo(", True, "python", "b = foo("),
        ("\n\nb = foo(", True, "python", "\n\nb = foo("),
    ],
)
def test_a_line_that_the_cap_cut_short_goes(
    text: str, truncated: bool, language: str, expected: str
) -> None:
    assert fix_truncation(text, Place("", "", language, truncated=truncated)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nbeta = 2\nbeta = 2\nbeta = 2", "a = 1\nbeta = 2"),
        ("f(1)\ng(2)\n" * 3 + "x", "f(1)\ng(2)\n" * 3 + "x"),
        ("f(1)\ng(2)\n" * 4, "f(1)\ng(2)"),
        ("f(1)\ng(2)\nf(1)\ng(2)\nf(1)\ng(2)", "f(1)\ng(2)"),
        ("}\n}\n}\n}", "}\n}\n}\n}"),
        ("b = 2\nb = 2", "b = 2\nb = 2"),
    ],
)
def test_a_loop_is_left_with_one_round(text: str, expected: str) -> None:
    assert drop_repeats(text, around()) == expected


@pytest.mark.parametrize(
    ("prefix", "text", "suffix", "expected"),
    [
        ("x = ", "foo(a, [b", "", "foo(a, [b])"),
        ("x = ", "foo(a", ")", "foo(a"),
        ("x = [", "foo(a", "]", "foo(a)"),
        ("print(", "foo(a", ")", "foo(a)"),
        ("x = ", "foo(a", ", b)", "foo(a"),
        ("", "if (x) {", "", "if (x) {"),
        ("", "foo(", "", "foo("),
        ("", "x = 'f(a", "", "x = 'f(a"),
        ("", "# see (there", "", "# see (there"),
        ("", "{'k': (1", "", "{'k': (1)"),
        ("", "foo(a)", "", "foo(a)"),
    ],
)
def test_brackets_that_nothing_closes_are_closed(
    prefix: str, text: str, suffix: str, expected: str
) -> None:
    assert close_brackets(text, around(prefix, suffix)) == expected


@pytest.mark.parametrize(
    ("prefix", "text", "expected"),
    [
        ("def f():\n    ", "    return 1", "return 1"),
        ("class A:\n    ", "def f(self):\n    return 1", "def f(self):\n        return 1"),
        (
            "class A:\n    ",
            "def f(self):\n        return 1",
            "def f(self):\n        return 1",
        ),
        ("def f():\n    ", "x = 1\ny = 2", "x = 1\ny = 2"),
        ("x = ", "    1", "    1"),
        ("", "def f():\n    pass", "def f():\n    pass"),
        ("\t", "if (x) {\n\ty()\n}", "if (x) {\n\t\ty()\n\t}"),
    ],
)
def test_indentation_follows_the_cursor(prefix: str, text: str, expected: str) -> None:
    assert fix_indentation(text, around(prefix)) == expected


def test_white_space_is_nothing() -> None:
    assert [strip_whitespaces(text, around()) for text in (" \n", " x ")] == ["", " x "]


def test_the_contract_s_steps_are_there_by_name() -> None:
    assert {
        *("remove_comment_only_completion", "clean_irrelevant_keywords", "filter_score"),
        *("trim_by_min_allowed_context", "fix_end_block_errors", "clean_model_reflection"),
        *("strip_whitespaces", "strip_asterisks", "fix_truncation"),
    } <= NAMES


def test_the_provider_says_which_steps_run_and_settings_drop_some() -> None:
    all_of_them = Polish(())
    assert all_of_them.completion("fireworks", fills=True) == COMPLETION["fireworks"]
    assert all_of_them.completion("vertex", fills=True)[-1] is strip_asterisks
    assert all_of_them.completion("vertex", fills=False) == TEXTUAL
    assert all_of_them.completion("anthropic", fills=False) == TEXTUAL
    assert all_of_them.generation("") == WRITTEN
    assert open_line not in all_of_them.generation("anthropic")
    fewer = Polish(("strip_asterisks", "cut_at_suffix"))
    assert strip_asterisks not in fewer.completion("vertex", fills=True)
    assert cut_at_suffix not in fewer.completion("openai", fills=False)
    with pytest.raises(ValueError, match="no step `strip_stars`; there are: clean_irrelevant"):
        Polish(("strip_stars",))


HOSTILE = ("(", ")", "\n", "`", "'", "*\n", "* ", "/*", "// \n", "a\n", "\t(", "\nsame")


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_answers_are_trimmed_in_linear_time(unit: str) -> None:
    def took_s(chars: int) -> float:
        text = unit * (chars // len(unit))
        place = Place(text, text, "js", "slash", truncated=True)
        began_s = time.process_time()
        for steps in (TEXTUAL, WRITTEN, *COMPLETION.values()):
            assert len(trim(text, place, steps)) <= len(text) + 1
        return time.process_time() - began_s

    # Eight times the text: a quadratic step would take 64 times as long.
    ratios = (took_s(1 << 16) / (took_s(1 << 13) + 0.001) for _ in range(5))
    assert any(ratio < 24 for ratio in ratios)
