"""What is cut from a model's code, step by step."""

import pytest

from isthmus.gateway.trim import (
    COMPLETION,
    GENERATION,
    Surroundings,
    cut_at_suffix,
    drop_closers,
    drop_reflection,
    open_line,
    strip_fences,
    strip_markers,
    trim,
)


def around(prefix: str = "", suffix: str = "") -> Surroundings:
    return Surroundings(prefix, suffix)


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
    assert strip_markers(text, around()) == expected


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
    assert strip_fences(text, around()) == expected


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
    assert drop_reflection(text, around(prefix)) == expected


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
    assert drop_closers(text, around(suffix=suffix)) == expected


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
    assert trim(" \n ", around(), COMPLETION) == ""
    assert trim("```\n```", around("x ="), GENERATION) == ""
    assert trim("", around("# a comment"), GENERATION) == ""


@pytest.mark.parametrize(
    "text", ["(" * 50_000, ")" * 50_000, "\n" * 50_000, "`" * 50_000, "'" * 50_000]
)
def test_hostile_answers_are_trimmed_all_the_same(text: str) -> None:
    assert len(trim(text, around(text, text), COMPLETION)) <= len(text)
