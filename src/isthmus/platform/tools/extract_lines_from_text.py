"""Cuts lines out of a text."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.core.errors import ToolRefused
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    content: Annotated[str, Meta(description="The text.")]
    start_line: Annotated[int, Meta(description="The first line, from 1.", ge=1)]
    end_line: Annotated[
        int | None, Meta(description="The last line; the first one alone when left out.")
    ] = None


async def run(args: Args, _: Client) -> str:
    """The lines. Raises ToolRefused when there are none."""
    last = args.start_line if args.end_line is None else args.end_line
    lines = args.content.splitlines(keepends=True)
    if last < args.start_line or args.start_line > len(lines):
        raise ToolRefused(f"The text has {len(lines)} lines; there is nothing to cut out.")
    return "".join(lines[args.start_line - 1 : last])


TOOL = Tool(
    name="extract_lines_from_text",
    description="Cut lines out of a text that you give, counted from 1.",
    args=Args,
    run=run,
    effect="read",
    title=lambda args: f"Cut out lines from {args.start_line}",
    cleaning="none",
)
