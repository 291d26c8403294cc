"""Reads a text file of the workspace, whole or a window of lines."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, ReadFile
from isthmus.platform.tool import Client, Tool

_Path = Annotated[
    str, Meta(description="Path inside the workspace, such as `src/app.py`.", min_length=1)
]


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of the plain variant."""

    file_path: _Path


class ChunkArgs(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of the variant that reads a window of lines."""

    file_path: _Path
    offset: Annotated[
        int, Meta(description="Lines to skip; 0 starts at the first line.", ge=0, le=2**31)
    ] = 0
    limit: Annotated[int, Meta(description="How many lines to read.", ge=1, le=100_000)] = 2000


async def run(args: Args, client: Client) -> str:
    """The whole file."""
    reply = await client.ask(Action(runReadFile=ReadFile(filepath=args.file_path)))
    return reply.plainTextResponse.response


async def run_chunk(args: ChunkArgs, client: Client) -> str:
    """`limit` lines after the first `offset` ones."""
    action = ReadFile(filepath=args.file_path, offset=args.offset, limit=args.limit)
    reply = await client.ask(Action(runReadFile=action))
    return reply.plainTextResponse.response


def _title(args: Args | ChunkArgs) -> str:
    return f"Read {args.file_path}"


def _paths(args: Args | ChunkArgs) -> tuple[str, ...]:
    return (args.file_path,)


_CHUNKED = Tool(
    name="read_file",
    description=(
        "Read lines of a text file of the workspace. Long files are read in windows: raise "
        "`offset` to go on where the last window ended."
    ),
    args=ChunkArgs,
    run=run_chunk,
    effect="read",
    title=_title,
    paths=_paths,
    cleaning="none",
)

TOOL = Tool(
    name="read_file",
    description="Read a text file of the workspace and get its exact content.",
    args=Args,
    run=run,
    effect="read",
    title=_title,
    paths=_paths,
    cleaning="none",
    variants=(("read_file_chunked", _CHUNKED),),
)
