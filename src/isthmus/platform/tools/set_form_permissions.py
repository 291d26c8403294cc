"""Suggests changes to a form that the user sees; the client shows them."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Client, Tool

_Names = list[Annotated[str, Meta(max_length=200)]]
_Scopes = Annotated[dict[str, _Names], Meta(max_length=100)]


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    select: Annotated[_Scopes, Meta(description="Permissions to mark, by scope.")] = {}
    clear: Annotated[_Scopes, Meta(description="Permissions to clear, by scope.")] = {}


async def run(args: Args, _: Client) -> str:
    """What is suggested."""
    return dumped({"status": "success", "suggested": args})


TOOL = Tool(
    name="set_form_permissions",
    description="Suggest which permissions of the form to mark or clear, by scope.",
    args=Args,
    run=run,
    effect="gitlab_write",
    title=lambda _: "Suggest changes to the form",
    trust="internal",
)
