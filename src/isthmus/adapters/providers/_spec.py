"""What a provider is made of (dialect, framing, signature, paths), and how it is declared."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import Delta, EmbedCall, Embeddings, ModelCall, Usage
from isthmus.core.ports import Clock, ModelProvider, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings

Headers = Sequence[tuple[str, str]]
Meter = Callable[[bytes], Usage | None]


@dataclass(frozen=True, slots=True)
class ProviderFactory:
    """What a module of this package declares as `PROVIDER`.

    `build` returns None when the provider is not configured.
    """

    build: Callable[[ProvidersSettings, Outbound, Clock, OutboundSettings], ModelProvider | None]


class WireEvent(Struct, frozen=True, gc=False):
    """One event of a framed stream: its name ("" when it has none) and its payload."""

    name: str
    data: bytes


class Framing(Protocol):
    """Cuts a body into events, however the bytes arrive. One instance a stream."""

    def feed(self, data: bytes) -> Iterable[WireEvent]:
        """Events completed by `data`. Raises UpstreamFailed when a size limit is passed."""
        ...


class Decoder(Protocol):
    """Reads the events of one streamed answer."""

    @property
    def ended(self) -> bool:
        """Whether the vendor's own end marker was seen."""
        ...

    def feed(self, event: WireEvent) -> Iterable[Delta]:
        """Deltas of one event. Raises UpstreamFailed on an error event or one it cannot read."""
        ...


class Encoded(Struct, frozen=True):
    """A call on the wire: path below the base URL, JSON body, and the reader of its answer."""

    path: str
    body: bytes
    decoder: Decoder


class Dialect(Protocol):
    """One vendor's vocabulary; pure."""

    def encode(self, call: ModelCall) -> Encoded:
        """The streaming request for a call. Raises Rejected when it cannot be said."""
        ...

    def failure(self, status: int, headers: Headers, body: bytes) -> UpstreamFailed:
        """What an answer with an error status means."""
        ...

    def meter(self, content_type: str) -> Meter:
        """A reader of token usage for one forwarded answer, whose memory is bounded."""
        ...


class EmbedDialect(Protocol):
    """One vendor's vocabulary for embeddings; pure."""

    def encode(self, call: EmbedCall) -> tuple[str, bytes]:
        """Path and JSON body."""
        ...

    def decode(self, body: bytes, count: int) -> Embeddings:
        """`count` vectors in order. Raises UpstreamFailed when the body does not hold them."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A provider over HTTP.

    `base_url` has no trailing slash. `sign` gives the headers that carry our credential.
    `forward_paths` are exact, query included; `forward_cut` is the part of them that `base_url`
    already holds.
    """

    name: str
    base_url: str
    dialect: Dialect
    framing: Callable[[], Framing]
    sign: Callable[[], Headers]
    forward_paths: frozenset[str]
    forward_headers: frozenset[str]
    forward_cut: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    embed: EmbedDialect | None = None
