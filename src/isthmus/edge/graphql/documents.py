"""Texts of queries -> documents that fit the schema; those that come again are remembered."""

from collections import OrderedDict
from typing import Any, Final, cast

from graphql import GraphQLError, GraphQLSchema, parse, validate
from graphql.language import (
    DocumentNode,
    NamedTypeNode,
    NameNode,
    OperationDefinitionNode,
    OperationType,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    VisitorAction,
    visit,
)
from graphql.type import GraphQLType, get_named_type
from graphql.utilities import TypeInfo, TypeInfoVisitor
from graphql.validation import NoSchemaIntrospectionCustomRule, specified_rules

from isthmus.core.errors import Invalid, NotBuilt, Rejected
from isthmus.edge.graphql.cost import check, measure
from isthmus.settings import InstanceSettings

TEXT_LIMIT_CHARS: Final = 16_384
MAX_TOKENS: Final = 1_000
"""Four times what the longest query of a client has; validation takes its square."""
MAX_ERRORS: Final = 20
KEPT: Final = 64
KEPT_LIMIT_CHARS: Final = 8_192
_IDS = frozenset({"AiDuoWorkflowsWorkflowID", "GroupID", "NamespaceID", "ProjectID", "UserID"})


class Unfit(Exception):
    """The text is no query, or one that the schema does not know."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__()
        self.errors = errors


class Documents:
    """Reads texts by the schema; `of` may run in a thread."""

    def __init__(self, schema: GraphQLSchema, settings: InstanceSettings) -> None:
        self._schema = schema
        self._settings = settings
        self._rules = list(specified_rules)
        if not settings.introspection:
            self._rules.append(NoSchemaIntrospectionCustomRule)
        self._kept: OrderedDict[str, DocumentNode] = OrderedDict()

    def known(self, text: str) -> DocumentNode | None:
        """A document that was kept."""
        if text not in self._kept:
            return None
        self._kept.move_to_end(text)
        return self._kept[text]

    def keep(self, text: str, document: DocumentNode) -> None:
        """Remember it, if it is small, instead of the one that nobody has asked for the longest."""
        if len(text) <= KEPT_LIMIT_CHARS:
            self._kept[text] = document
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def of(self, text: str) -> DocumentNode:
        """The document. Raises Unfit, Invalid, Rejected, NotBuilt."""
        if len(text) > TEXT_LIMIT_CHARS:
            raise Invalid(f"The query is longer than {TEXT_LIMIT_CHARS} characters.")
        try:
            document = parse(text, no_location=True, max_tokens=MAX_TOKENS)
            # Before it is validated: that takes longer than its length says.
            self.measure(document, {})
            document = _retyped(self._schema, document)
            errors = self._errors(document)
        except GraphQLError as error:
            raise Unfit([error]) from error
        except RecursionError as error:
            raise Rejected("The query is nested too deeply.") from error
        if errors:
            raise Unfit(errors)
        return document

    def measure(self, document: DocumentNode, variables: dict[str, Any]) -> None:
        """Raises Invalid for anything but one operation, Rejected for a large one, NotBuilt."""
        operations = [e for e in document.definitions if isinstance(e, OperationDefinitionNode)]
        if len(operations) != 1:
            raise Invalid("A document must hold exactly one operation.")
        if operations[0].operation == OperationType.SUBSCRIPTION:
            raise NotBuilt(
                "Subscriptions are not served here: follow the session by its WebSocket, or ask "
                "for `duoWorkflowEvents`."
            )
        limits = self._settings
        size = measure(document, variables)
        check(size, max_depth=limits.graphql_depth, max_cost=limits.graphql_cost)

    def _errors(self, document: DocumentNode) -> list[GraphQLError]:
        return validate(
            self._schema,
            document,
            self._rules,
            max_errors=MAX_ERRORS,
            hide_suggestions=not self._settings.introspection,
        )


def _retyped(schema: GraphQLSchema, document: DocumentNode) -> DocumentNode:
    """The document with each variable of the type that its place wants, if only names differ.

    Clients declare types whose names the contract does not tell, and one kind of id for another.
    """
    info = TypeInfo(schema)
    wanted = _Wanted(info)
    visit(document, TypeInfoVisitor(info, wanted))
    return visit(document, _Retype(schema, wanted.names))


class _Wanted(Visitor):
    """Collects, by variable, the name of the type where it is used first."""

    def __init__(self, info: TypeInfo) -> None:
        super().__init__()
        self.names: dict[str, str] = {}
        self._info = info

    def enter_variable_definition(self, *_: object) -> VisitorAction:
        return self.SKIP

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        named = get_named_type(cast("GraphQLType | None", self._info.get_input_type()))
        if named is not None:
            self.names.setdefault(node.name.value, named.name)


class _Retype(Visitor):
    def __init__(self, schema: GraphQLSchema, wanted: dict[str, str]) -> None:
        super().__init__()
        self._schema = schema
        self._wanted = wanted
        self._now: str | None = None

    def enter_variable_definition(self, node: VariableDefinitionNode, *_: object) -> None:
        self._now = self._wanted.get(node.variable.name.value)

    def leave_variable_definition(self, *_: object) -> None:
        self._now = None

    def enter_named_type(self, node: NamedTypeNode, *_: object) -> NamedTypeNode | None:
        name = node.name.value
        if self._now is None or name == self._now:
            return None
        if name in _IDS or name not in self._schema.type_map:
            return NamedTypeNode(name=NameNode(value=self._now))
        return None
