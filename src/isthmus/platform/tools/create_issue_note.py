"""Writes a note on an issue, or replies to one."""

from typing import Annotated

from msgspec import Meta

from isthmus.platform.gitlab_args import ProjectArgs, named
from isthmus.platform.instance_text import segment
from isthmus.platform.notes import Note, write
from isthmus.platform.tool import Client, Tool


class Args(ProjectArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    issue_iid: Annotated[
        int | None, Meta(description="Number of the issue within its project.")
    ] = None
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
    found = named(args, client, "issue_iid")
    project = segment(found["project"], "project_id")
    path = f"/api/v4/projects/{project}/issues/{found['issue_iid']}"
    return await write(path, Note(args.body, args.note_id, args.internal), client)


TOOL = Tool(
    name="create_issue_note",
    description="Write a note on an issue, or reply to one.",
    args=Args,
    run=run,
    effect="gitlab_write",
    title=lambda args: f"Write on issue {args.issue_iid or args.url}",
    trust="internal",
)
