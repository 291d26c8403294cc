"""Paths of namespaces and projects: `group/sub/app`. Case does not tell two of them apart."""

import re
from collections.abc import Sequence
from typing import Final

from isthmus.adapters.stores.text import invalid

_PATH_LIMIT: Final = 1_024
_DEPTH: Final = 20
# ASCII alone, so that lower case is the same everywhere; `-` in front is for options and routes.
_SEGMENT: Final = re.compile(r"(?!-)(?!.*\.\.)(?!\.\Z)[A-Za-z0-9_.-]{1,255}")


def split_path(field: str, full_path: str) -> Sequence[str]:
    """The segments of a path. Raises Invalid for one that no place can have."""
    if len(full_path) > _PATH_LIMIT:
        raise invalid(field, f"must be at most {_PATH_LIMIT} characters long")
    segments = full_path.split("/")
    if len(segments) > _DEPTH:
        raise invalid(field, f"must be at most {_DEPTH} levels deep")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        reason = "must be made of letters, digits, '_', '-' and '.', without '..' or a leading '-'"
        raise invalid(field, reason)
    if segments[0].isdigit():
        # It could not be told from an id.
        raise invalid(field, "must not begin with a number alone")
    return segments


def path_key(path: str) -> str:
    """What equal paths have in common."""
    return path.lower()
