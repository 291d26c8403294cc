"""What people type, as an expression of FTS5 that cannot be broken."""

import re
import sqlite3
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.search.terms import TERMS_MOST, expression

HOSTILE = [
    '"',
    '" OR 1 --',
    "NEAR(a b, 2)",
    "title : x",
    "a* ^b -c +d",
    "a AND NOT b",
    "'; DROP TABLE passages; --",
    "{a b} : c",
    "\x00\x01",
    "((((((((((" * 1000,
    "a\x00b",
    "🦊 ² ① ªº ǆ",
    "_ __ a_b",
    "x" * 400_000,
]


@cache
def table() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE VIRTUAL TABLE t USING fts5(a, tokenize = 'porter unicode61 remove_diacritics 2')"
    )
    connection.execute("INSERT INTO t VALUES ('protected branches')")
    return connection


def matches(query: str) -> int:
    wanted = expression(query)
    return len(table().execute("SELECT a FROM t WHERE t MATCH ?", (wanted,)).fetchall())


def test_words_are_quoted_and_telling_ones_are_kept() -> None:
    assert expression("How do I protect a Branch, a branch?") == '"protect" OR "branch"'
    assert expression("how to") == '"how" OR "to"'
    assert expression(" ?! ") == ""
    assert matches("how can I protect the branch") == 1
    assert matches("runner") == 0


@pytest.mark.parametrize("query", HOSTILE)
def test_hostile_queries_are_words_and_nothing_else(query: str) -> None:
    wanted = expression(query)
    assert re.fullmatch(r'("\w+"( OR "\w+")*)?', wanted)
    if wanted:
        matches(query)


@given(st.text(max_size=400))
def test_no_text_breaks_the_expression(query: str) -> None:
    wanted = expression(query)
    assert wanted.count('"') <= 2 * TERMS_MOST
    if wanted:
        matches(query)


def test_only_so_many_words_are_asked_for() -> None:
    assert expression(" ".join(f"w{number}" for number in range(500))).count("OR") == TERMS_MOST - 1
