"""What an error answer means, in our vocabulary; shared by the dialects.

The detail names the provider's error class, never its message: a vendor's message may quote a key.
"""

import math
import re

from isthmus.adapters.providers._spec import Headers
from isthmus.core.errors import UpstreamFailed, UpstreamLimited

BODY_LIMIT_BYTES = 64 * 1024
_LABEL = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_LIMITED = frozenset({429, 529})


def failed(
    status: int, label: str, *, headers: Headers = (), body: bytes = b"", too_long: bool = False
) -> UpstreamFailed:
    """The failure for a status and the vendor's error class (`label`)."""
    said = f", {label}" if _LABEL.fullmatch(label) else ""
    make = UpstreamLimited if status in _LIMITED else UpstreamFailed
    failure = make(
        f"The model provider answered with an error ({status}{said}).",
        status=status,
        body=body[:BODY_LIMIT_BYTES],
        retryable=status in _RETRYABLE,
        retry_after_s=_retry_after_s(headers),
    )
    if too_long:
        failure.reason = "prompt_too_long"
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
