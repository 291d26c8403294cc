"""Changes the text of a task."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.platform import plan
from isthmus.platform.tool import Planned, Tool, never_run


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    task_id: Annotated[str, Meta(description="Id of the task, such as `task-1`.", max_length=64)]
    new_description: Annotated[
        str,
        Meta(description="What is to be done, in one sentence.", min_length=1, max_length=4_000),
    ]


def plans(args: Args, steps: plan.Steps) -> Planned:
    """The plan afterwards."""
    return plan.changed(steps, args.task_id, description=args.new_description)


TOOL = Tool(
    name="update_task_description",
    description="Change what a task of the plan says.",
    args=Args,
    run=never_run,
    effect="plan",
    title=lambda args: f"Change {args.task_id}",
    trust="internal",
    plans=plans,
)
