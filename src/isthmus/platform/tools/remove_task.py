"""Removes a task."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.platform import plan
from isthmus.platform.tool import Planned, Tool, never_run


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    task_id: Annotated[str, Meta(description="Id of the task, such as `task-1`.", max_length=64)]
    description: Annotated[
        str,
        Meta(description="What is to be done, in one sentence.", min_length=1, max_length=4_000),
    ]


def plans(args: Args, steps: plan.Steps) -> Planned:
    """The plan afterwards."""
    return plan.removed(steps, args.task_id)


TOOL = Tool(
    name="remove_task",
    description="Take a task off the plan.",
    args=Args,
    run=never_run,
    effect="plan",
    title=lambda args: f"Remove {args.task_id}",
    trust="internal",
    plans=plans,
)
