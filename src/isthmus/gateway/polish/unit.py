"""The step that ends an answer with the piece of code that the cursor stands in, by its syntax."""

import re
from typing import TYPE_CHECKING

from isthmus.gateway.polish.place import Place

if TYPE_CHECKING:
    from tree_sitter import Node

ABOVE_CHARS = 1_200
TEXT_CHARS = 2_000
BELOW_CHARS = 500
_LINE_CHARS = 300
"""Longer lines are data, and the dearest to parse."""
_CLIMB = 200
_UNIT = re.compile(
    r"(?:async_|abstract_|enhanced_|(?:expression|type)_|singleton_|template_)?"
    r"(?:function|method|constructor|class|struct|union|impl|interface|internal_module|module"
    r"|trait|enum|object|namespace|if|unless|for(?:_in|_range|each)?|foreach|c_style_for|while"
    r"|until|do|loop|try|switch|select|match|when|case|with|using|begin)"
    r"(?:_(?:statement|definition|declaration|item|expression|specifier|loop))?"
)
"""Types of nodes that stand for themselves: definitions, and statements with a body."""
_PARTS = frozenset({"function", "function_expression", "object"})
"""Of the same names, and yet parts of an expression."""
_LINE_END = re.compile(rb"[;,)\]}]*[ \t\r]*(?=\n|\Z)")
_TOP_LINE = re.compile(r"^(?=[^\s)\]}])", re.MULTILINE)


def trim_by_min_allowed_context(text: str, place: Place) -> str:
    """Up to the end of the smallest definition or block statement that the cursor stands in.

    Only a window around the cursor is parsed. Nothing is cut where the syntax is not sound, or the
    answer stays inside.
    """
    parser = place.parser
    if parser is None or "\n" not in text:
        return text
    near, shown = window(place.prefix), text[:TEXT_CHARS]
    below = place.suffix[:BELOW_CHARS] if len(shown) == len(text) else ""
    if any(len(line) > _LINE_CHARS for line in (near + shown).split("\n")):
        return text
    above, written = near.encode(errors="replace"), shown.encode(errors="replace")
    source = above + written + below.encode(errors="replace")
    cursor, end = len(above), len(above) + len(written)
    anchor = max(0, len(above.rstrip()) - 1)
    node = parser.parse(source).root_node.descendant_for_byte_range(anchor, anchor + 1)
    for _ in range(_CLIMB):
        if node is None or node.parent is None:
            break
        if cursor < node.end_byte < end and _is_unit(node):
            stop = _LINE_END.match(source, node.end_byte, end)
            if stop is not None and source[stop.end() : end].strip():
                # What was not parsed lies behind, and goes too.
                return source[cursor : stop.end()].decode(errors="replace")
        node = node.parent
    return text


def window(prefix: str) -> str:
    """What is parsed of the text above: its end, from a line on that begins something."""
    if len(prefix) <= ABOVE_CHARS:
        return prefix
    near = prefix[-ABOVE_CHARS:]
    near = near[near.find("\n") + 1 :]
    top = _TOP_LINE.search(near)
    return near[top.start() :] if top else near


def _is_unit(node: "Node") -> bool:
    kind = node.type
    named = node.is_named and not node.has_error and kind not in _PARTS
    return named and _UNIT.fullmatch(kind) is not None
