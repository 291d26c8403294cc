"""The tool that searches GitLab's documentation, over whichever index this server has."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.core.ports import Search
from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Client, Tool

HITS = 4


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    search: Annotated[str, Meta(description="Words to look for.", min_length=1, max_length=2_000)]


def tool_over(search: Search) -> Tool:
    """The tool; without an index it finds nothing."""

    async def run(args: Args, _: Client) -> str:
        found = await search.find(args.search, HITS)
        return dumped([{**one.metadata, "content": one.content} for one in found])

    return Tool(
        name="gitlab_documentation_search",
        description="Search the documentation of GitLab and get the passages that fit best.",
        args=Args,
        run=run,
        effect="gitlab_read",
        title=lambda args: f"Search the documentation for {args.search!r}",
        trust="external",
    )
