"""Jobs that start other pipelines, and failed."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.platform.instance_text import dumped
from isthmus.platform.pipelines import bridges
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    url: Annotated[str | None, Meta(description="Address of the pipeline.")] = None


async def run(args: Args, client: Client) -> str:
    """The failed ones as JSON."""
    found = await bridges(args.url, client)
    return dumped([one for one in found if one.get("status") == "failed"])


TOOL = Tool(
    name="get_failing_bridge_jobs",
    description="List the jobs of a pipeline that started other pipelines and failed.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read the failed child pipelines of {args.url}",
)
