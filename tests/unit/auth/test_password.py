"""Passwords are kept as salted, costly hashes, and only their own password matches them."""

import base64
import hashlib

import pytest

from isthmus.auth.password import MOST_CHARS, NOBODYS, SALT_BYTES, hashed, matches

SALT = b"0123456789abcdef"


def test_a_hash_says_how_it_was_made_and_not_of_what() -> None:
    kept = hashed("secret words", SALT)
    assert kept.startswith("scrypt$15$8$3$MDEyMzQ1Njc4OWFiY2RlZg==$")
    assert "secret" not in kept
    assert len(SALT) == SALT_BYTES
    assert matches("secret words", kept)
    assert not matches("secret word", kept)


def test_a_hash_of_other_costs_is_still_checked() -> None:

    key = hashlib.scrypt("caf\u00e9".encode(), salt=b"salt", n=16, r=8, p=1, dklen=32)
    kept = f"scrypt$4$8$1$c2FsdA==${base64.b64encode(key).decode()}"
    assert matches("cafe\u0301", kept)
    assert not matches("cafe", kept)


@pytest.mark.parametrize(
    "kept",
    ["", "secret", "scrypt$30$8$1$c2FsdA==$" + "A" * 43 + "=", "scrypt$4$99$1$c2FsdA==$x"],
)
def test_what_is_no_hash_matches_nothing(kept: str) -> None:
    assert not matches("secret", kept)


def test_an_overlong_password_is_not_even_tried() -> None:
    assert not matches("a" * (MOST_CHARS + 1), NOBODYS)


def test_nobodys_hash_is_one_to_try() -> None:
    assert not matches("", NOBODYS)
