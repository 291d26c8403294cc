"""Runs a query in GLQL."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.platform import instance_api
from isthmus.platform.instance_text import checked
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    glql_yaml: Annotated[
        str, Meta(description="The query with its settings, in YAML.", min_length=1)
    ]
    after: Annotated[
        str | None, Meta(description="Where to go on, from the cursor of an earlier answer.")
    ] = None


async def run(args: Args, client: Client) -> str:
    """The answer as the instance gives it."""
    asked = {"glql_yaml": args.glql_yaml} | ({"after": args.after} if args.after else {})
    return checked(await instance_api.request(client, "POST", "/api/v4/glql", asked)).body


TOOL = Tool(
    name="run_glql_query",
    description="Run a query in GLQL for figures about issues, merge requests, epics or pipelines.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda _: "Run a query in GLQL",
)
