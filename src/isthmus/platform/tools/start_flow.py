"""Starts a flow that runs on its own, without a person."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from isthmus.platform.instance_text import checked
from isthmus.platform.tool import Client, Tool

_Findings = Literal["sast_fp_detection", "resolve_sast_vulnerability", "secrets_fp_detection"]
NEEDED = {
    "developer": ("goal",),
    "fix_pipeline": ("pipeline_url", "merge_request_url", "source_branch"),
    "code_review": ("merge_request_url",),
}
"""Flow -> what it cannot start without; the others need a vulnerability."""


class Flow(Struct, frozen=True, forbid_unknown_fields=True):
    """Which flow, and what it works on."""

    name: Annotated[
        Literal["developer", "fix_pipeline", "code_review"] | _Findings,
        Meta(description="The flow."),
    ]
    goal: Annotated[str | None, Meta(description="developer: the task, in full.")] = None
    project_url: Annotated[str | None, Meta(description="developer: the project's page.")] = None
    issue_url: Annotated[str | None, Meta(description="developer: the issue's page.")] = None
    pipeline_url: Annotated[str | None, Meta(description="fix_pipeline: the pipeline's page.")] = (
        None
    )
    merge_request_url: Annotated[
        str | None, Meta(description="fix_pipeline, code_review: the merge request's page.")
    ] = None
    source_branch: Annotated[str | None, Meta(description="fix_pipeline: the branch.")] = None
    vulnerability_id: Annotated[
        int | str | None, Meta(description="The others: number of the vulnerability.")
    ] = None


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    flow: Annotated[Flow, Meta(description="The flow to start.")]


async def run(args: Args, client: Client) -> str:
    """What the instance says of the session that it started."""
    given = {k: v for k, v in structs.asdict(args.flow).items() if v is not None}
    for name in NEEDED.get(args.flow.name, ("vulnerability_id",)):
        if not given.get(name):
            raise ToolRefused(f"flow.{name} is needed for {args.flow.name}.")
    given["workflow_definition"] = f"{given.pop('name')}/v1"
    path = "/api/v4/ai/duo_workflows/agent_workflows"
    return checked(await instance_api.request(client, "POST", path, given)).body


TOOL = Tool(
    name="start_flow",
    description=(
        "Start a flow that works on its own in the background: developer (a task), fix_pipeline, "
        "code_review, or one of the flows for a vulnerability."
    ),
    args=Args,
    run=run,
    effect="flows",
    title=lambda args: f"Start {args.flow.name}",
    trust="internal",
    version="0.0.1",
)
