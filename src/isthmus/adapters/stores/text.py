"""What text both databases can hold, and how much of it a key may be."""

import re
from typing import Final

from isthmus.core.errors import FieldError, Invalid

MAX_ID: Final = 2**63 - 1

# Together they keep every primary key under the 2,704 bytes that a PostgreSQL index entry may take.
THREAD_BYTES: Final = 128
CHECKPOINT_BYTES: Final = 128
TASK_BYTES: Final = 128
NS_BYTES: Final = 1_024
CHANNEL_BYTES: Final = 1_020

_DECIMAL: Final = re.compile(r"[1-9][0-9]{0,18}")


def workflow_number(workflow_id: str) -> int:
    """The number that a workflow's id spells. Raises Invalid unless it is 1 to 2^63 - 1."""
    if _DECIMAL.fullmatch(workflow_id) and (number := int(workflow_id)) <= MAX_ID:
        return number
    raise invalid("workflowID", "must be a decimal number from 1 to 9223372036854775807")


def stored_id(number: int) -> int:
    """The id, or 0, which nothing has, where the databases could not hold it."""
    return number if 0 < number <= MAX_ID else 0


def check_text(field: str, value: str, *, limit: int) -> None:
    """Raises Invalid for text of more than `limit` characters, or that cannot be stored."""
    if len(value) > limit:
        raise invalid(field, f"must be at most {limit} characters long")
    _check_storable(field, value)


def check_key(field: str, value: str, *, limit_bytes: int) -> None:
    """Raises Invalid for text that cannot be a part of a primary key."""
    if value.isascii() and len(value) <= limit_bytes and "\0" not in value:
        return
    if len(value) > limit_bytes or len(_check_storable(field, value)) > limit_bytes:
        raise invalid(field, f"must be at most {limit_bytes} bytes long")


def invalid(field: str, reason: str) -> Invalid:
    """The failure that names one field."""
    return Invalid(f"{field} {reason}.", (FieldError(field, reason),))


def _check_storable(field: str, value: str) -> bytes:
    # PostgreSQL refuses NUL in text; nobody can encode half of a surrogate pair.
    if "\0" in value:
        raise invalid(field, "must not contain NUL characters")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise invalid(field, "must be well-formed Unicode") from None
