"""Where a prompt's beginning is in a cache, who is asked first for one, and when to go elsewhere.

Sources: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998;
Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from math import inf, log
from zlib import crc32

from msgspec import Struct

from isthmus.core.messages import Chat, Infill, Text
from isthmus.routing.catalogue import Prices

LIMIT = 100_000
PREFILL_TOKENS_S = 10_000.0
"""What a model reads in a second, where no cache has read it before."""
_HEAD_CHARS = 256
_TAIL_CHARS = 128
_MASK = (1 << 64) - 1


class Warm(Struct, frozen=True, gc=False):
    """A deployment that has the first `tokens` of a prompt in its cache, until `ends_s`."""

    deployment: str
    ends_s: float
    tokens: int


class Affinity:
    """Keys and the deployments that served them last; the least recently used go first."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept: OrderedDict[int, Warm] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def warm(self, key: int, now_s: float) -> Warm | None:
        """Where the prompts of this key are in a cache; None once its life is over."""
        found = self._kept.get(key)
        return found if found is not None and now_s < found.ends_s else None

    def keep(self, key: int, deployment: str, now_s: float, life_s: float, tokens: int) -> None:
        """A call of this key was answered: its prompt of so many tokens is in a cache now.

        Every answer begins the life of the provider's cache anew.
        """
        kept = self._kept
        kept[key] = Warm(deployment, now_s + life_s, tokens)
        kept.move_to_end(key)
        if len(kept) > self._limit:
            kept.popitem(last=False)


def session_key(tenant: str, session: str) -> int:
    """The key of a caller that names its session."""
    return _crc(tenant) << 32 | _crc(session)


def prompt_key(tenant: str, prompt: Chat | Infill) -> int:
    """The key of a caller that names none, from the beginning of its prompt.

    It stays the same while a conversation grows and a file is edited. Of a conversation count the
    system text, the tools' number and the first user message: their first 256 characters, their
    lengths and the message's last 128; of a file its name and its first 256 characters, once there
    are so many. Two that share a key share a deployment, and nothing else.
    """
    mark = _crc(tenant)
    if isinstance(prompt, Infill):
        start = prompt.prefix[:_HEAD_CHARS]
        name = _crc(prompt.file_name)
        return mark << 32 | (_crc(start, name) if len(start) == _HEAD_CHARS else name)
    mark ^= len(prompt.tools)
    for message in prompt.messages:
        part = message.parts[0] if message.parts else None
        text = part.text if isinstance(part, Text) else ""
        if message.role != "system":
            head = text[:_HEAD_CHARS] + text[-_TAIL_CHARS:]
            return mark << 32 | _crc(head, len(text))
        mark = _crc(text[:_HEAD_CHARS], mark ^ len(text))
    return mark << 32


def preferred(key: int, names: Sequence[str], weights: Sequence[float]) -> tuple[int, ...]:
    """Positions of the deployments for a key, the first choice first: by weight, but always alike.

    Replicas and restarts agree, and one that is added or taken away moves its own keys alone.
    Those of weight zero are the last.
    """
    scores = [
        log(_sample(key, name)) / weight if weight > 0.0 else -inf
        for name, weight in zip(names, weights, strict=True)
    ]
    return tuple(sorted(range(len(names)), key=scores.__getitem__, reverse=True))


def cold_cost(prices: Prices | None, cached_tokens: int, prompt_tokens: int) -> float:
    """US dollars that a call costs more where its prompt is in no cache.

    They pay for what is read anew, and for what is written to the other cache. Zero when no price
    is known.
    """
    if prices is None:
        return 0.0
    cached = prices.input if prices.cache_read is None else prices.cache_read
    written = prices.input if prices.cache_write is None else prices.cache_write
    return max(0.0, min(cached_tokens, prompt_tokens) * (written - cached) / 1e6)


def leave(
    prices: Prices | None,
    cached_tokens: int,
    prompt_tokens: int,
    wait_s: float,
    worth_of_second: float,
) -> bool:
    """Whether to ask another deployment now, rather than wait for the one with the warm cache.

    `worth_of_second` is what a second of waiting is worth, in US dollars. A cold cache costs money,
    and the time in which the prompt is read again.
    """
    saved_s = wait_s - min(cached_tokens, prompt_tokens) / PREFILL_TOKENS_S
    return saved_s * worth_of_second > cold_cost(prices, cached_tokens, prompt_tokens)


def _crc(text: str, start: int = 0) -> int:
    return crc32(text.encode("utf-8", "surrogatepass"), start)


def _sample(key: int, name: str) -> float:
    """Of (0, 1): the key's and the name's own. The mixing is SplitMix64's (Steele, 2014)."""
    mixed = (key * 0x9E3779B97F4A7C15 ^ _seed(name)) & _MASK
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
    return ((mixed ^ mixed >> 31) + 0.5) / (_MASK + 2)


@lru_cache(maxsize=4096)
def _seed(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
