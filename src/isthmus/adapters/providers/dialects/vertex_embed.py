"""Vertex AI's text embeddings, in batches that the API takes.

Source: Vertex AI documentation, "Text embeddings API": 250 texts and 20,000 tokens in one request,
one text for Gemini's embedding models.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import Struct

from isthmus.adapters.providers.dialects.failure import unreadable
from isthmus.core.messages import EmbedCall, Embeddings, Usage

BATCH_TEXTS = 250
BATCH_BYTES = 40_000
"""Two bytes a token: dense code has three, and other scripts more."""
_TOKENS_LIMIT = 1e9
_ALONE = "gemini-embedding-"


class _Statistics(Struct):
    token_count: float = 0


class _Vector(Struct):
    values: tuple[float, ...]
    statistics: _Statistics | None = None


class _Prediction(Struct):
    embeddings: _Vector


class _Body(Struct):
    predictions: list[_Prediction]


_body = msgspec.json.Decoder(_Body)


class VertexEmbedDialect:
    """Implements `EmbedDialect`. `path_of` finds the path of a model's prediction."""

    def __init__(self, path_of: Callable[[str], str]) -> None:
        self._path_of = path_of

    def encode(self, call: EmbedCall) -> tuple[str, bytes]:
        """Path and body of one batch."""
        body: dict[str, object] = {"instances": [{"content": text} for text in call.texts]}
        if call.dimensions is not None:
            body["parameters"] = {"outputDimensionality": call.dimensions}
        return self._path_of(call.model), msgspec.json.encode(body)

    def decode(self, body: bytes, count: int) -> Embeddings:
        """The vectors, which come in the order of the texts."""
        try:
            told = _body.decode(body).predictions
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unreadable() from error
        if len(told) != count:
            raise unreadable()
        return Embeddings(tuple(one.embeddings.values for one in told), _usage(told))


def batches(model: str, texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The texts in their order, in as few requests as the API's limits allow."""
    limit = 1 if model.startswith(_ALONE) else BATCH_TEXTS
    batch: list[str] = []
    size = 0
    for text in texts:
        more = len(text.encode("utf-8", "replace"))
        if batch and (len(batch) == limit or size + more > BATCH_BYTES):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(text)
        size += more
    if batch:
        yield tuple(batch)


def read_usage(document: bytes, known: Usage | None) -> Usage | None:
    """Usage of a forwarded answer."""
    try:
        return _usage(_body.decode(document).predictions)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return known


def _usage(predictions: Sequence[_Prediction]) -> Usage:
    counts = [one.embeddings.statistics for one in predictions]
    tokens = sum(max(0.0, one.token_count) for one in counts if one)
    return Usage(input_tokens=int(min(tokens, _TOKENS_LIMIT)))
