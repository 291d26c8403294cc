"""The route of a request to an instance, without what names a thing of somebody's. Pure."""

from typing import Final

SEGMENTS_LIMIT: Final = 16
_WORDS: Final = frozenset(
    (
        *("api", "v4", "graphql", "ai", "duo_workflows", "workflows", "checkpoints"),
        *("checkpoint_writes", "events", "code_review", "custom_instructions"),
        *("agent_workflows", "glql", "projects", "groups", "namespaces", "users", "user"),
        *("issues", "work_items", "merge_requests", "epics", "notes", "discussions"),
        *("draft_notes", "bulk_publish", "diffs", "changes", "commits", "commit", "comments"),
        *("statuses", "diff", "pipelines", "jobs", "trace", "repository", "files", "raw"),
        *("tree", "blobs", "branches", "tags", "compare", "search", "vulnerabilities"),
        *("vulnerability_findings", "versions", "links", "related_merge_requests"),
        *("closed_by", "members", "labels", "milestones", "releases", "wikis", "snippets"),
        *("audit_events", "metadata", "version", "approvals", "bridges"),
        *("downstream_pipelines",),
    )
)
"""Words of routes; whatever else stands in a path is somebody's."""


def endpoint(path: str) -> str:
    """The route: `/api/v4/projects/:id/issues/:id`; for metrics, so of bounded variety."""
    segments = path.partition("?")[0].partition("#")[0].strip("/").split("/", SEGMENTS_LIMIT)
    named = [word if word in _WORDS else ":id" for word in segments[:SEGMENTS_LIMIT] if word]
    return "/" + "/".join(named)
