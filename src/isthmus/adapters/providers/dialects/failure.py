"""What an error answer means, in our vocabulary; shared by the dialects.

The detail names the provider's error class, never its message: a vendor's message may quote a key.
"""

import math
import re
from typing import NamedTuple

from isthmus.adapters.providers._spec import Headers
from isthmus.core.errors import UpstreamFailed, UpstreamLimited

BODY_LIMIT_BYTES = 64 * 1024
CONTENT_POLICY, PROMPT_TOO_LONG = "content_policy", "prompt_too_long"
_LABEL = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_LIMITED = frozenset({429, 529})


class Meaning(NamedTuple):
    """What vendors also mean by some statuses: the one that says it, or a reason of ours.

    It is meant when the error's class, or its message, begins with `words`.
    """

    statuses: frozenset[int]
    words: re.Pattern[str]
    status: int = 0
    reason: str = ""


MEANINGS = (
    Meaning(
        frozenset({400, 403, 429}),
        re.compile("insufficient_quota|billing_hard_limit_reached|Your credit balance is too low"),
        status=402,
    ),
    Meaning(
        frozenset({400, 403}),
        re.compile("invalid_api_key|API_KEY_INVALID|API key (?:not valid|expired)"),
        status=401,
    ),
    Meaning(
        frozenset({400, 401, 403}),
        re.compile(
            "model_not_found|invalid_model|Invalid model|OperationNotSupported"
            "|The provided model identifier is invalid|You don't have access to the model"
            "|Invocation of model ID .{1,200} with on-demand throughput"
        ),
        status=404,
    ),
    Meaning(
        frozenset({400, 403}),
        re.compile("content_filter|content_policy_violation|Output blocked by content filtering"),
        reason=CONTENT_POLICY,
    ),
)
"""Ordered; the first that fits counts. Sources: the vendors' pages on errors."""

_REFUSED = frozenset({401, 403})
_ON_THE_WAY = 502


def meant(status: int, label: str, message: str, body: bytes) -> tuple[int, str]:
    """The status that says what the vendor means, and a reason of ours or ""."""
    for meaning in MEANINGS:
        if status in meaning.statuses and (
            meaning.words.match(label) or meaning.words.match(message)
        ):
            return meaning.status or status, meaning.reason
    if status in _REFUSED and body[:64].lstrip()[:1] == b"<":
        # No vendor answers with a page: something on the way refuses, which says nothing of a key.
        return _ON_THE_WAY, ""
    return status, ""


def failed(
    status: int,
    label: str,
    message: str = "",
    *,
    headers: Headers = (),
    body: bytes = b"",
    too_long: bool = False,
) -> UpstreamFailed:
    """The failure for a status and the vendor's error class (`label`) and message.

    Whose fault it is can be read from its type, status and reason.
    """
    status, reason = meant(status, label, message, body)
    said = f", {label}" if _LABEL.fullmatch(label) else ""
    make = UpstreamLimited if status in _LIMITED else UpstreamFailed
    failure = make(
        f"The model provider answered with an error ({status}{said}).",
        status=status,
        body=body[:BODY_LIMIT_BYTES],
        retryable=status in _RETRYABLE,
        retry_after_s=_retry_after_s(headers),
    )
    failure.reason = PROMPT_TOO_LONG if too_long else reason
    return failure


def unreadable() -> UpstreamFailed:
    """The failure for an event or body that is not what the vendor documents."""
    return UpstreamFailed("The model provider sent something that cannot be read.")


def _retry_after_s(headers: Headers) -> float | None:
    """Seconds of `retry-after-ms` or `retry-after`; dates are not read (RFC 9110, 10.2.3)."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        for key, value in headers:
            if key != name:
                continue
            try:
                seconds = float(value) / unit
            except ValueError:
                continue
            if math.isfinite(seconds) and seconds >= 0.0:
                return seconds
    return None
