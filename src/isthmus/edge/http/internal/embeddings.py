"""Wire of `POST /internal/embeddings`: one text or many -> vectors, by the model that serves."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.messages import ModelMetadata
from isthmus.edge.http import refusals
from isthmus.edge.http.auth import caller_of, client_of
from isthmus.edge.http.body import decoder, read
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.exchange import exchange_of
from isthmus.edge.http.reply import JSON, Reply
from isthmus.edge.http.vectors import array
from isthmus.edge.services import Services
from isthmus.gateway.embed import EmbedRequest

_Upto255 = Annotated[str, Meta(max_length=255)]


class ContentMetadata(Struct, frozen=True):
    """Who asks, and for which model: a catalogue identifier; none leaves the choice to us."""

    source: _Upto255 | None = None
    version: _Upto255 | None = None
    identifier: _Upto255 | None = None


class ContentBody(Struct, frozen=True):
    """The body of a request. `content_type` says what the texts are, such as `code`."""

    content: str | tuple[str, ...]
    content_type: _Upto255 | None = None
    metadata: ContentMetadata | None = None
    dimensions: int | None = None


class ContentReply(Struct, frozen=True, omit_defaults=True):
    """The body of an answer: `vector` for one text, `vectors` for a list."""

    model: str
    provider: str
    identifier: str
    vector: Sequence[float] | None = None
    vectors: Sequence[Sequence[float]] | None = None


_encode = msgspec.json.Encoder().encode


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module."""
    read_body = decoder(ContentBody)

    async def embed(request: Request) -> Response:
        exchange_of(request.scope).refuse = refusals.embeddings
        body = read_body(await read(request))
        one = isinstance(body.content, str)
        asked = EmbedRequest(
            texts=(body.content,) if isinstance(body.content, str) else body.content,
            field="content",
            model=_model(body.metadata),
            dimensions=body.dimensions,
        )
        made = await services.embed.vectors(asked, caller_of(request), client_of(request))
        vectors, choice = made.embeddings.vectors, made.choice
        answer = {
            "model": choice.upstream,
            "provider": choice.provider,
            "identifier": choice.id,
            **({"vector": vectors[0]} if one else {"vectors": await array(vectors, _itself)}),
        }
        return Reply(_encode(answer), [JSON])

    return [
        Endpoint(
            method="POST",
            path="/internal/embeddings",
            handle=embed,
            summary="Turn a text, or a list of texts, into vectors.",
            body=ContentBody,
            reply=ContentReply,
        )
    ]


def _model(metadata: ContentMetadata | None) -> ModelMetadata | None:
    if metadata is None or not metadata.identifier:
        return None
    return ModelMetadata(provider="gitlab", identifier=metadata.identifier)


def _itself(_: int, vector: Sequence[float]) -> Sequence[float]:
    return vector
