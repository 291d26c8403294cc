"""The in-context completer: what it says, what it leaves unsaid, and what it costs."""

import random
import sysconfig
import time
from pathlib import Path

import pytest

from isthmus.adapters.providers._incontext import complete
from isthmus.adapters.providers._incontext_evidence import supported
from isthmus.core.messages import ContextItem, Infill

ADD_SUB = (
    "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a - b\n\ndef mul(a, b):\n    "
)
STDLIB = Path(sysconfig.get_paths()["stdlib"])
SOURCES = ("argparse.py", "ast.py", "configparser.py", "tarfile.py", "typing.py", "ipaddress.py")


def said(above: str, below: str = "\n", *context: str) -> str:
    items = tuple(ContextItem("file", f"{n}.py", text) for n, text in enumerate(context))
    return complete(Infill(above, below, "a.py", "python", items))


def test_it_says_what_earlier_places_agree_on_and_stops_where_they_differ() -> None:
    assert said(ADD_SUB + "ret") == "urn a"


def test_a_name_is_finished_from_the_context_files() -> None:
    context = "compute_invoice_total(x)\ncompute_invoice_total(y)\n"
    assert said("value = compute_inv", "\n", context) == "oice_total"
    assert not said("value = compute_inv")


def test_text_below_the_cursor_is_evidence_too() -> None:
    below = "\n\nself.logger.warning(a)\nself.logger.warning(b)\nself.logger.warning(c)\n"
    assert said("x = 1\nself.log", below) == "ger.warning"


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        ("self.width = width\nself.height = height\nself.depth", " = depth"),
        ("self._width = width\nself._height = height\nself._depth = ", "depth"),
        ("const fs = require('fs');\nconst os = require('os');\nconst net", " = require('net');"),
        ("if (a) {\n  return a;\n}\nif (b) {\n  return b;\n}\nif (c) {\n  ret", "urn c;"),
    ],
)
def test_a_line_built_like_others_takes_its_own_words(above: str, expected: str) -> None:
    assert said(above) == expected


@pytest.mark.parametrize(
    "above", ["", "\n\n", "x = ", "def f(", "RED = 'red'\nGREEN = 'green'\nBLUE = "]
)
def test_it_says_nothing_without_support(above: str) -> None:
    assert said(above) == ""


def test_it_never_works_inside_a_word() -> None:
    above = "alpha_beta = 1\nalpha_beta = 2\nalp"
    assert said(above, "\n") == "ha_beta"
    assert said(above, "habet = 3\n") == ""


def test_it_leaves_out_what_the_rest_of_the_line_holds() -> None:
    above = "run(load(path), 1)\nrun(load(path), 1)\nrun(load("
    assert said(above, "), 1)\n") == "path"
    assert said(above, ")\n") == "path), 1"
    assert said(above, "\n") == "path), 1)"
    assert said(above, "something_else)\n") == ""


def test_it_does_not_repeat_the_line_below() -> None:
    above = "begin()\ncommit()\nbegin()\ncommit()\nbegin()\ncom"
    assert said(above, "\n").startswith("mit()")
    assert said(above, "\ncommit()\n") == ""


def test_an_opener_without_its_closer_is_not_said() -> None:
    above = "total = sum(\n    rows)\ntotal = sum(\n    items)\ntotal = s"
    assert said(above) in {"um", ""}


def test_a_string_without_its_end_is_not_said() -> None:
    above = "log('one thing')\nlog('other thing')\nlog('third thing')\nlo"
    assert said(above) == "g"


def test_a_block_is_not_left_by_dedent() -> None:
    block = "    def close(self):\n        self.socket.close()\n        self.socket = None\n\n"
    above = (
        "class A:\n" + block + "class B:\n" + block + "class C:\n    def close(self):\n        se"
    )
    text = said(above)
    assert text.startswith("lf.socket.close()")
    assert all(line.startswith("        ") for line in text.split("\n")[1:])


def test_the_same_input_gives_the_same_answer() -> None:
    assert {said(ADD_SUB + "ret") for _ in range(5)} == {"urn a"}


def test_windows_line_ends_do_not_break_it() -> None:
    text = said((ADD_SUB + "ret").replace("\n", "\r\n"), "\r\n")
    assert text == "urn a"


@pytest.mark.parametrize(
    ("level", "support", "share", "lines", "enough"),
    [
        (1, 2, 0.6, 0, True),
        (1, 2, 0.59, 0, False),
        (5, 1, 1.0, 0, False),
        (6, 1, 0.75, 0, True),
        (12, 2, 0.9, 1, True),
        (11, 9, 1.0, 1, False),
        (39, 1, 1.0, 1, False),
        (40, 1, 1.0, 1, True),
    ],
)
def test_the_threshold(level: int, support: int, share: float, lines: int, enough: bool) -> None:
    assert supported(level, support, share, lines) is enough


@pytest.mark.parametrize(
    "text",
    [
        "a" * 100_000,
        "(" * 100_000,
        "\\" * 100_000,
        "\n" * 100_000,
        " " * 100_000,
        "\"'" * 50_000,
        "ab " * 33_333,
        "x = 1\n" * 16_666,
        ("a" * 50 + "b") * 1_960,
        "é ü\n" * 25_000,
    ],
    ids=lambda text: repr(text[:4]),
)
def test_hostile_text_costs_no_more_than_other_text(text: str) -> None:
    took_s = min(_timed(Infill(text, below))[1] for below in ("", text) for _ in range(2))
    assert took_s < 0.2


def test_it_is_right_more_often_than_not_where_it_speaks() -> None:
    """Real files cut at random places: the rest of the line is what it should have said."""
    asked = spoke = first_right = line_right = 0
    for infill, rest in cuts(400, seed=20_261):
        asked += 1
        text = complete(infill).split("\n")[0]
        if text.strip():
            spoke += 1
            first_right += rest.lstrip().startswith(_first_token(text))
            line_right += rest.startswith(text.rstrip())
    assert spoke / asked >= 0.3
    assert first_right / spoke >= 0.7
    assert line_right / spoke >= 0.55


def test_a_hundred_thousand_characters_take_milliseconds() -> None:
    """The limit leaves room for a busy machine; on a quiet one p99 is below 5 ms of CPU."""
    source = (STDLIB / "_pydecimal.py").read_text(encoding="utf-8")
    roll = random.Random(7)  # noqa: S311 - a reproducible sample
    took_s = sorted(
        min(_timed(Infill(source[at - 70_000 : at], source[at : at + 30_000]))[1] for _ in range(2))
        for at in (roll.randrange(70_000, 130_000) for _ in range(100))
    )
    assert took_s[98] < 0.05


def cuts(count: int, *, seed: int) -> list[tuple[Infill, str]]:
    """Cursors at random places of real lines; what follows on the line is taken out."""
    roll = random.Random(seed)  # noqa: S311 - a reproducible sample
    texts = [(STDLIB / name).read_text(encoding="utf-8") for name in SOURCES]
    found: list[tuple[Infill, str]] = []
    while len(found) < count:
        text = roll.choice(texts)
        at = roll.randrange(1_000, len(text) - 1)
        end = text.find("\n", at)
        if end > at and text[at:end].strip():
            found.append((Infill(text[:at], text[end:]), text[at:end]))
    return found


def _first_token(text: str) -> str:
    text = text.lstrip()
    size = 1
    while size < len(text) and text[: size + 1].isidentifier():
        size += 1
    return text[:size]


def _timed(infill: Infill) -> tuple[str, float]:
    since_s = time.thread_time()
    text = complete(infill)
    return text, time.thread_time() - since_s
