"""Whom the executor's calls believe, and what they show, in the two forms that libraries take."""

import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Trust:
    """A TLS context, and for gRPC authorities, key and chain; None leaves a library its own."""

    context: ssl.SSLContext | None = None
    papers: tuple[bytes | None, bytes | None, bytes | None] = field(
        default=(None, None, None), repr=False
    )


OWN = Trust()
"""Every library believes what it came with, or what the system does."""
