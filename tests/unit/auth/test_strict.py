"""Decoding of hostile bytes."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.auth.strict import (
    DEPTH_LIMIT,
    Malformed,
    decode_base64url,
    decode_object,
    encode_base64url,
)


@given(st.binary(max_size=200))
def test_what_was_encoded_decodes(data: bytes) -> None:
    assert decode_base64url(encode_base64url(data)) == data


@pytest.mark.parametrize("text", ["QQ==", "QQ=", "Q", "Q Q", "QQ\n", "Q+8", "Q/8", "QR", "é", "Qé"])
def test_other_spellings_of_base64url_are_refused(text: str) -> None:
    with pytest.raises(Malformed):
        decode_base64url(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'"text"',
        b"{",
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1} x',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT + b"}",
        b'{"a":' * 100_000,
        b"[" * 200_000,
    ],
)
def test_other_json_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_object(data)


def test_brackets_in_strings_are_not_depth() -> None:
    value = {"a": "[" * 100, 'b"{\\': [']}\\"'] * 20, "😀": "😀"}
    assert decode_object(json.dumps(value).encode()) == value


@pytest.mark.parametrize("filling", ['\\"', '"', "[", "\\", '"a'])
def test_an_unclosed_string_costs_linear_time(filling: str) -> None:
    data = b'{"' + filling.encode() * (250_000 // len(filling))
    before = time.process_time()
    with pytest.raises(Malformed):
        decode_object(data)
    assert time.process_time() - before < 1.0
