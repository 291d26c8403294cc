"""Two trees of settings: where they differ, and one made of both. Pure."""

from collections.abc import Callable, Collection
from typing import TypeVar

from pydantic import BaseModel

from isthmus.settings_sources import leaves

Tree = TypeVar("Tree", bound=BaseModel)


def value_at(tree: BaseModel, path: str) -> object:
    """The value of a setting, such as `http.port`."""
    value: object = tree
    for name in path.split("."):
        value = getattr(value, name)
    return value


def changed(old: Tree, new: Tree) -> tuple[str, ...]:
    """The paths of the settings that differ, in the order of the tree."""
    paths = (leaf.path for leaf in leaves(type(old)))
    return tuple(path for path in paths if value_at(old, path) != value_at(new, path))


def covered(path: str, by: Collection[str]) -> bool:
    """Whether a setting is one of these paths, or inside one of them."""
    return any(path == each or path.startswith(f"{each}.") for each in by)


def mixed(old: Tree, new: Tree, take: Callable[[str], bool], prefix: str = "") -> Tree:
    """The old tree, with the new one's value of each setting that `take` says yes to.

    Both trees are valid, each by itself; what only holds across groups is not looked at again.
    """
    update: dict[str, object] = {}
    for name in type(old).model_fields:
        before: object = getattr(old, name)
        after: object = getattr(new, name)
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            update[name] = mixed(before, after, take, f"{prefix}{name}.")
        elif take(prefix + name):
            update[name] = after
    return old.model_copy(update=update)
