"""Connections: which items of a list are asked for, and the page as clients read it. Pure."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from isthmus.core.errors import Invalid

DEFAULT_PAGE: Final = 20
MAX_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Window:
    """`limit` items behind the one whose mark is `edge`; `backwards`: the ones before it."""

    limit: int
    edge: str | None
    backwards: bool = False


def window(args: Mapping[str, Any], *, default: int = DEFAULT_PAGE, most: int = MAX_PAGE) -> Window:
    """By the arguments `first`, `after`, `last` and `before`. Raises Invalid."""
    backwards = args.get("last") is not None
    if backwards and (args.get("first") is not None or args.get("after") is not None):
        raise Invalid("`last` goes with `before` alone.")
    if not backwards and args.get("before") is not None:
        raise Invalid("`before` goes with `last`.")
    size, edge = ("last", "before") if backwards else ("first", "after")
    wanted = args.get(size)
    limit = default if wanted is None else int(wanted)
    if limit < 1:
        raise Invalid(f"`{size}` must be at least 1.")
    return Window(min(limit, most), _mark(args.get(edge)), backwards)


def connection(
    items: Sequence[object], marks: Iterable[str], *, earlier: bool = False, later: bool = False
) -> dict[str, object]:
    """A page; `earlier` and `later` say whether there are others. Cursors hide the items' marks."""
    cursors = map(_cursor, marks)
    edges = [{"cursor": next(cursors), "node": item} for item in items]
    return {
        "nodes": list(items),
        "edges": edges,
        "pageInfo": {
            "startCursor": edges[0]["cursor"] if edges else None,
            "endCursor": edges[-1]["cursor"] if edges else None,
            "hasNextPage": later,
            "hasPreviousPage": earlier,
        },
    }


def nothing() -> dict[str, object]:
    """A page of a list that is always empty."""
    return connection((), ())


def _cursor(mark: str) -> str:
    return urlsafe_b64encode(mark.encode()).decode()


def _mark(cursor: str | None) -> str | None:
    """The mark in a cursor of ours, always a number. Raises Invalid."""
    if cursor is None:
        return None
    try:
        mark = urlsafe_b64decode(cursor).decode("ascii") if len(cursor) <= 24 else ""
    except ValueError:
        mark = ""
    if not (mark.isdigit() and len(mark) <= 18):
        raise Invalid("The cursor is none of ours.")
    return mark
