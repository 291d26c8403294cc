"""The changes of a merge request."""

from isthmus.platform import diffs
from isthmus.platform.gitlab_args import MergeRequestArgs, merge_request_path
from isthmus.platform.instance_text import dumped
from isthmus.platform.listing import all_of
from isthmus.platform.tool import Client, Tool


class Args(MergeRequestArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""


async def run(args: Args, client: Client) -> str:
    """The diffs of all files as JSON; those of protected files are left out."""
    found = await all_of(client, merge_request_path(args, client) + "/diffs")
    return dumped(diffs.allowed(found, client.exclusion))


TOOL = Tool(
    name="list_merge_request_diffs",
    description="Read what a merge request changes, file by file.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read the changes of merge request {args.merge_request_iid or args.url}",
)
