"""Publishes a review of a merge request: comments at lines, a summary and a verdict at once."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from isthmus.platform.gitlab_args import NumberedMergeRequestArgs
from isthmus.platform.instance_text import at, checked, dumped
from isthmus.platform.listing import all_of, one_of
from isthmus.platform.tool import Client, Tool

MAX_FILES = 100
_Line = Annotated[int, Meta(ge=1)] | None


class Comment(Struct, frozen=True, forbid_unknown_fields=True):
    """One comment."""

    file: Annotated[str, Meta(description="Path of the file after the change.", min_length=1)]
    body: Annotated[str, Meta(description="The text, in Markdown.", min_length=1)]
    new_line: Annotated[_Line, Meta(description="Line after the change.")] = None
    old_line: Annotated[_Line, Meta(description="Line before the change.")] = None
    target_code: Annotated[str | None, Meta(description="The line that is meant, as it is.")] = None
    suggestion: Annotated[str | None, Meta(description="What should stand there instead.")] = None


class Args(NumberedMergeRequestArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    comments: Annotated[list[Comment], Meta(description="Comments at lines.", max_length=200)]
    verdict: Annotated[
        Literal["requested_changes", "reviewed"] | None,
        Meta(description="Whether changes are needed before it may be merged."),
    ] = None
    summary: Annotated[str | None, Meta(description="What the review says as a whole.")] = None
    summary_internal: Annotated[
        bool, Meta(description="Whether only members of the project see the summary.")
    ] = False
    fold_inline_into_summary_when_public: Annotated[
        bool, Meta(description="Put the comments into an internal summary where anybody may read.")
    ] = False
    inline_findings_title: Annotated[
        str | None, Meta(description="Heading above comments that are put into the summary.")
    ] = None


async def run(args: Args, client: Client) -> str:
    """How many comments were published, and which could not be placed. Raises ToolRefused."""
    if len({comment.file for comment in args.comments}) > MAX_FILES:
        raise ToolRefused(f"A review has comments on at most {MAX_FILES} files.")
    shown = await one_of(client, args.path)
    folded = args.fold_inline_into_summary_when_public and await _public(args, client)
    inline = [] if folded else args.comments
    old_paths = await _old_paths(args, client) if inline else {}
    failed: list[dict[str, str]] = []
    loose = list(args.comments) if folded else list[Comment]()
    for comment in inline:
        asked = {"note": _text(comment), "position": _position(comment, shown, old_paths)}
        path = f"{args.path}/draft_notes"
        reply = await instance_api.request(client, "POST", path, asked)
        if not reply.ok:
            failed.append({"file": comment.file, "error": f"status {reply.status}"})
            loose.append(comment)
    placed = len(inline) - len(failed)
    if placed or args.verdict:
        asked = {"reviewer_state": args.verdict} if args.verdict else None
        path = f"{args.path}/draft_notes/bulk_publish"
        checked(await instance_api.request(client, "POST", path, asked))
    if summary := _summary(args, loose):
        note = {"body": summary, "internal": args.summary_internal or folded}
        checked(await instance_api.request(client, "POST", f"{args.path}/notes", note))
    return dumped({"published": placed, "not_placed": failed, "verdict": args.verdict})


def _text(comment: Comment) -> str:
    if comment.suggestion is None:
        return comment.body
    return f"{comment.body}\n\n```suggestion:-0+0\n{comment.suggestion}\n```"


def _position(comment: Comment, shown: object, old_paths: dict[str, str]) -> dict[str, Any]:
    position = {
        "position_type": "text",
        "base_sha": at(shown, "diff_refs.base_sha"),
        "start_sha": at(shown, "diff_refs.start_sha"),
        "head_sha": at(shown, "diff_refs.head_sha"),
        "old_path": old_paths.get(comment.file, comment.file),
        "new_path": comment.file,
        "old_line": comment.old_line,
        "new_line": comment.new_line,
    }
    return {name: value for name, value in position.items() if value is not None}


def _summary(args: Args, loose: list[Comment]) -> str:
    parts = [args.summary or ""]
    if loose:
        parts.append(f"### {args.inline_findings_title or 'Remarks on lines'}")
        parts += [
            f"- `{one.file}:{one.new_line or one.old_line or ''}` {one.body}" for one in loose
        ]
    return "\n\n".join(part for part in parts if part)


async def _old_paths(args: Args, client: Client) -> dict[str, str]:
    diffs = await all_of(client, f"{args.path}/diffs")
    return {str(one.get("new_path")): str(one.get("old_path")) for one in diffs}


async def _public(args: Args, client: Client) -> bool:
    found = await one_of(client, f"/api/v4/projects/{args.project_id}")
    return found.get("visibility") == "public"


TOOL = Tool(
    name="submit_mr_review",
    description=(
        "Publish a review of a merge request at once: comments at lines with suggestions, a "
        "summary and a verdict."
    ),
    args=Args,
    run=run,
    effect="gitlab_write",
    title=lambda args: f"Publish a review of merge request {args.merge_request_iid}",
    trust="internal",
)
