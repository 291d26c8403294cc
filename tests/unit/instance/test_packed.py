"""Checkpoints as they travel: what comes out is what went in, and nothing grows without bound."""

import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.instance import packed


@given(st.binary(max_size=2_000))
def test_what_is_packed_comes_out_again(plain: bytes) -> None:
    assert packed.inflate(packed.unbase64(packed.deflate(plain))) == plain


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        "YQ",
        "YQ==\n",
        "é",
        b64encode(b"plain").decode(),
        b64encode(zlib.compress(b"cut off")[:-3]).decode(),
        b64encode(zlib.compress(b"whole") + b"and more").decode(),
        b64encode(zlib.compress(b"one") + zlib.compress(b"two")).decode(),
    ],
)
def test_what_is_not_deflated_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it"):
        packed.inflate(packed.unbase64(text))


def test_a_bomb_does_not_go_off() -> None:
    bomb = zlib.compress(bytes(packed.LIMIT_BYTES + 1), 9)
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match="too large"):
        packed.inflate(bomb)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b'{"a": [1, 2, null]}', True),
        (b"{}", True),
        (b"[]", False),
        (b"null", False),
        (b"", False),
        (b'{"a":', False),
        (b'{"a":"\xff"}', False),
        (b'{"a":"\\ud800"}', False),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", False),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_only_objects_that_can_be_read_back_are_taken(text: bytes, answer: bool) -> None:
    assert packed.is_object(text) is answer
