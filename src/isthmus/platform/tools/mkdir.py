"""Creates a folder in the workspace."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, Mkdir
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    directory_path: Annotated[
        str, Meta(description="Path of the new folder, relative to the workspace.", min_length=1)
    ]


async def run(args: Args, client: Client) -> str:
    """What the client says of it."""
    path = args.directory_path
    path = path if path.startswith("./") else f"./{path}"
    reply = await client.ask(Action(mkdir=Mkdir(directory_path=path)))
    return reply.plainTextResponse.response


TOOL = Tool(
    name="mkdir",
    description="Create a folder in the workspace, and the folders above it.",
    args=Args,
    run=run,
    effect="write",
    title=lambda args: f"Create folder {args.directory_path}",
    paths=lambda args: (args.directory_path,),
)
