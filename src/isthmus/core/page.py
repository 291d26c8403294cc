"""A page of records, and a passage that a search found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Items in the order that was asked for; `more` says whether others follow."""

    items: tuple[Item, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document. `metadata` tells where it stands, such as its title and address."""

    id: str
    content: str
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
