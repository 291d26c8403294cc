"""The end of the piece of code that the cursor stands in, by its syntax."""

import pytest

from isthmus.gateway.language import Language
from isthmus.gateway.polish.place import Place
from isthmus.gateway.polish.unit import (
    ABOVE_CHARS,
    BELOW_CHARS,
    TEXT_CHARS,
    trim_by_min_allowed_context,
    window,
)
from isthmus.gateway.syntax import GRAMMARS, Syntax, load


def trimmed(grammar: str, prefix: str, text: str, suffix: str = "") -> str:
    found = load(grammar)
    assert found is not None
    return trim_by_min_allowed_context(text, Place(prefix, suffix, grammar, parser=found))


@pytest.mark.parametrize(
    ("grammar", "prefix", "text", "expected"),
    [
        ("python", "def f(x):\n    ", "return x\n\n\ndef g():\n    pass\n", "return x"),
        (
            "python",
            "class A:\n    def f(self):\n        ",
            "a()\n\n    def g(self):\n        b()",
            "a()",
        ),
        ("python", "x = 1\n", "y = 2\n\ndef g():\n    pass\n", None),
        ("python", "def f(x):\n    ", "return x\n", None),
        ("python", "def f(x):\n    ", "return (x\n\n\ndef g():\n    pass\n", None),
        ("python", "if x:\n    a()\n    ", "b()\nc()\nd()\n", "b()"),
        ("javascript", "function f() {\n  ", "return 1;\n}\n\nfunction g() {}\n", "return 1;\n}"),
        ("javascript", "xs.map(x => {\n  ", "return x\n})\n\nfoo()", None),
        ("tsx", "const f = () => {\n  if (a) {\n    ", "b()\n  }\n  c()\n}\n", "b()\n  }"),
        ("typescript", "class A {\n  f() {\n    ", "return 1\n  }\n\n  g() {}\n", "return 1\n  }"),
        ("go", "func f() int {\n\t", "return 1\n}\n\nfunc g() {}\n", "return 1\n}"),
        (
            "java",
            "class A {\n  int f() {\n    ",
            "return 1;\n  }\n\n  void g() {}\n",
            "return 1;\n  }",
        ),
        ("rust", "fn f() -> i32 {\n    ", "1\n}\n\nfn g() {}\n", "1\n}"),
        ("ruby", "def f\n  ", "1\nend\n\ndef g\nend\n", "1\nend"),
        ("c", "int f() {\n  ", "return 1;\n}\n\nint g() {}\n", "return 1;\n}"),
        ("cpp", "struct A {\n  ", "int x;\n};\n\nstruct B {};\n", "int x;\n};"),
        (
            "c_sharp",
            "class A {\n  int F() {\n    ",
            "return 1;\n  }\n\n  void G() {}\n",
            "return 1;\n  }",
        ),
        ("php", "<?php\nfunction f() {\n  ", "return 1;\n}\n\nfunction g() {}\n", "return 1;\n}"),
        ("kotlin", "fun f(): Int {\n  ", "return 1\n}\n\nfun g() {}\n", "return 1\n}"),
        ("scala", "object A {\n  def f = {\n    ", "1\n  }\n\n  def g = 2\n", "1\n  }"),
        ("bash", "f() {\n  ", "echo 1\n}\n\ng() {\n  echo 2\n}\n", "echo 1\n}"),
    ],
)
def test_it_ends_with_the_unit_that_the_cursor_stands_in(
    grammar: str, prefix: str, text: str, expected: str | None
) -> None:
    assert trimmed(grammar, prefix, text) == (text if expected is None else expected)


def test_what_is_not_ascii_is_cut_between_characters() -> None:
    text = 'return "häß🙂"\n\n\ndef g():\n    pass\n'
    assert trimmed("python", "ü = 'é'\ndef f(x):\n    ", text) == 'return "häß🙂"'


def test_a_unit_that_ends_below_is_not_cut() -> None:
    text = "const a = 1\n  const b = 2\n"
    assert trimmed("javascript", "function f() {\n  ", text, "}\nfoo()\n") == text


def test_without_a_grammar_nothing_happens() -> None:
    text = "return x\n\n\ndef g():\n    pass\n"
    assert trim_by_min_allowed_context(text, Place("def f(x):\n    ", "")) == text


class CountingParser:
    """Counts what it is given to parse."""

    def __init__(self) -> None:
        self.inner = load("python")
        self.sizes: list[int] = []

    def parse(self, source: bytes) -> object:
        self.sizes.append(len(source))
        assert self.inner is not None
        return self.inner.parse(source)


def test_only_what_stands_near_the_cursor_is_parsed_and_once() -> None:
    counting = CountingParser()
    above, below = "def f():\n    a = 1\n" * 5_000, "\nb = 2" * 20_000
    text = "x = 1\n" * 700
    place = Place(above, below, "python", parser=counting)  # pyright: ignore[reportArgumentType] - counts, then parses
    trim_by_min_allowed_context(text, place)
    trim_by_min_allowed_context("one line", place)
    trim_by_min_allowed_context("x\n" + "y" * 1_000, place)
    assert len(counting.sizes) == 1
    assert counting.sizes[0] <= ABOVE_CHARS + TEXT_CHARS
    trim_by_min_allowed_context("x = 1\n" * 10, place)
    assert counting.sizes[1] <= ABOVE_CHARS + 60 + BELOW_CHARS


def test_the_window_begins_where_something_begins() -> None:
    long = "    x = 1\n" * 300
    assert window("short") == "short"
    assert window(long + "def f():\n" + "    y = 2\n" * 20).startswith("def f():")
    assert window(long).startswith("    x = 1\n")


@pytest.mark.parametrize("grammar", sorted(GRAMMARS))
def test_every_grammar_of_the_extra_carries_itself(grammar: str) -> None:
    assert load(grammar) is not None


async def test_a_grammar_is_loaded_once_and_its_absence_is_kept_in_mind() -> None:
    syntax = Syntax()
    assert not syntax.ready("python")
    assert syntax.parser("python") is None
    await syntax.prepare("python")
    assert syntax.ready("python")
    assert syntax.parser("python") is syntax.parser("python") is not None
    assert syntax.ready("cobol")
    assert syntax.parser("cobol") is None
    assert syntax.ready(Language("", "", "", "").grammar)
