"""A secret is found wherever a stream is cut; other text passes at once, to the byte."""

import re
from collections.abc import Iterable

import pytest

from isthmus.redaction.rules import MARK, Found, redact, shipped
from isthmus.redaction.stream import CARRY_BYTES, CONTEXT_BYTES, Window
from tests.support.secrets import Planted, generated, planted

LIMIT = 4_096
BODY = "".join(f"{number:064x}\n" for number in range(400))
LONG_KEY = f"-----BEGIN PRIVATE {'KEY'}-----\n{BODY}-----END PRIVATE {'KEY'}-----"
PROSE = """The planner weighs what a cold cache costs against the price of waiting, and it keeps a
session where it was; `key` and token are words like others: see the table in section 5 (page 12).

def total(prices: dict[str, int], key: str = "all") -> int:
    # Sums what is asked for, at most 128 items; see https://example.com:8443/docs?id=5#top
    return sum(prices.values()) if key == "all" else prices[key]
"""


def mark(_: Found, __: bytes) -> bytes:
    return MARK.encode()


def window(limit: int = LIMIT) -> Window:
    return Window(shipped(), limit, mark)


def streamed(pieces: Iterable[bytes], limit: int = LIMIT) -> bytes:
    through = window(limit)
    return b"".join([through.feed(piece) for piece in pieces]) + through.finish()


def test_500_secrets_cut_at_every_byte_never_leak() -> None:
    cuts = 0
    for one in generated(500):
        text = f"see {one.text}; there".encode()
        whole = f"see {one.marked(MARK)}; there".encode()
        for cut in range(len(text) + 1):
            assert streamed((text[:cut], text[cut:])) == whole, (one.rule, cut)
            cuts += 1
        assert streamed(text[at : at + 1] for at in range(len(text))) == whole, one.rule
    assert cuts > 25_000


@pytest.mark.parametrize("one", planted(), ids=lambda one: one.rule)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 16])
def test_pieces_of_any_size_make_what_the_whole_makes(one: Planted, size: int) -> None:
    text = f"{PROSE}{one.text}.\n{PROSE}ü {one.text}.".encode()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert streamed(pieces).decode() == redact(text.decode())


def test_ordinary_text_passes_at_once_and_as_the_same_object() -> None:
    through, waited = window(), 0
    tokens = re.findall(r"\s?\w+|\W", PROSE * 3)
    for token in tokens:
        data = token.encode()
        waited += through.feed(data) is not data
    assert waited / len(tokens) < 0.05
    assert through.finish() == b""


@pytest.mark.parametrize(
    ("begun", "then"),
    [
        ("s", "ee"),
        ("sk-", " is how such keys begin"),
        ("sk-learn", "-compatible estimators"),
        ("gh", "ost"),
        ("-----", "|---"),
        ("password = get", "_password()"),
        ("http://localhost:80", "80/"),
        ("eyJ", " or not"),
    ],
)
def test_what_only_began_like_a_secret_goes_on_with_the_next_piece(begun: str, then: str) -> None:
    through = window()
    first = through.feed(begun.encode())
    assert len(first) < len(begun)
    assert through.waiting
    assert first + through.feed(then.encode()) + through.finish() == (begun + then).encode()


def test_what_stands_before_a_secret_is_not_held_back() -> None:
    through = window()
    assert through.feed(b'password = "') == b'password = "'
    assert through.feed(b"correct-") == b""
    assert through.feed(b'horse" # why') == b'[REDACTED]" # why'
    through = window()
    assert through.feed(b"postgresql://app:") == b"postgresql://app:"
    assert through.feed(b"hunter2") == b""
    assert through.feed(b"@db") == b"[REDACTED]@db"


@pytest.mark.parametrize("size", [5, 64, 1_000, 40_000])
def test_a_key_longer_than_the_window_is_cut_whole(size: int) -> None:
    text = f"a {LONG_KEY}\nthe end. {LONG_KEY}".encode()
    assert len(LONG_KEY) > 4 * LIMIT
    through, passed = window(), list[bytes]()
    for at in range(0, len(text), size):
        passed.append(through.feed(text[at : at + size]))
        held = sum(len(getattr(through, name)) for name in ("_seen", "_held", "_carry"))
        assert held <= LIMIT + CONTEXT_BYTES + CARRY_BYTES + size + 1
    passed.append(through.finish())
    assert b"".join(passed) == b"a [REDACTED]\nthe end. [REDACTED]"


def test_a_run_longer_than_the_window_that_is_no_secret_goes_on() -> None:
    run = "token = " + "a" * 3 * LIMIT + " end"
    pieces = [run[at : at + 100].encode() for at in range(0, len(run), 100)]
    assert streamed(pieces) == run.encode()
    assert redact(run) == run


def test_a_secret_that_is_not_changed_passes_however_long() -> None:
    through = Window(shipped(), LIMIT, lambda _, secret: secret)
    text = f"a {LONG_KEY} b. sk_live_{'a1B2' * 2_000}, c".encode()
    pieces = [text[at : at + 50] for at in range(0, len(text), 50)]
    assert b"".join([through.feed(piece) for piece in pieces]) + through.finish() == text


def test_no_word_begins_where_the_context_was_cut() -> None:
    text = "x" * 300 + "AKIAIOSFODNN7EXAMPLE "
    for size in (1, 3, 44):
        for lead in range(0, 300, 7):
            whole = text[lead:] + "y" * 300
            pieces = [whole[at : at + size].encode() for at in range(0, len(whole), size)]
            assert streamed(pieces) == whole.encode()
