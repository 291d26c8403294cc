"""Checks a tree of interface parts that the client is to draw."""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from isthmus.core.errors import ToolRefused
from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Client, Tool

PARTS: Final[dict[str, bool]] = {
    "Stack": True,
    "Card": True,
    "List": True,
    "Table": False,
    "Chart": False,
    "Text": False,
    "Heading": False,
    "Badge": False,
    "Link": False,
    "Code": False,
    "Divider": False,
}
"""Part -> whether it holds others."""
MAX_ELEMENTS = 500


class Element(Struct, frozen=True, forbid_unknown_fields=True):
    """One part."""

    type: Annotated[str, Meta(description=f"One of {', '.join(PARTS)}.")]
    props: Annotated[dict[str, Any], Meta(description="What it shows.")] = {}
    children: Annotated[list[str], Meta(description="Ids of the parts that it holds.")] = []


class Tree(Struct, frozen=True, forbid_unknown_fields=True):
    """A tree by ids."""

    root: Annotated[str, Meta(description="Id of the outermost part.")]
    elements: Annotated[
        dict[str, Element],
        Meta(description="Parts by id.", min_length=1, max_length=MAX_ELEMENTS),
    ]


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    tree: Annotated[Tree, Meta(description="What to draw.")]


async def run(args: Args, _: Client) -> str:
    """The tree as it is drawn. Raises ToolRefused, naming the part at fault."""
    elements, seen, ahead = args.tree.elements, set[str](), [args.tree.root]
    while ahead:
        key = ahead.pop()
        element = elements.get(key)
        if element is None:
            raise ToolRefused(f"tree.elements has no part {key[:64]!r}.")
        if key in seen:
            raise ToolRefused(f"tree.elements.{key[:64]} is held twice.")
        if element.type not in PARTS:
            raise ToolRefused(f"tree.elements.{key[:64]}.type is none of {', '.join(PARTS)}.")
        if element.children and not PARTS[element.type]:
            raise ToolRefused(f"tree.elements.{key[:64]}: a {element.type} holds no other part.")
        seen.add(key)
        ahead += element.children
    return dumped(args.tree)


TOOL = Tool(
    name="render_ui",
    description="Show the user a small interface of cards, lists, tables and charts.",
    args=Args,
    run=run,
    effect="plan",
    title=lambda _: "Show an interface",
    trust="internal",
    version="0.0.1",
)
