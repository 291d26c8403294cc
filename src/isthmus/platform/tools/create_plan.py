"""Replaces the list of tasks."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.platform import plan
from isthmus.platform.tool import Planned, Tool, never_run


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    tasks: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=4_000)]],
        Meta(description="The tasks in the order in which they are done.", max_length=200),
    ]


def plans(args: Args, steps: plan.Steps) -> Planned:
    """The plan afterwards."""
    del steps
    return plan.replaced(args.tasks)


TOOL = Tool(
    name="create_plan",
    description="Write the plan of this session: a list of tasks that replaces the one there is.",
    args=Args,
    run=never_run,
    effect="plan",
    title=lambda _: "Write the plan",
    trust="internal",
    plans=plans,
)
