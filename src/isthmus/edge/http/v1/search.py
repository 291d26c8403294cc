"""Wire of `POST /v1/search/gitlab-docs`: passages of the documentation for a question.

Source: HTTP gateway contract, section 8.2.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from isthmus.edge.http.auth import caller_of, client_of
from isthmus.edge.http.body import decoder, read
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.reply import JSON, Reply
from isthmus.edge.services import Services

PROVIDER = "sqlite"
PAGE_SIZE = 4

_Upto100 = Annotated[str, Meta(max_length=100)]


class SearchMetadata(Struct, frozen=True):
    """Who asks. The version names a product's; there is one index, whatever it says."""

    source: _Upto100
    version: _Upto100


class SearchPayload(Struct, frozen=True):
    """The question."""

    query: Annotated[str, Meta(max_length=400_000)]
    page_size: Annotated[int, Meta(ge=1, le=20)] | None = None


class SearchBody(Struct, frozen=True):
    """The body of a request."""

    type: _Upto100
    metadata: SearchMetadata
    payload: SearchPayload


class SearchResult(Struct, frozen=True):
    """One passage."""

    id: str
    content: str
    metadata: Mapping[str, object]


class SearchResponse(Struct, frozen=True):
    """Passages, best first."""

    results: tuple[SearchResult, ...]


class SearchOrigin(Struct, frozen=True):
    """Where the passages come from; `timestamp` in seconds since the epoch."""

    provider: str
    timestamp: int


class SearchReply(Struct, frozen=True):
    """The body of an answer."""

    response: SearchResponse
    metadata: SearchOrigin


_encoder = msgspec.json.Encoder()


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module."""
    read_body = decoder(SearchBody)

    async def search(request: Request) -> Response:
        payload = read_body(await read(request)).payload
        limit = payload.page_size or PAGE_SIZE
        found = await services.search.find(
            payload.query, limit, caller_of(request), client_of(request)
        )
        results = tuple(SearchResult(one.id, one.content, one.metadata) for one in found)
        origin = SearchOrigin(PROVIDER, int(services.clock.utc().timestamp()))
        reply = SearchReply(SearchResponse(results), origin)
        return Reply(_encoder.encode(reply), [JSON])

    return [
        Endpoint(
            method="POST",
            path="/v1/search/gitlab-docs",
            handle=search,
            summary="Search the documentation.",
            body=SearchBody,
            reply=SearchReply,
        )
    ]
