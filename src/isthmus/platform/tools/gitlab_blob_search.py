"""Searches the code that the instance has."""

import re
from typing import Annotated
from urllib.parse import unquote

from msgspec import Meta, Struct

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from isthmus.platform.instance_text import checked, query, segment
from isthmus.platform.tool import Client, Tool

_Search = Annotated[str, Meta(description="Words to look for in files.", min_length=1)]
_OrderBy = Annotated[str | None, Meta(description="What to sort by.")]
_Sort = Annotated[str | None, Meta(description="asc or desc.")]
_Ref = Annotated[str | None, Meta(description="Branch or tag to search in.")]
_SEARCH_PATH = re.compile(r"/?(?:api/v4/)?(?:(projects|groups)/([^/?#]+)/(?:-/)?)?search")


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of the variant that searches one project."""

    id: Annotated[str, Meta(description="The project's number, or its full path.", min_length=1)]
    search: _Search
    order_by: _OrderBy = None
    sort: _Sort = None
    ref: _Ref = None


class AdvancedArgs(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of the variant that also searches a group or the whole instance."""

    search: _Search
    api_url: Annotated[
        str,
        Meta(
            description=(
                "Where to search: `/api/v4/search` (all), `/api/v4/groups/ID/search` or"
                " `/api/v4/projects/ID/search`."
            )
        ),
    ]
    order_by: _OrderBy = None
    sort: _Sort = None
    ref: _Ref = None


async def run(args: Args, client: Client) -> str:
    """What was found, as JSON."""
    return await _found(f"/api/v4/projects/{segment(args.id, 'id')}/search", args, client)


async def run_advanced(args: AdvancedArgs, client: Client) -> str:
    """What was found, as JSON. Raises ToolRefused for any other route."""
    named = _SEARCH_PATH.fullmatch(args.api_url)
    if named is None:
        raise ToolRefused("`api_url` must be one of the three routes of searches.")
    kind, key = named[1], named[2]
    place = f"/{kind}/{segment(unquote(key), 'api_url')}" if kind else ""
    return await _found(f"/api/v4{place}/search", args, client)


async def _found(path: str, args: Args | AdvancedArgs, client: Client) -> str:
    asked = {
        "scope": "blobs",
        "search": args.search,
        "order_by": args.order_by,
        "sort": args.sort,
        "ref": args.ref,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return checked(await instance_api.request(client, "GET", path + query(given))).body


_ADVANCED = Tool(
    name="gitlab_blob_search",
    description="Search code in a project, a group or the whole instance.",
    args=AdvancedArgs,
    run=run_advanced,
    effect="gitlab_read",
    title=lambda args: f"Search code for {args.search!r}",
)

TOOL = Tool(
    name="gitlab_blob_search",
    description="Search the code of a project on the instance.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Search code for {args.search!r}",
    variants=(("advanced_search", _ADVANCED),),
)
