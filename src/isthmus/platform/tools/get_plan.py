"""Reads the list of tasks."""

from msgspec import Struct

from isthmus.platform import plan
from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Planned, Tool, never_run


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""


def plans(args: Args, steps: plan.Steps) -> Planned:
    """The plan afterwards."""
    del args
    return Planned(tuple(steps), dumped({"steps": steps}))


TOOL = Tool(
    name="get_plan",
    description="Read the plan of this session with the ids and states of its tasks.",
    args=Args,
    run=never_run,
    effect="plan",
    title=lambda _: "Read the plan",
    trust="internal",
    plans=plans,
)
