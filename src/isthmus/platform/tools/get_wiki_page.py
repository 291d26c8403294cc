"""A page of a wiki with its comments."""

from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Meta, Struct

from isthmus.core.errors import ToolRefused
from isthmus.platform.instance_text import dumped, segment
from isthmus.platform.listing import all_of, one_of
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    slug: Annotated[str, Meta(description="The page's slug, such as `guides/setup`.", min_length=1)]
    project_id: Annotated[
        str | None, Meta(description="The project's number, or its full path.")
    ] = None
    group_id: Annotated[str | None, Meta(description="The group's number, or its full path.")] = (
        None
    )


async def run(args: Args, client: Client) -> str:
    """The page as JSON, with its comments where it has any."""
    if bool(args.project_id) == bool(args.group_id):
        raise ToolRefused("Give one of `project_id` and `group_id`.")
    kind = "projects" if args.project_id else "groups"
    place = f"/api/v4/{kind}/{segment(args.project_id or args.group_id, 'project_id')}"
    found: dict[str, Any] = await one_of(client, f"{place}/wikis/{quote(args.slug, safe='')}")
    if (number := found.get("wiki_page_meta_id")) is not None:
        found["notes"] = await all_of(client, f"{place}/wiki_pages/{number}/notes")
    return dumped(found)


TOOL = Tool(
    name="get_wiki_page",
    description="Read a page of a wiki, and what was said about it.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read the wiki page {args.slug}",
)
