"""Asks the user a question with answers to choose from; the client shows it."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Client, Tool

_Text = Annotated[str, Meta(min_length=1, max_length=2_000)]


class Option(Struct, frozen=True, forbid_unknown_fields=True):
    """One answer."""

    id: Annotated[str, Meta(description="A short name of the answer.", min_length=1, max_length=64)]
    label: Annotated[_Text, Meta(description="The answer in a few words.")]
    description: Annotated[_Text, Meta(description="What it would mean.")]
    recommended: Annotated[bool, Meta(description="Whether you would choose it.")] = False


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    question: Annotated[_Text, Meta(description="The question, in one sentence.")]
    options: Annotated[
        list[Option], Meta(description="Two or three answers.", min_length=2, max_length=3)
    ]


async def run(args: Args, _: Client) -> str:
    """What was asked; the user's answer comes as the next message."""
    return dumped(args)


TOOL = Tool(
    name="clarification_question",
    description=(
        "Ask the user one question with two or three answers to choose from, when a wrong guess "
        "would be costly. End your turn after it: the answer comes as the user's next message."
    ),
    args=Args,
    run=run,
    effect="plan",
    title=lambda args: f"Ask: {args.question}",
    trust="internal",
)
