"""Keeps the model's own list of what is to be done; the list lives in the conversation."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Client, Tool


class Todo(Struct, frozen=True, forbid_unknown_fields=True):
    """One item."""

    description: Annotated[
        str, Meta(description="What is to be done, in one sentence.", min_length=1, max_length=4000)
    ]
    status: Annotated[
        Literal["pending", "in_progress", "completed", "cancelled"],
        Meta(description="How far it is."),
    ]


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    todos: Annotated[
        list[Todo],
        Meta(description="The whole list, in order; it replaces the old one.", max_length=200),
    ]


async def run(args: Args, _: Client) -> str:
    """The list as it stands now."""
    return dumped(args.todos)


TOOL = Tool(
    name="todo_write",
    description=(
        "Write down what is to be done and how far each part is. Give the whole list every time: "
        "it replaces the one before. Keep one item in progress, and mark items once they are done."
    ),
    args=Args,
    run=run,
    effect="plan",
    title=lambda args: f"Write a list of {len(args.todos)} items",
    trust="internal",
    version="0.1.0",
)
