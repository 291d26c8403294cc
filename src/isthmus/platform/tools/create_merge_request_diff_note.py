"""Writes a comment at a line of a merge request's changes."""

from typing import Annotated, Any

from msgspec import Meta

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from isthmus.platform.gitlab_args import MergeRequestArgs, merge_request_path
from isthmus.platform.instance_text import at, checked
from isthmus.platform.listing import one_of
from isthmus.platform.tool import Client, Tool

_Line = Annotated[int, Meta(ge=1)] | None


class Args(MergeRequestArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    body: Annotated[
        str, Meta(description="The text, in Markdown.", min_length=1, max_length=1_000_000)
    ]
    old_path: Annotated[str, Meta(description="Path of the file before the change.", min_length=1)]
    new_path: Annotated[str, Meta(description="Path of the file after the change.", min_length=1)]
    old_line: Annotated[_Line, Meta(description="Line before the change.")] = None
    new_line: Annotated[_Line, Meta(description="Line after the change.")] = None


async def run(args: Args, client: Client) -> str:
    """The comment as the instance stored it. Raises ToolRefused when the place is not whole."""
    if args.old_line is None and args.new_line is None:
        raise ToolRefused("Give `new_line` for a line that is there, `old_line` for one that went.")
    path = merge_request_path(args, client)
    shown = await one_of(client, path)
    if not at(shown, "diff_refs.head_sha"):
        raise ToolRefused("The merge request has no changes yet.")
    position: dict[str, Any] = {
        "position_type": "text",
        "base_sha": at(shown, "diff_refs.base_sha"),
        "start_sha": at(shown, "diff_refs.start_sha"),
        "head_sha": at(shown, "diff_refs.head_sha"),
        "old_path": args.old_path,
        "new_path": args.new_path,
        "old_line": args.old_line,
        "new_line": args.new_line,
    }
    asked = {"body": args.body, "position": {k: v for k, v in position.items() if v is not None}}
    return checked(await instance_api.request(client, "POST", f"{path}/discussions", asked)).body


TOOL = Tool(
    name="create_merge_request_diff_note",
    description="Write a comment at a line of a merge request's changes.",
    args=Args,
    run=run,
    effect="gitlab_write",
    title=lambda args: f"Comment on {args.new_path}",
    trust="internal",
)
