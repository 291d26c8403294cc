"""Which paths of a workspace an action may name: pure, before any file is touched.

Source of the denied names: agent-platform contract, section 8.10.
"""

import unicodedata
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from isthmus.core.errors import ToolRefused

Parts: TypeAlias = tuple[str, ...]

PATH_LIMIT_BYTES = 4096
PART_LIMIT_BYTES = 255
DEPTH_LIMIT = 100

_DENIED: tuple[Parts, ...] = tuple(
    tuple(name.split("/"))
    for name in (
        ".config/nvim", ".docker", ".emacs.d", ".env.*", ".env", ".git", "git~1", ".gitlab/duo",
        ".gitlab/rules", ".gnupg", ".idea", ".metadata", ".settings", ".ssh", ".sublime-project",
        ".sublime-workspace", ".vim", ".vimrc", ".vscode", "dockerfile.secrets",
    )
)  # fmt: skip
_ALLOWED = ".env.example"


def parts_of(path: str, roots: Sequence[str] = ()) -> Parts:
    """The path's components below the workspace; none for the workspace itself.

    Relative paths count from the workspace; an absolute one must begin with one of `roots`, the
    workspace's own absolute names. Raises ToolRefused for everything that leads out, that is
    denied, or that file systems read differently from how it looks.
    """
    _check_text(path)
    names = [name for name in path.split("/") if name not in {"", "."}]
    if path.startswith("/"):
        names = _below(names, roots)
    if ".." in names:
        raise ToolRefused("Access denied: a path may not contain '..'.")
    if len(names) > DEPTH_LIMIT or any(len(name.encode()) > PART_LIMIT_BYTES for name in names):
        raise ToolRefused("Access denied: the path is too long.")
    if names and names[0].startswith("~"):
        raise ToolRefused("Access denied: '~' is not expanded; use a path inside the workspace.")
    if denied(names):
        raise ToolRefused("Access denied: this path is protected.")
    return tuple(names)


def denied(names: Sequence[str]) -> bool:
    """Whether a protected name stands anywhere in the path, however it is spelt."""
    folded = [_fold(name) for name in names]
    if "" in folded:
        return True
    return any(
        all(map(fnmatchcase, folded[start : start + len(pattern)], pattern))
        for pattern in _DENIED
        for start in range(len(folded) - len(pattern) + 1)
        if folded[start] != _ALLOWED
    )


def _check_text(path: str) -> None:
    if len(path.encode("utf-8", "surrogatepass")) > PATH_LIMIT_BYTES:
        raise ToolRefused("Access denied: the path is too long.")
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in path):
        raise ToolRefused("Access denied: the path contains control characters.")
    if "\\" in path:
        raise ToolRefused("Access denied: use '/' between the parts of a path.")
    lowered = path.lower()
    if "%2e" in lowered or "%252e" in lowered or "%2f" in lowered:
        raise ToolRefused("Access denied: percent-encoded paths are not decoded.")


def _below(names: list[str], roots: Sequence[str]) -> list[str]:
    for root in roots:
        prefix = [name for name in root.split("/") if name]
        if names[: len(prefix)] == prefix:
            return names[len(prefix) :]
    raise ToolRefused("Access denied: the path is outside the workspace.")


def _fold(name: str) -> str:
    """How the laxest file system may read a name: case, compatibility forms, invisible
    characters, trailing dots and spaces, and alternate streams make no difference.
    """
    plain = unicodedata.normalize("NFKC", name).partition(":")[0]
    seen = "".join(char for char in plain if unicodedata.category(char) != "Cf")
    return seen.casefold().rstrip(" .")
