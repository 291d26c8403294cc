"""What a stream says last when a limit or a guard of ours cuts it: its format's own error.

The connection then ends without the end of its body, so that no reader takes a part for the whole.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from isthmus.core.errors import LimitExceeded, Withheld

Cut: TypeAlias = LimitExceeded | Withheld
CUTS = (LimitExceeded, Withheld)
Words: TypeAlias = Callable[[Cut], bytes]

_encode = msgspec.json.Encoder().encode


def told(cut: Cut) -> dict[str, str]:
    """The error as our own formats have it."""
    return {"type": _kind(cut), "message": cut.detail, "rule": cut.rule}


def anthropic(cut: Cut) -> bytes:
    """An event of Anthropic's Messages API."""
    kind = "rate_limit_error" if isinstance(cut, LimitExceeded) else "permission_error"
    error = {"type": kind, "message": cut.detail}
    return b"event: error\ndata: %b\n\n" % _encode({"type": "error", "error": error})


def openai(cut: Cut) -> bytes:
    """An event of OpenAI's APIs."""
    kind = _kind(cut)
    return _data({"error": {"message": cut.detail, "type": kind, "param": None, "code": kind}})


def google(cut: Cut) -> bytes:
    """An event of Google's Gemini API."""
    limited = isinstance(cut, LimitExceeded)
    code, status = (429, "RESOURCE_EXHAUSTED") if limited else (403, "PERMISSION_DENIED")
    return _data({"error": {"code": code, "message": cut.detail, "status": status}})


def _kind(cut: Cut) -> str:
    return "rate_limit_exceeded" if isinstance(cut, LimitExceeded) else "content_withheld"


def _data(value: object) -> bytes:
    return b"data: %b\n\n" % _encode(value)
