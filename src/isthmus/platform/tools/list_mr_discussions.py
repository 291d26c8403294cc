"""The discussions of a merge request."""

from typing import Annotated, Any

from msgspec import Meta

from isthmus.platform.gitlab_args import NumberedMergeRequestArgs
from isthmus.platform.instance_text import at, dumped
from isthmus.platform.listing import all_of
from isthmus.platform.tool import Client, Tool

NOTE_CHARS = 2_000


class Args(NumberedMergeRequestArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    only_from_author: Annotated[
        str | None, Meta(description="Only discussions that this user began.")
    ] = None
    only_resolvable: Annotated[bool, Meta(description="Only discussions that can be resolved.")] = (
        False
    )


async def run(args: Args, client: Client) -> str:
    """The discussions as JSON, long notes cut."""
    found = await all_of(client, f"{args.path}/discussions")
    return dumped([shown for one in found if (shown := _shown(one, args))])


def _shown(discussion: dict[str, Any], args: Args) -> dict[str, Any] | None:
    notes: list[dict[str, Any]] = discussion.get("notes") or []
    first: dict[str, Any] = notes[0] if notes else {}
    author = at(first, "author.username")
    if args.only_from_author and author != args.only_from_author:
        return None
    if args.only_resolvable and not first.get("resolvable"):
        return None
    return {
        "id": discussion.get("id"),
        "resolved": all(note.get("resolved") for note in notes if note.get("resolvable")),
        "notes": [
            {
                "id": note.get("id"),
                "author": at(note, "author.username"),
                "body": str(note.get("body") or "")[:NOTE_CHARS],
                "created_at": note.get("created_at"),
                "position": note.get("position"),
                "resolvable": note.get("resolvable"),
            }
            for note in notes
        ],
    }


TOOL = Tool(
    name="list_mr_discussions",
    description="Read the discussions of a merge request: notes, places, and what is resolved.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read the discussions of merge request {args.merge_request_iid}",
)
