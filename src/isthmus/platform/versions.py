"""Whether a client or an instance is new enough. Pure."""

import re

_VERSION = re.compile(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?")


def at_least(text: str, wanted: tuple[int, int, int]) -> bool:
    """Whether the version is this one or a later one; what is no version is none."""
    found = _VERSION.match(text)
    return found is not None and tuple(int(part or 0) for part in found.groups()) >= wanted
