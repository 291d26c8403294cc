"""Makes a commit on the instance, without a checkout."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, structs

from isthmus.core.errors import ToolRefused
from isthmus.platform import files, instance_api
from isthmus.platform.gitlab_args import ProjectArgs, project_path
from isthmus.platform.instance_text import checked
from isthmus.platform.paths import traverses
from isthmus.platform.tool import Client, Tool

_Path = Annotated[str, Meta(min_length=1, max_length=4096)]


class Change(Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of one file."""

    action: Annotated[
        Literal["create", "delete", "move", "update"], Meta(description="What is done to it.")
    ]
    file_path: Annotated[_Path, Meta(description="Path of the file in the repository.")]
    previous_path: Annotated[_Path | None, Meta(description="move: where it was.")] = None
    content: Annotated[str | None, Meta(description="The whole content from now on.")] = None
    old_str: Annotated[
        str | None,
        Meta(description="update: a text that is there once, in place of the content."),
    ] = None
    new_str: Annotated[str | None, Meta(description="update: what takes its place.")] = None
    encoding: Annotated[
        Literal["text", "base64"] | None, Meta(description="How `content` is written.")
    ] = None
    last_commit_id: Annotated[
        str | None, Meta(description="The last commit of the file that you know.")
    ] = None


class Args(ProjectArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    commit_message: Annotated[str, Meta(description="The message.", min_length=1)]
    actions: Annotated[
        list[Change], Meta(description="What changes, file by file.", min_length=1, max_length=200)
    ]
    branch: Annotated[str | None, Meta(description="The branch that gets the commit.")] = None
    start_branch: Annotated[str | None, Meta(description="Branch that a new one begins at.")] = None
    start_sha: Annotated[str | None, Meta(description="Commit that a new branch begins at.")] = None
    start_project: Annotated[
        int | str | None, Meta(description="Project that a new branch begins in.")
    ] = None
    author_email: Annotated[str | None, Meta(description="Address of the author.")] = None
    author_name: Annotated[str | None, Meta(description="Name of the author.")] = None


async def run(args: Args, client: Client) -> str:
    """The commit as the instance made it. Raises ToolRefused when a change does not fit."""
    project = project_path(args, client)
    if not args.branch:
        raise ToolRefused("`branch` is missing.")
    base = args.start_sha or args.start_branch or args.branch
    actions = [await _action(change, project, base, client) for change in args.actions]
    asked: dict[str, Any] = {
        "branch": args.branch,
        "commit_message": args.commit_message,
        "actions": actions,
        "start_branch": args.start_branch,
        "start_sha": args.start_sha,
        "start_project": args.start_project,
        "author_email": args.author_email,
        "author_name": args.author_name,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    path = f"{project}/repository/commits"
    return checked(await instance_api.request(client, "POST", path, given)).body


async def _action(change: Change, project: str, base: str, client: Client) -> dict[str, Any]:
    for path in (change.file_path, change.previous_path or ""):
        if client.exclusion.hides(path) or traverses(path):
            raise ToolRefused(f"Access denied: {path!r} is protected.")
    asked = {k: v for k, v in structs.asdict(change).items() if v is not None}
    old, new = asked.pop("old_str", None), asked.pop("new_str", None)
    if old is None:
        return asked
    if change.action != "update" or change.content is not None:
        raise ToolRefused("`old_str` goes with `update`, and not with `content`.")
    text = await files.text_of(project, change.file_path, base, client)
    if text.count(old) != 1:
        raise ToolRefused(f"`old_str` is {text.count(old)} times in {change.file_path}.")
    return asked | {"content": text.replace(old, new or "")}


TOOL = Tool(
    name="create_commit",
    description=(
        "Make a commit on a branch of the instance, without a checkout: create, update, move or "
        "delete files, with their whole content or by replacing a text that is there once."
    ),
    args=Args,
    run=run,
    effect="gitlab_write",
    title=lambda args: f"Commit to {args.branch}",
    trust="internal",
)
