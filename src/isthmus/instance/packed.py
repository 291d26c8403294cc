"""Checkpoints as they travel: JSON texts, and base64 of deflated ones. Everything is bounded."""

import binascii
import zlib
from base64 import b64encode
from typing import Final

import msgspec

LIMIT_BYTES: Final = 32 * 1024 * 1024
"""Of a checkpoint's JSON; deflated, a thousandth of it may be so much."""
BLOB_CHARS: Final = 1_398_104
BLOB_BYTES: Final = 1_048_576


def inflate(packed: bytes) -> bytes:
    """The JSON behind deflated bytes. Raises ValueError with a reason."""
    work = zlib.decompressobj()
    try:
        plain = work.decompress(packed, LIMIT_BYTES + 1)
    except zlib.error:
        raise ValueError("it is not deflated") from None
    if len(plain) > LIMIT_BYTES:
        raise ValueError("it is too large")
    if not work.eof or work.unused_data:
        raise ValueError("its end is missing, or is not its end")
    return plain


def deflate(plain: bytes) -> str:
    """The opposite."""
    return b64encode(zlib.compress(plain, 1)).decode()


def unbase64(text: str) -> bytes:
    """The bytes behind strict base64. Raises ValueError."""
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("it is not base64") from None


def is_object(text: bytes) -> bool:
    """Whether it is the text of a JSON object that can be read back, depth and letters included."""
    try:
        msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
