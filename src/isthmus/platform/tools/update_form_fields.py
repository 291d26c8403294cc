"""Suggests changes to a form that the user sees; the client shows them."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Client, Tool

_Names = Annotated[list[Annotated[str, Meta(max_length=200)]], Meta(max_length=500)]


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    form_id: Annotated[str, Meta(description="Id of the form.", min_length=1, max_length=200)]
    select: Annotated[_Names, Meta(description="Fields to mark.")] = []
    clear: Annotated[_Names, Meta(description="Fields to clear.")] = []


async def run(args: Args, _: Client) -> str:
    """What is suggested."""
    return dumped({"status": "success", "suggested": args})


TOOL = Tool(
    name="update_form_fields",
    description="Suggest which fields of a form to mark and which to clear; the user decides.",
    args=Args,
    run=run,
    effect="gitlab_write",
    title=lambda _: "Suggest changes to the form",
    trust="internal",
)
