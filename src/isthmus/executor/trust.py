"""Whom the executor's calls believe, in the two forms that its libraries take."""

import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Trust:
    """A TLS context, and the same authorities as PEM for gRPC; None leaves a library its own."""

    context: ssl.SSLContext | None = None
    roots: bytes | None = field(default=None, repr=False)


OWN = Trust()
"""Every library believes what it came with, or what the system does."""
