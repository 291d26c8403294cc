"""Globs over whole paths: `*`, `?`, `[...]`, `**` across directories, `{a,b}`. Pure."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from isthmus.core.errors import ToolRefused

PATTERN_LIMIT = 500
ALTERNATIVES = 64


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a path matches; a pattern without `/` is compared with the file's name alone.

    Raises ToolRefused when the pattern is empty, too long, or leads out of the workspace.
    """
    if not pattern or len(pattern) > PATTERN_LIMIT or "\0" in pattern:
        raise ToolRefused(f"a file pattern has 1 to {PATTERN_LIMIT} characters")
    plain = [tuple(one.removeprefix("./").split("/")) for one in alternatives(pattern)]
    if any(".." in parts or parts[0] == "" for parts in plain):
        raise ToolRefused("a file pattern is relative to the workspace, without '..'")

    def matches(path: str) -> bool:
        names = path.split("/")
        return any(
            fnmatchcase(names[-1], parts[0]) if len(parts) == 1 else _fits(names, parts)
            for parts in plain
        )

    return matches


def alternatives(pattern: str) -> list[str]:
    """The patterns that `{a,b}` stands for, at most 64. Braces do not nest."""
    ready: list[str] = []
    waiting = [pattern]
    while waiting:
        head, brace, rest = waiting.pop().partition("{")
        inside, closed, tail = rest.partition("}")
        if not brace or not closed or "," not in inside:
            ready.append(head + brace + rest)
        else:
            waiting.extend(head + choice + tail for choice in inside.split(","))
        if len(ready) + len(waiting) > ALTERNATIVES:
            raise ToolRefused(f"a file pattern has at most {ALTERNATIVES} alternatives")
    return ready


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Match component by component; row by row, so a hostile pattern costs only n times m."""
    row = [True] + [False] * len(names)
    for part in parts:
        if part == "**":
            first = row.index(True) if True in row else len(row)
            row = [at >= first for at in range(len(row))]
        else:
            row = [False] + [row[at] and fnmatchcase(name, part) for at, name in enumerate(names)]
    return row[-1]
