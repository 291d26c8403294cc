"""Any reading query of the instance's GraphQL API."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from isthmus.platform.instance_text import dumped
from isthmus.platform.tool import Client, Tool

MAX_CHARS = 20_000
MAX_TOKENS = 4_000


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    query: Annotated[
        str, Meta(description="The document; only queries.", min_length=1, max_length=MAX_CHARS)
    ]
    variables: Annotated[dict[str, Any] | None, Meta(description="Values of its variables.")] = None


def printed(text: str) -> str:
    """The document printed again from its tree. Raises ToolRefused unless it only reads.

    Source: agent-platform contract, section 9.5.
    """
    from graphql.error import GraphQLError  # noqa: PLC0415 - most sessions never ask this way
    from graphql.language import (  # noqa: PLC0415 - the same
        FragmentDefinitionNode,
        OperationDefinitionNode,
        OperationType,
        parse,
        print_ast,
    )

    try:
        document = parse(text, no_location=True, max_tokens=MAX_TOKENS)
    except (GraphQLError, RecursionError) as error:
        raise ToolRefused(f"`query` cannot be read: {str(error)[:300]}") from error
    operations = [
        node for node in document.definitions if isinstance(node, OperationDefinitionNode)
    ]
    others = [
        node
        for node in document.definitions
        if not isinstance(node, OperationDefinitionNode | FragmentDefinitionNode)
    ]
    if others or not operations:
        raise ToolRefused("`query` must hold one query.")
    if any(node.operation is not OperationType.QUERY for node in operations):
        raise ToolRefused("Only queries are sent; use the tools that write for changes.")
    return print_ast(document)


async def run(args: Args, client: Client) -> str:
    """The answer's data."""
    document = printed(args.query)
    data = await instance_api.graphql(client, document, args.variables)
    return dumped({"status": "success", "data": data})


TOOL = Tool(
    name="gitlab_graphql",
    description="Read anything that the instance's GraphQL API gives by a query.",
    args=Args,
    run=run,
    effect="gitlab_read",
    title=lambda _: "Ask the instance by a query",
)
