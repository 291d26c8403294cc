"""Lists the entries of a folder of the workspace."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, ListDirectory
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    directory: Annotated[
        str, Meta(description="Folder inside the workspace; `.` is its root.", min_length=1)
    ]


async def run(args: Args, client: Client) -> str:
    """One path a line, protected entries left out."""
    reply = await client.ask(Action(listDirectory=ListDirectory(directory=args.directory)))
    return await client.exclusion.without(reply.plainTextResponse.response)


TOOL = Tool(
    name="list_dir",
    description="List the files and folders in one folder of the workspace, one path a line.",
    args=Args,
    run=run,
    effect="read",
    title=lambda args: f"List {args.directory}",
    paths=lambda args: (args.directory,),
)
