"""YAML, and the JSON that stands for it."""

import msgspec
import pytest

from isthmus.core.notation import as_json, decode

Numbers = dict[str, int]


@pytest.mark.parametrize("text", ["a: 1", "{a: 1}", '{"a": 1}', b"a: 1", b"{a: 1}", b'{"a": 1}'])
def test_either_is_read(text: str | bytes) -> None:
    assert decode(text, Numbers) == {"a": 1}


@pytest.mark.parametrize("text", ["a: x", "{a: x}", '{"a": "x"}'])
def test_what_does_not_fit_is_told_as_such(text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="Expected `int`"):
        decode(text, Numbers)


@pytest.mark.parametrize("text", ["a: [", '{"a": ', "{", "a: 1\na"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(text, Numbers)


def test_json_is_made_of_what_has_some() -> None:
    assert as_json("a: {b: [1, x, null, 2026-01-02]}") == '{"a":{"b":[1,"x",null,"2026-01-02"]}}'


@pytest.mark.parametrize("text", ["a: [", "- a", "1: a", "a: .inf", "a", ""])
def test_what_has_none_stays_as_it_is(text: str) -> None:
    assert as_json(text) == text
