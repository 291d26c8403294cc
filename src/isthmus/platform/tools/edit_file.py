"""Replaces one piece of text in a file of the workspace."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, EditFile
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    file_path: Annotated[str, Meta(description="Path inside the workspace.", min_length=1)]
    old_str: Annotated[
        str,
        Meta(description="The text to replace, exactly as it stands in the file, and only once."),
    ] = ""
    new_str: Annotated[str, Meta(description="The text to put in its place.")] = ""


async def run(args: Args, client: Client) -> str:
    """What the client says of it."""
    action = EditFile(filepath=args.file_path, oldString=args.old_str, newString=args.new_str)
    reply = await client.ask(Action(runEditFile=action))
    return reply.plainTextResponse.response


TOOL = Tool(
    name="edit_file",
    description=(
        "Replace one piece of text in a file. Read the file first, and quote enough of it that "
        "the piece occurs only once."
    ),
    args=Args,
    run=run,
    effect="write",
    title=lambda args: f"Edit {args.file_path}",
    paths=lambda args: (args.file_path,),
)
