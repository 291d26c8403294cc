"""Global ids: `gid://gitlab/<model>/<number>`. Pure."""

import re
from typing import Final

from isthmus.core.errors import Invalid

WORKFLOW: Final = "Ai::DuoWorkflows::Workflow"
CATALOG_ITEM_VERSION: Final = "Ai::Catalog::ItemVersion"
NAMESPACES: Final = ("Group", "Namespace", "Namespaces::UserNamespace")
_GID = re.compile(r"gid://gitlab/([A-Za-z:]{1,100})/([1-9][0-9]{0,17})")
_TAIL = re.compile(r"(?:gid://gitlab/[A-Za-z:]{1,100}/)?([1-9][0-9]{0,17})")


def gid(model: str, number: int | str | None) -> str | None:
    """The GID; none for no number."""
    return None if number is None else f"gid://gitlab/{model}/{number}"


def number(value: object, *models: str) -> int:
    """The number in a GID of one of these models. Raises Invalid."""
    found = _GID.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[1] not in models:
        shown = value[:100] if isinstance(value, str) else type(value).__name__
        raise Invalid(f"{shown!r} is no global id of {models[0]}.")
    return int(found[2])


def tail(value: str | None) -> int | None:
    """The number that an id of any model ends with, or is. Raises Invalid."""
    if value is None:
        return None
    found = _TAIL.fullmatch(value)
    if found is None:
        raise Invalid(f"{value[:100]!r} is no id.")
    return int(found[1])
