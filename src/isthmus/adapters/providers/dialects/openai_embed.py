"""OpenAI's embeddings. Source: OpenAI API reference, "Embeddings"."""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from isthmus.adapters.providers.dialects.failure import unreadable
from isthmus.core.messages import EmbedCall, Embeddings, Usage


class _Vector(Struct):
    index: int
    embedding: tuple[float, ...]


class _Counts(Struct):
    prompt_tokens: int = 0


class _Body(Struct):
    data: list[_Vector]
    usage: _Counts | None = None


_body = msgspec.json.Decoder(_Body)


class OpenAIEmbedDialect:
    """Implements `EmbedDialect`. `path` places the endpoint by the model's name."""

    def __init__(self, path: Callable[[str, str], str] = lambda path, _: path) -> None:
        self._path = path

    def encode(self, call: EmbedCall) -> tuple[str, bytes]:
        """Path and body of one batch."""
        body: dict[str, object] = {
            "model": call.model,
            "input": call.texts,
            "encoding_format": "float",
        }
        # OpenAI's only models with a choice of dimensions; other servers' names tell nothing.
        if call.dimensions and (not call.drop_unsupported or "text-embedding-3" in call.model):
            body["dimensions"] = call.dimensions
        return self._path("/embeddings", call.model), msgspec.json.encode(body)

    def decode(self, body: bytes, count: int) -> Embeddings:
        """The vectors by their index. Raises UpstreamFailed when one is missing or twice there."""
        try:
            told = _body.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unreadable() from error
        by_index = {vector.index: vector.embedding for vector in told.data}
        if len(told.data) != count or set(by_index) != set(range(count)):
            raise unreadable()
        usage = Usage(input_tokens=told.usage.prompt_tokens) if told.usage is not None else None
        return Embeddings(tuple(by_index[index] for index in range(count)), usage)
