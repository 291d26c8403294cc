"""A page of records."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Items in the order that was asked for; `more` says whether others follow."""

    items: tuple[Item, ...]
    more: bool = False
