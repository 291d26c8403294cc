"""Pipelines that a pipeline started."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.platform.instance_text import dumped
from isthmus.platform.pipelines import bridges
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    url: Annotated[str | None, Meta(description="Address of the pipeline.")] = None


async def run(args: Args, client: Client) -> str:
    """The pipelines as JSON."""
    found = await bridges(args.url, client)
    return dumped([one["downstream_pipeline"] for one in found if one.get("downstream_pipeline")])


TOOL = Tool(
    name="get_downstream_pipelines",
    description="List the pipelines that a pipeline started.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read the child pipelines of {args.url}",
)
