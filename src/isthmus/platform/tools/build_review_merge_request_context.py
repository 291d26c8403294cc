"""All that a review of a merge request begins with, in one text."""

from typing import Annotated, Any

from msgspec import Meta

from isthmus.core.errors import ToolRefused
from isthmus.platform import diffs, files, instance_api
from isthmus.platform.gitlab_args import MergeRequestArgs, merge_request_path
from isthmus.platform.instance_text import at, dumped, query
from isthmus.platform.listing import all_of, one_of
from isthmus.platform.tool import Client, Keep, Tool

MAX_FILES = 50
MAX_CHARS = 1024 * 1024
"""Of all files before the change together: the text is cut at so much."""
_KEYS = ("iid", "title", "description", "author", "labels", "source_branch", "target_branch")


class Args(MergeRequestArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    only_diffs: Annotated[bool, Meta(description="Only what changed.")] = False
    lightweight: Annotated[
        bool, Meta(description="Without the files as they were before the change.")
    ] = False
    include_diff_links: Annotated[
        bool, Meta(description="With the address of each file's changes.")
    ] = False


async def run(args: Args, client: Client) -> str:
    """The merge request, its changes, the files before, and the project's wishes, as JSON."""
    path = merge_request_path(args, client)
    shown = await one_of(client, path)
    changes = diffs.allowed(await all_of(client, f"{path}/diffs"), client.exclusion)
    told: dict[str, Any] = {"diffs": [_linked(one, args, shown) for one in changes]}
    if not args.only_diffs:
        told["merge_request"] = {key: shown.get(key) for key in _KEYS}
        told["custom_instructions"] = await _wishes(client, path)
        if not args.lightweight:
            told["original_files"] = await _originals(client, path, shown, changes)
    return dumped(told)


def _linked(one: Any, args: Args, shown: dict[str, Any]) -> Any:
    if not args.include_diff_links:
        return one
    return {**one, "url": f"{shown.get('web_url')}/diffs"}


async def _wishes(client: Client, path: str) -> Any:
    """What the project asks of reviews; nothing where the instance has no such wishes."""
    project = path.removeprefix("/api/v4/projects/").partition("/")[0]
    route = "/api/v4/ai/duo_workflows/code_review/custom_instructions"
    reply = await instance_api.request(client, "GET", route + query({"project_id": project}))
    return reply.json() if reply.ok and reply.body.strip() else []


async def _originals(
    client: Client, path: str, shown: dict[str, Any], changes: list[Any]
) -> dict[str, str]:
    base = at(shown, "diff_refs.base_sha")
    project = path.partition("/merge_requests/")[0]
    wanted = [one["old_path"] for one in changes if one.get("old_path") and not one.get("new_file")]
    found: dict[str, str] = {}
    room = MAX_CHARS
    for name in wanted[:MAX_FILES]:
        if room <= 0:
            break
        try:
            found[name] = await files.text_of(project, name, base, client)
        except ToolRefused as refusal:
            found[name] = f"[{refusal.detail}]"
        room -= len(found[name])
    return found


TOOL = Tool(
    name="build_review_merge_request_context",
    description=(
        "Get what a review of a merge request begins with: its description, its changes, the files "
        "as they were, and what the project asks of reviews."
    ),
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Gather merge request {args.merge_request_iid or args.url} for a review",
    cleaning="review",
    keep=Keep(1024 * 1024, 800 * 1024),
)
