"""Pipelines of an instance: which one is meant, its failed jobs, the ones that it started.

Source: agent-platform contract, section 8.4.
"""

from typing import Any, TypeAlias

from isthmus.core.errors import ToolRefused
from isthmus.platform.gitlab_args import MergeRequestArgs, merge_request_path
from isthmus.platform.instance_text import segment
from isthmus.platform.listing import all_of
from isthmus.platform.places import place_of
from isthmus.platform.tool import Client

Pipeline: TypeAlias = tuple[str, str]
"""The route of its project, and its number."""


async def of(args: MergeRequestArgs, client: Client) -> Pipeline | None:
    """The pipeline at a URL, or the latest one of a merge request. Raises ToolRefused."""
    if args.url and (found := _shown(args.url, client)) is not None:
        return found
    path = merge_request_path(args, client)
    listed = await all_of(client, f"{path}/pipelines")
    project = path.partition("/merge_requests/")[0]
    newest = max(listed, key=lambda one: int(one.get("id") or 0), default=None)
    if newest is None:
        return None
    # A fork's pipeline belongs to the fork.
    owner = newest.get("project_id")
    return (f"/api/v4/projects/{owner}" if owner else project, str(newest.get("id")))


async def failed(pipeline: Pipeline, client: Client) -> list[dict[str, Any]]:
    """Its failed jobs."""
    project, number = pipeline
    return await all_of(client, f"{project}/pipelines/{number}/jobs", {"scope": ["failed"]})


async def bridges(url: str | None, client: Client) -> list[dict[str, Any]]:
    """Its jobs that start other pipelines. Raises ToolRefused when the URL is no pipeline's."""
    found = _shown(url or "", client)
    if found is None:
        raise ToolRefused("`url` must be the address of a pipeline.")
    project, number = found
    return await all_of(client, f"{project}/pipelines/{number}/bridges")


def _shown(url: str, client: Client) -> Pipeline | None:
    place = place_of(url, client.host)
    number = dict(place.items).get("pipeline_id")
    if number is None or not place.project:
        return None
    return f"/api/v4/projects/{segment(place.project, 'project_id')}", number
