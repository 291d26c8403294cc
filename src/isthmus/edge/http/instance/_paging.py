"""Pages by number: what a request asks for, and the headers that tell of the others.

Source: instance contract, section 1.0.
"""

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from msgspec import Meta, Struct
from starlette.requests import Request

from isthmus.edge.http.instance._entry import Visit
from isthmus.edge.http.reply import Headers

MAX_PER_PAGE = 100


class Paging(Struct, frozen=True):
    """The parameters of a list; larger pages than there may be are cut."""

    page: Annotated[int, Meta(ge=1, le=2**31)] = 1
    per_page: Annotated[int, Meta(ge=1)] = 20

    @property
    def size(self) -> int:
        """How many items a page has."""
        return min(self.per_page, MAX_PER_PAGE)


def headers(visit: Visit, paging: Paging, total: int) -> Headers:
    """The headers of this page; the case of their names is part of the contract."""
    url = visit.url + visit.request.url.path
    last = max(1, -(-total // paging.size))
    pages = {
        "prev": paging.page - 1 if 1 < paging.page <= last + 1 else None,
        "next": paging.page + 1 if paging.page < last else None,
        "first": 1,
        "last": last,
    }
    links = [
        f'<{url}?{_query(visit.request, number, paging.size)}>; rel="{name}"'
        for name, number in pages.items()
        if number is not None
    ]
    told = {
        "X-Page": paging.page,
        "X-Per-Page": paging.size,
        "X-Next-Page": pages["next"] or "",
        "X-Prev-Page": pages["prev"] or "",
        "X-Total": total,
        "X-Total-Pages": last,
        "Link": ", ".join(links),
    }
    return [(name.encode(), str(value).encode("latin-1")) for name, value in told.items()]


def _query(request: Request, number: int, size: int) -> str:
    kept = dict(parse_qsl(request.url.query)[:20]) | {"page": str(number), "per_page": str(size)}
    return urlencode(kept)
