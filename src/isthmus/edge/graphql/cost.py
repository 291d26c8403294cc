"""How large a query is, before anything of it is run: depth, fields of its answer, aliases. Pure.

Fragments are measured once each, so that those that spread one another cost no time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql.language import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    NullValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)

from isthmus.core.errors import Rejected
from isthmus.edge.graphql.paging import DEFAULT_PAGE, MAX_PAGE

MAX_ALIASES: Final = 30
_PAGES: Final[Mapping[str, int]] = {"duoWorkflowWorkflows": DEFAULT_PAGE, "duoWorkflowEvents": 1}
"""Field that answers with a page -> items of it when nobody says how many."""


@dataclass(frozen=True, slots=True)
class Size:
    """`cost` counts the fields of the answer as if every page were full."""

    depth: int = 0
    cost: int = 0
    aliases: int = 0


def check(size: Size, *, max_depth: int, max_cost: int) -> None:
    """Raises Rejected for a query over a limit."""
    if size.depth > max_depth:
        raise Rejected(f"The query is deeper than {max_depth} levels.")
    if size.aliases > MAX_ALIASES:
        raise Rejected(f"The query has more than {MAX_ALIASES} aliases.")
    if size.cost > max_cost:
        raise Rejected(f"The query asks for more than {max_cost} fields.")


def measure(document: DocumentNode, variables: Mapping[str, Any]) -> Size:
    """The size of the only operation. Raises Rejected for fragments that contain themselves."""
    fragments = {
        each.name.value: each
        for each in document.definitions
        if isinstance(each, FragmentDefinitionNode)
    }
    operations = (e for e in document.definitions if isinstance(e, OperationDefinitionNode))
    operation = next(operations)
    given = {
        each.variable.name.value: int(each.default_value.value[:9])
        for each in operation.variable_definitions or ()
        if isinstance(each.default_value, IntValueNode)
    } | dict(variables)
    return _Scale(fragments, given).of(operation.selection_set)


class _Scale:
    def __init__(
        self, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]
    ) -> None:
        self._fragments = fragments
        self._variables = variables
        self._known: dict[str, Size | None] = {}

    def of(self, selections: SelectionSetNode | None) -> Size:
        depth = cost = aliases = 0
        for selection in selections.selections if selections else ():
            match selection:
                case FieldNode():
                    size = self._field(selection)
                case InlineFragmentNode():
                    size = self.of(selection.selection_set)
                case FragmentSpreadNode():
                    size = self._fragment(selection.name.value)
                case _:
                    size = Size()
            depth = max(depth, size.depth)
            cost += size.cost
            aliases += size.aliases
        return Size(depth, cost, aliases)

    def _field(self, field: FieldNode) -> Size:
        inner = self.of(field.selection_set)
        cost = 1 + self._items(field) * inner.cost
        return Size(inner.depth + 1, cost, inner.aliases + (field.alias is not None))

    def _fragment(self, name: str) -> Size:
        if name not in self._known:
            self._known[name] = None  # being measured
            fragment = self._fragments.get(name)
            self._known[name] = self.of(fragment.selection_set) if fragment else Size()
        size = self._known[name]
        if size is None:
            raise Rejected("A fragment contains itself.")
        return size

    def _items(self, field: FieldNode) -> int:
        """How many items the page under this field may hold."""
        page = _PAGES.get(field.name.value)
        if page is None:
            return 1
        given = {each.name.value: self._value(each.value) for each in field.arguments or ()}
        if field.name.value == "duoWorkflowWorkflows" and given.get("workflowId") is not None:
            return 1
        sizes = (given.get("first"), given.get("last"))
        wanted = next((size for size in sizes if isinstance(size, int | float)), page)
        return max(1, min(int(wanted), MAX_PAGE))

    def _value(self, node: ValueNode) -> object:
        match node:
            case IntValueNode():
                return int(node.value[:9])
            case VariableNode():
                return self._variables.get(node.name.value)
            case NullValueNode():
                return None
            case _:
                return node
