"""Creates a file in the workspace."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, WriteFile
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    file_path: Annotated[
        str, Meta(description="Path of the new file inside the workspace.", min_length=1)
    ]
    contents: Annotated[str, Meta(description="Everything that the file shall hold.")]


async def run(args: Args, client: Client) -> str:
    """What the client says of it."""
    action = WriteFile(filepath=args.file_path, contents=args.contents)
    reply = await client.ask(Action(runWriteFile=action))
    return reply.plainTextResponse.response


TOOL = Tool(
    name="create_file_with_contents",
    description="Create a new file in the workspace. To change a file that exists, use edit_file.",
    args=Args,
    run=run,
    effect="write",
    title=lambda args: f"Create {args.file_path}",
    paths=lambda args: (args.file_path,),
)
