"""Answers that are given again to the same tenant's same call: exact, in memory, for a while."""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from sys import getsizeof
from typing import TypeAlias, cast

from msgspec.msgpack import Encoder

from isthmus.core.messages import Answer, EmbedCall, Embeddings, ModelCall

Kept: TypeAlias = Answer | Embeddings

LIMIT_BYTES = 64 * 1024 * 1024
TTL_S = 3600.0
_LARGEST_SHARE = 16
_ENTRY_BYTES = 1024
_FLOAT_BYTES = 32


def key_of(tenant: str, model_id: str, call: ModelCall | EmbedCall) -> bytes | None:
    """What stands for a tenant's call, wherever it is served; None when none may be given again.

    That is so for a completion whose temperature is not zero, and for an unknown tenant ("").
    `model_id` is the catalogue's: the call's own name for the model, and its key, do not count,
    the address of a server that the caller brought does.
    """
    if not tenant:
        return None
    address = call.target.base_url if call.target is not None else ""
    head = (tenant, model_id, address, type(call).__name__)
    if isinstance(call, EmbedCall):
        said: object = (head, call.texts, call.dimensions, call.drop_unsupported)
    elif call.temperature == 0:
        prompt = (type(call.prompt).__name__, call.prompt)
        said = (head, prompt, call.max_tokens, call.stop, call.tuning)
    else:
        return None
    try:
        return blake2b(_canonical.encode(said), digest_size=20).digest()
    except UnicodeEncodeError:
        # Half of a surrogate pair has no encoding; what holds one is asked anew.
        return None


class Exact:
    """Answers by key: the least recently used go first, and each after `ttl_s`.

    Sizes are estimates of what an answer takes in memory; one that would take more than a
    sixteenth of `limit_bytes` is not kept.
    """

    def __init__(self, ttl_s: float = TTL_S, limit_bytes: int = LIMIT_BYTES) -> None:
        self._ttl_s = ttl_s
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[bytes, tuple[float, int, Kept]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now_s: float) -> Kept | None:
        """The answer that was put under this key, if it still counts."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now_s >= entry[0]:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[2]

    def put(self, key: bytes, answer: Kept, now_s: float) -> None:
        """Keep an answer. It must be whole: ended by the model itself."""
        size_bytes = _size_bytes(answer)
        if key in self._entries:
            self._drop(key)
        if size_bytes * _LARGEST_SHARE > self._limit_bytes:
            return
        self._entries[key] = (now_s + self._ttl_s, size_bytes, answer)
        self.size_bytes += size_bytes
        while self.size_bytes > self._limit_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        self.size_bytes -= self._entries.pop(key)[1]


def _size_bytes(answer: Kept) -> int:
    if isinstance(answer, Embeddings):
        vectors = answer.vectors
        return _ENTRY_BYTES + sum(_FLOAT_BYTES * len(vector) + 64 for vector in vectors)
    tools = sum(getsizeof(use.arguments) + 256 for use in answer.tool_uses)
    return _ENTRY_BYTES + getsizeof(answer.text) + tools


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    raise NotImplementedError


_canonical = Encoder(enc_hook=_plain, order="deterministic")
