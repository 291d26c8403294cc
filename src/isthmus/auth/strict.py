"""Strict decoding of hostile bytes: base64url and JSON with bounded depth and no duplicate keys."""

import base64
import json
import math
import re
from typing import cast

DEPTH_LIMIT = 16

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")
# Possessive, and with an optional end: linear even when a string is never closed.
_STRINGS = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")


class Malformed(ValueError):
    """The input is not what it should be; every fault of hostile input is this one type."""


def decode_base64url(text: str) -> bytes:
    """Bytes of unpadded base64url (RFC 7515, section 2).

    Raises Malformed on padding, white space, foreign characters, and on trailing bits that are not
    zero: each value has exactly one spelling.
    """
    if _ALPHABET.fullmatch(text) is None or len(text) % 4 == 1:
        raise Malformed("not base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode_base64url(data) != text:
        raise Malformed("not canonical base64url")
    return data


def encode_base64url(data: bytes) -> str:
    """Unpadded base64url of `data`."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_object(data: bytes) -> dict[str, object]:
    """A JSON object.

    Raises Malformed for anything else: nesting deeper than DEPTH_LIMIT, a key that stands twice
    in an object, a number that is not finite, a lone surrogate, text that is not UTF-8. The caller
    bounds the size.
    """
    try:
        return _decode_object(data.decode("utf-8"))
    except ValueError as error:
        raise Malformed("not a strict JSON object") from error


def _decode_object(text: str) -> dict[str, object]:
    _check_depth(text)
    value: object = json.loads(
        text, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite
    )
    if not isinstance(value, dict):
        raise Malformed("not an object")
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return cast("dict[str, object]", value)


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in _BRACKETS.finditer(_STRINGS.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > DEPTH_LIMIT:
            raise Malformed("nested too deep")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("a key stands twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Malformed("not a finite number")
    return number
