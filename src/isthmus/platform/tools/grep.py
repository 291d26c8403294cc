"""Searches the workspace's text."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, Grep
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    keywords: Annotated[
        str, Meta(description="Text to look for; letters of any case match.", min_length=1)
    ]
    search_directory: Annotated[
        str | None, Meta(description="Folder to search in; the whole workspace when left out.")
    ] = None


async def run(args: Args, client: Client) -> str:
    """Matching lines as the client prints them, those of protected files left out."""
    action = Grep(
        search_directory=args.search_directory or ".",
        pattern=args.keywords,
        case_insensitive=True,
    )
    reply = await client.ask(Action(grep=action))
    return await client.exclusion.without(reply.plainTextResponse.response, ":")


TOOL = Tool(
    name="grep",
    description="Search the files of the workspace for a text and get the lines that hold it.",
    args=Args,
    run=run,
    effect="read",
    title=lambda args: f"Search for {args.keywords!r} in {args.search_directory or '.'}",
    paths=lambda args: (args.search_directory or ".",),
)
