"""Reads several text files of the workspace at once."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, ReadFiles
from isthmus.platform.exclusion import REASON
from isthmus.platform.instance_text import dumped
from isthmus.platform.paths import denied
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    file_paths: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(description="Paths inside the workspace.", min_length=1, max_length=100),
    ]


async def run(args: Args, client: Client) -> str:
    """A JSON object: path to content, or to why it was not read."""
    hides = client.exclusion.hides
    allowed = [path for path in args.file_paths if not hides(path)]
    found: dict[str, object] = {path: {"error": REASON} for path in args.file_paths if hides(path)}
    if allowed:
        reply = await client.ask(Action(runReadFiles=ReadFiles(filepaths=allowed)))
        text = reply.plainTextResponse.response
        try:
            found |= msgspec.json.decode(text, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return text
    return dumped(found)


TOOL = Tool(
    name="read_files",
    description="Read several text files of the workspace at once.",
    args=Args,
    run=run,
    effect="read",
    title=lambda args: f"Read {', '.join(args.file_paths)}",
    paths=lambda args: tuple(path for path in args.file_paths if not denied(path)),
    cleaning="none",
)
