"""The log of a job."""

from typing import Annotated

from msgspec import Meta

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from isthmus.platform.gitlab_args import ProjectArgs, named
from isthmus.platform.instance_text import checked, query, segment
from isthmus.platform.tool import Client, Keep, Tool


class Args(ProjectArgs, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments."""

    job_id: Annotated[int | None, Meta(description="Number of the job.")] = None
    byte_offset: Annotated[
        int | None, Meta(description="Where in the log to begin; not every instance knows it.")
    ] = None
    byte_limit: Annotated[
        int | None, Meta(description="How many bytes to read; not every instance knows it.")
    ] = None


async def run(args: Args, client: Client) -> str:
    """The log; of a long one the end."""
    found = named(args, client, "job_id")
    window = {"byte_offset": args.byte_offset, "byte_limit": args.byte_limit}
    asked = {name: value for name, value in window.items() if value is not None}
    if asked and not client.has("job_trace_pagination"):
        raise ToolRefused("This instance gives logs only whole; leave the bytes out.")
    project = segment(found["project"], "project_id")
    path = f"/api/v4/projects/{project}/jobs/{found['job_id']}/trace{query(asked)}"
    reply = checked(await instance_api.request(client, "GET", path))
    return reply.body or "The job has no log."


TOOL = Tool(
    name="get_job_logs",
    description="Read the log of a CI job; of a long one you get the end.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda args: f"Read the log of job {args.job_id or args.url}",
    keep=Keep(200 * 1024, 150 * 1024, tail=True),
)
