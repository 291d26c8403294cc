"""The `model_metadata` member that bodies may have: lenient where the contract ignores faults.

Source: HTTP gateway contract, section 6.3.
"""

from msgspec import Raw

from isthmus.core.messages import ModelMetadata
from isthmus.routing import metadata

ABSENT = Raw(b"null")


def lenient(raw: Raw) -> ModelMetadata | None:
    """The metadata; None when there is none, or none that can be used."""
    return None if raw == ABSENT else metadata.lenient(raw)
