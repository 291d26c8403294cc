"""Finds files of the workspace by a glob pattern."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, FindFiles
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    name_pattern: Annotated[
        str, Meta(description="Glob pattern, such as `*.py` or `src/**/test_*.rb`.", min_length=1)
    ]


async def run(args: Args, client: Client) -> str:
    """One path a line, protected files left out."""
    reply = await client.ask(Action(findFiles=FindFiles(name_pattern=args.name_pattern)))
    return await client.exclusion.without(reply.plainTextResponse.response)


TOOL = Tool(
    name="find_files",
    description="Find files of the workspace whose path matches a glob pattern, one path a line.",
    args=Args,
    run=run,
    effect="read",
    title=lambda args: f"Find files {args.name_pattern}",
    paths=lambda args: (args.name_pattern,),
)
