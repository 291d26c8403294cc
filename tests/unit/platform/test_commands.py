"""What begins with a slash."""

from pathlib import Path

import pytest

from isthmus.platform.commands import Order, Words, load, read, unknown
from tests.support.session_client import COMMANDS

OWN = {"explain": "Explain this:\n{text}\n"}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("hello", Words("hello")),
        ("what is /compact?", Words("what is /compact?")),
        ("/etc/passwd is odd", Words("/etc/passwd is odd")),
        ("/README.md says so", Words("/README.md says so")),
        ("/", Words("/")),
        ("// a comment", Words("// a comment")),
        ("/compact", Order("compact", "")),
        (" /compact  the tests\nand names ", Order("compact", "the tests\nand names")),
        ("/nothing at all", Order("nothing", "at all")),
        ("/explain", Words("Explain this:")),
        ("/explain a.py {text} {{ x }}", Words("Explain this:\na.py {text} {{ x }}")),
        ("/compact " + "x" * 3_000, Order("compact", "x" * 2_000)),
    ],
)
def test_words_and_orders(said: str, meant: Words | Order) -> None:
    assert read(said, OWN) == meant


def test_a_command_that_there_is_not_is_answered_with_those_that_there_are() -> None:
    assert unknown("x", OWN) == "There is no command `/x`. There are `/compact`, `/explain`."


def test_the_librarys_commands() -> None:
    assert "explain" in COMMANDS


@pytest.mark.parametrize(
    ("name", "text"),
    [("compact", "{text}"), ("two words", "{text}"), ("a", "no place"), ("a", "{text}{text}")],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / f"{name}.txt").write_text(text)
    with pytest.raises(ValueError, match=f"{name}.txt"):
        load(tmp_path)
