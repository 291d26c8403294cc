"""Wire of `POST /v1/embeddings/code_embeddings` and its two other names.

Source: HTTP gateway contract, section 8.1.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.errors import FieldError, Invalid
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
from isthmus.routing.metadata import strict

ENGINE = "litellm_embedding"
"""What clients expect as the engine of every model that makes embeddings."""
OURS, SELF_HOSTED, FAMILY = "gitlab", "litellm", "embedding"
_PATHS = ("", "/index", "/search")


class EmbeddingsBody(Struct, frozen=True):
    """The body of a request."""

    model_metadata: Raw
    contents: tuple[str, ...]
    dimensions: int | None = None
    litellm_drop_params: bool | None = None


class EmbeddingModel(Struct, frozen=True):
    """The model that made the vectors."""

    engine: str
    name: str
    identifier: str


class Prediction(Struct, frozen=True):
    """One vector; `index` is the place of its text."""

    embedding: Sequence[float]
    index: int


class EmbeddingsReply(Struct, frozen=True):
    """The body of an answer."""

    model: EmbeddingModel
    predictions: tuple[Prediction, ...]


_encode = msgspec.json.Encoder().encode


def routes(services: Services) -> list[Endpoint]:
    """One handler under three paths."""
    read_body = decoder(EmbeddingsBody)

    async def embed(request: Request) -> Response:
        exchange_of(request.scope).refuse = refusals.embeddings
        body = read_body(await read(request))
        wanted = metadata_of(body.model_metadata)
        asked = EmbedRequest(
            texts=body.contents,
            model=wanted,
            dimensions=body.dimensions,
            drop_unsupported=bool(body.litellm_drop_params),
        )
        made = await services.embed.vectors(asked, caller_of(request), client_of(request))
        ours = wanted.provider == OURS
        model = EmbeddingModel(
            ENGINE, made.choice.upstream, made.choice.id if ours else wanted.identifier
        )
        predictions = await array(
            made.embeddings.vectors, lambda index, vector: Prediction(vector, index)
        )
        return Reply(_encode({"model": model, "predictions": predictions}), [JSON])

    return [
        Endpoint(
            method="POST",
            path=f"/v1/embeddings/code_embeddings{end}",
            handle=embed,
            summary="Turn texts into vectors.",
            body=EmbeddingsBody,
            reply=EmbeddingsReply,
            scopes="`generate_embeddings_codebase`",
            models="feature `embeddings_code`, or the one named",
        )
        for end in _PATHS
    ]


def metadata_of(raw: Raw) -> ModelMetadata:
    """The model that is asked for. Raises Invalid with the contract's texts."""
    try:
        told = strict(raw)
    except ValueError as error:
        raise _invalid("", f"Error creating the model_metadata: {error}") from error
    if told.provider not in {OURS, SELF_HOSTED}:
        raise _invalid("provider", f"Allowed providers are: {OURS}|{SELF_HOSTED}.")
    if told.provider == SELF_HOSTED:
        using = f"when using `{SELF_HOSTED}` provider."
        if not told.name:
            raise _invalid("name", f"Model `name` must be set {using}")
        if told.name != FAMILY:
            raise _invalid("name", f"Model `name` must be '{FAMILY}' {using}")
        if not told.endpoint:
            raise _invalid("endpoint", f"Model `endpoint` must be set {using}")
    if not told.identifier:
        text = "Error creating the model_metadata: `identifier` must be set"
        raise _invalid("identifier", text)
    return told


def _invalid(member: str, text: str) -> Invalid:
    field = f"model_metadata.{member}" if member else "model_metadata"
    return Invalid(text, (FieldError(field, text),))
