"""Jobs of a pipeline that failed."""

from typing import Annotated, Any

from msgspec import Meta

from isthmus.core.errors import ToolRefused
from isthmus.platform import pipelines
from isthmus.platform.gitlab_args import MergeRequestArgs
from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Client, Tool

MOST = 20
_KEYS = ("id", "name", "stage", "failure_reason", "allow_failure", "web_url", "finished_at")


class Args(MergeRequestArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    exclude_allow_failure: Annotated[
        bool, Meta(description="Whether to leave out jobs that may fail.")
    ] = False


async def run(args: Args, client: Client) -> str:
    """The failed jobs of a pipeline, or of the latest one of a merge request, as JSON."""
    pipeline = await pipelines.of(args, client)
    if pipeline is None:
        raise ToolRefused("There is no pipeline.")
    jobs = await pipelines.failed(pipeline, client)
    if args.exclude_allow_failure:
        jobs = [job for job in jobs if not job.get("allow_failure")]
    told: dict[str, Any] = {
        "pipeline_id": pipeline[1],
        "jobs": [{key: job.get(key) for key in _KEYS} for job in jobs[:MOST]],
        "failed": len(jobs),
    }
    return dumped(told)


TOOL = Tool(
    name="get_pipeline_failing_jobs",
    description="List the failed jobs of a pipeline, or of the latest pipeline of a merge request.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read the failed jobs of {args.merge_request_iid or args.url}",
)
