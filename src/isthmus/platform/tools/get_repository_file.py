"""A file of a repository, read through the instance."""

from typing import Annotated

from msgspec import Meta

from isthmus.platform.files import window_of
from isthmus.platform.gitlab_args import ProjectArgs
from isthmus.platform.tool import Client, Tool


class Args(ProjectArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    ref: Annotated[
        str | None,
        Meta(description="Branch, tag or commit; the default branch when left out."),
    ] = None
    file_path: Annotated[str | None, Meta(description="Path of the file in the repository.")] = None
    offset: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Lines to skip; none when left out.")
    ] = None
    limit: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="How many lines; 2000 when left out.")
    ] = None


async def run(args: Args, client: Client) -> str:
    """A window of its lines."""
    return await window_of(args, args.file_path, args.ref, (args.offset, args.limit), client)


TOOL = Tool(
    name="get_repository_file",
    description="Read lines of a file of a project's repository through the instance.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read {args.file_path or args.url} of the repository",
    cleaning="none",
)
