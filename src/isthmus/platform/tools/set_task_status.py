"""Changes the state of a task."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from isthmus.platform import plan
from isthmus.platform.tool import Planned, Tool, never_run


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    task_id: Annotated[str, Meta(description="Id of the task, such as `task-1`.", max_length=64)]
    status: Annotated[
        Literal["Not Started", "In Progress", "Completed", "Cancelled"],
        Meta(description="The state from now on."),
    ]
    description: Annotated[
        str,
        Meta(description="What is to be done, in one sentence.", min_length=1, max_length=4_000),
    ]


def plans(args: Args, steps: plan.Steps) -> Planned:
    """The plan afterwards."""
    return plan.changed(steps, args.task_id, status=args.status)


TOOL = Tool(
    name="set_task_status",
    description="Say how far a task of the plan is.",
    args=Args,
    run=never_run,
    effect="plan",
    title=lambda args: f"{args.task_id}: {args.status}",
    trust="internal",
    plans=plans,
)
