"""The changes of a commit."""

from typing import Annotated

from msgspec import Meta

from isthmus.platform import diffs
from isthmus.platform.gitlab_args import ProjectArgs, named, project_path
from isthmus.platform.instance_text import dumped, segment
from isthmus.platform.listing import all_of
from isthmus.platform.tool import Client, Tool


class Args(ProjectArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    commit_sha: Annotated[
        str | None, Meta(description="Hash of the commit, or the name of a branch or tag.")
    ] = None


async def run(args: Args, client: Client) -> str:
    """The diffs of all files as JSON; those of protected files are left out."""
    sha = segment(named(args, client, "commit_sha")["commit_sha"], "commit_sha")
    path = f"{project_path(args, client)}/repository/commits/{sha}/diff"
    return dumped(diffs.allowed(await all_of(client, path), client.exclusion))


TOOL = Tool(
    name="get_commit_diff",
    description="Read what a commit changed, file by file.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read the changes of commit {args.commit_sha or args.url}",
)
