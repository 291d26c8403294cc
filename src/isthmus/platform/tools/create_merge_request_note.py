"""Writes a note on a merge request, or replies to one."""

from typing import Annotated

from msgspec import Meta

from isthmus.platform.gitlab_args import MergeRequestArgs, merge_request_path
from isthmus.platform.notes import Note, write
from isthmus.platform.tool import Client, Tool


class Args(MergeRequestArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    body: Annotated[
        str, Meta(description="The text, in Markdown.", min_length=1, max_length=1_000_000)
    ]
    note_id: Annotated[
        int | None,
        Meta(description="Number of a note to reply to; a new thread is begun when left out."),
    ] = None
    internal: Annotated[bool, Meta(description="Whether only members of the project see it.")] = (
        False
    )


async def run(args: Args, client: Client) -> str:
    """The note as the instance stored it."""
    path = merge_request_path(args, client)
    return await write(path, Note(args.body, args.note_id, args.internal), client)


TOOL = Tool(
    name="create_merge_request_note",
    description="Write a note on a merge request, or reply to one.",
    args=Args,
    run=run,
    effect="gitlab_write",
    title=lambda args: f"Write on merge request {args.merge_request_iid or args.url}",
    trust="internal",
)
