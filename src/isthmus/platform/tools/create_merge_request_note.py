"""Writes a note on a merge request, or replies to one."""

from typing import Annotated

from msgspec import Meta

from isthmus.platform import instance_api
from isthmus.platform.declared import checked
from isthmus.platform.gitlab_args import MergeRequestArgs, merge_request_path
from isthmus.platform.notes import thread_of
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
    if args.note_id is not None:
        thread = await thread_of(path, args.note_id, client)
        path, asked = f"{path}/discussions/{thread}/notes", {"body": args.body}
    else:
        path, asked = f"{path}/notes", {"body": args.body, "internal": args.internal}
    return checked(await instance_api.request(client, "POST", path, asked)).body


TOOL = Tool(
    name="create_merge_request_note",
    description="Write a note on a merge request, or reply to one.",
    args=Args,
    run=run,
    effect="gitlab_write",
    title=lambda args: f"Write on merge request {args.merge_request_iid or args.url}",
    trust="internal",
)
