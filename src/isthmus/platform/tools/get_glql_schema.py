"""What GLQL can ask for."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Client, Tool

_PEOPLE = ["author", "assignee"]
_DATES = ["created", "updated", "closed"]
SOURCES: Final[dict[str, dict[str, list[str]]]] = {
    "Issue": {
        "filters": [
            *_PEOPLE,
            *_DATES,
            *("type", "state", "label", "milestone", "iteration", "epic", "weight", "health"),
            *("due", "confidential", "project", "group", "status", "parent"),
        ],
        "fields": [
            *_PEOPLE,
            *_DATES,
            *("title", "state", "labels", "milestone", "iteration", "epic", "weight", "due"),
            *("healthStatus", "status", "id"),
        ],
    },
    "MergeRequest": {
        "filters": [
            *_PEOPLE,
            *("created", "updated", "merged", "deployed", "reviewer", "approver", "state"),
            *("label", "milestone", "draft", "environment", "project", "group", "sourceBranch"),
            "targetBranch",
        ],
        "fields": [
            *_PEOPLE,
            *("title", "state", "labels", "milestone", "created", "updated", "merged"),
            *("reviewer", "approver", "draft", "sourceBranch", "targetBranch", "id"),
        ],
    },
    "Epic": {
        "filters": ["author", *_DATES, "state", "label", "milestone", "group", "confidential"],
        "fields": ["author", *_DATES, "title", "state", "labels", "start", "due", "id"],
    },
}
"""What can be asked for -> the names in a query, and the columns of its answer."""


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    data_source: Annotated[
        str, Meta(description="Issue, MergeRequest, Epic, or all.", max_length=64)
    ] = "all"


async def run(args: Args, _: Client) -> str:
    """Filters and fields, as JSON."""
    chosen = {name: said for name, said in SOURCES.items() if args.data_source in (name, "all")}
    return dumped(
        {
            "sources": chosen or SOURCES,
            "operators": ["=", "!=", ">", "<", ">=", "<=", "in"],
            "functions": ["currentUser()", "today()", 'labels("a", "b")'],
            "settings": ["display", "fields", "limit", "sort", "title", "query"],
        }
    )


TOOL = Tool(
    name="get_glql_schema",
    description="List what GLQL can ask for: kinds of items, names in queries, columns, functions.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read the schema of {args.data_source}",
    trust="internal",
)
