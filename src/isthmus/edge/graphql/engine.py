"""Runs GraphQL operations over the use cases of the instance.

The schema is data, `library/schema.graphql`; each of its types below has a table of resolvers, and
what no table names is a member of the mapping that its parent gave.
Source: instance contract, section 4.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    build_schema,
    execute,  # pyright: ignore[reportUnknownVariableType] - half typed
)
from graphql.language import DocumentNode

from isthmus.core.errors import Failure, Unavailable
from isthmus.edge.graphql.documents import Documents, Unfit
from isthmus.edge.graphql.event import EVENT
from isthmus.edge.graphql.inquiry import Ask, Inquiry, Operation, Resolver
from isthmus.edge.graphql.mutation import MUTATION
from isthmus.edge.graphql.place import NAMESPACE, PROJECT, USER
from isthmus.edge.graphql.query import METADATA, QUERY
from isthmus.edge.graphql.refusal import BUG, cause, told
from isthmus.edge.graphql.workflow import FIELDS
from isthmus.settings import InstanceSettings

LIMIT_S: Final = 10.0
TABLES: Final[Mapping[str, Mapping[str, Resolver[Any]]]] = {
    "Query": QUERY,
    "Mutation": MUTATION,
    "Metadata": METADATA,
    "User": USER,
    "Namespace": NAMESPACE,
    "Project": PROJECT,
    "DuoWorkflow": FIELDS,
    "DuoWorkflowEvent": EVENT,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply's body, and the bugs that it does not tell of."""

    body: dict[str, object]
    bugs: tuple[Exception, ...] = ()


class Engine:
    """The schema, ready to run. Takes a moment to make: the whole library is imported by it."""

    def __init__(self, settings: InstanceSettings, limit_s: float = LIMIT_S) -> None:
        self._schema = load()
        self._documents = Documents(self._schema, settings)
        self._limit_s = limit_s

    async def answer(self, operation: Operation, inquiry: Inquiry) -> Answer:
        """Never raises but Unavailable, so that a caller whom it hits may try again."""
        try:
            document = await self._document(operation.text)
            self._documents.measure(document, operation.variables)
            async with asyncio.timeout(self._limit_s):
                result = await self._run(document, operation, inquiry)
        except Unfit as unfit:
            return _refused(*(error.message for error in unfit.errors))
        except TimeoutError:
            return _refused("The query took too long.")
        except Unavailable:
            raise
        except Failure as failure:
            return _refused(told(failure))
        return _answer(result)

    async def _document(self, text: str) -> DocumentNode:
        document = self._documents.known(text)
        if document is None:
            document = await asyncio.to_thread(self._documents.of, text)
            self._documents.keep(text, document)
        return document

    async def _run(
        self, document: DocumentNode, operation: Operation, inquiry: Inquiry
    ) -> ExecutionResult:
        result = execute(
            self._schema,
            document,
            context_value=inquiry,
            variable_values=operation.variables,
            operation_name=operation.name,
            max_coercion_errors=5,
        )
        return result if isinstance(result, ExecutionResult) else await result


def load() -> GraphQLSchema:
    """The schema with its resolvers. Raises ValueError when a table does not fit its type."""
    text = (files("isthmus") / "library" / "schema.graphql").read_text(encoding="utf-8")
    schema = build_schema(text)
    for name, table in TABLES.items():
        type_ = schema.type_map[name]
        if not isinstance(type_, GraphQLObjectType) or type_.fields.keys() != table.keys():
            raise ValueError(f"the resolvers of {name} are not those that its type needs")
        for field, resolver in table.items():
            type_.fields[field].resolve = _bound(resolver)
    return schema


def _bound(resolver: Resolver[Any]) -> Any:
    def resolve(source: object, info: GraphQLResolveInfo[Inquiry], **args: object) -> object:
        return resolver(source, Ask(info.context, args))

    return resolve


def _refused(*messages: str) -> Answer:
    return Answer({"data": None, "errors": [{"message": message} for message in messages]})


def _answer(result: ExecutionResult) -> Answer:
    """Raises Unavailable."""
    body: dict[str, object] = {"data": result.data}
    bugs: list[Exception] = []
    if result.errors:
        body["errors"] = [_error(error, bugs) for error in result.errors]
    return Answer(body, tuple(bugs))


def _error(error: GraphQLError, bugs: list[Exception]) -> dict[str, object]:
    shown: dict[str, object] = {"message": error.message}
    match cause(error):
        case Unavailable() as unavailable:
            raise unavailable
        case Failure() as failure:
            shown["message"] = told(failure)
        case Exception() as bug:
            shown["message"] = BUG
            bugs.append(bug)
        case None:
            pass
    if error.path:
        shown["path"] = error.path
    if error.extensions:
        shown["extensions"] = error.extensions
    return shown
