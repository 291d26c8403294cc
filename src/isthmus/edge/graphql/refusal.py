"""Failures as GraphQL errors: what clients are told, and the codes that some of them look for.

Source: instance contract, sections 4.1 and 4.2.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from graphql import GraphQLError

from isthmus.core.errors import Failure, NotFound

NOT_THERE: Final = "The resource does not exist, or you may not access it."
BUG: Final = "Internal server error"
NO_WORKFLOW: Final = "WORKFLOW_NOT_FOUND"
NO_NAMESPACE: Final = "NO_DEFAULT_NAMESPACE"
NO_ACCESS: Final = "INSUFFICIENT_NAMESPACE_PERMISSIONS"


@contextmanager
def coded(code: str, kind: type[Failure] = NotFound) -> Iterator[None]:
    """Failures of this kind go out with a code."""
    try:
        yield
    except kind as failure:
        raise GraphQLError(told(failure), extensions={"code": code}) from failure


def told(failure: Failure) -> str:
    """What the caller reads: never whether something that is not the caller's exists."""
    return NOT_THERE if isinstance(failure, NotFound) else failure.detail


def cause(error: GraphQLError) -> Exception | None:
    """The exception that a resolver raised, or none when the library refused by itself."""
    found = error.original_error
    while isinstance(found, GraphQLError):
        found = found.original_error
    return found
