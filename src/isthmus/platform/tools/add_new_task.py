"""Adds a task."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.platform import plan
from isthmus.platform.tool import Planned, Tool, never_run


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    description: Annotated[
        str,
        Meta(description="What is to be done, in one sentence.", min_length=1, max_length=4_000),
    ]


def plans(args: Args, steps: plan.Steps) -> Planned:
    """The plan afterwards."""
    return plan.added(steps, args.description)


TOOL = Tool(
    name="add_new_task",
    description="Add a task at the end of the plan.",
    args=Args,
    run=never_run,
    effect="plan",
    title=lambda args: f"Add the task {args.description}",
    trust="internal",
    plans=plans,
)
