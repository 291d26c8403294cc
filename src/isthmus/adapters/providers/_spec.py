"""What a provider is made of (dialect, framing, signature, paths), and how it is declared."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from isthmus.core.deadline import Deadline
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import Delta, EmbedCall, Embeddings, ModelCall, Seen, Usage
from isthmus.core.ports import Clock, ModelProvider, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings

Headers = Sequence[tuple[str, str]]
Meter = Callable[[bytes], Usage | None]
Watcher = Callable[[bytes], Seen]
Ending = Callable[[bytes], bool]
"""Told every chunk of a stream; whether the vendor's own end, or its error, has passed."""


@dataclass(frozen=True, slots=True)
class ProviderFactory:
    """What a module of this package declares as `PROVIDER`.

    `build` returns None when the provider could not even serve a call that brings a target.
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

    @property
    def usage(self) -> Usage | None:
        """Tokens as far as they are known; the last delta carries them too."""
        ...

    def feed(self, event: WireEvent) -> Iterable[Delta]:
        """Deltas of one event. Raises UpstreamFailed on an error event or one it cannot read."""
        ...


class Encoded(Struct, frozen=True):
    """A call on the wire: path below the base URL, JSON body, and the reader of its answer."""

    path: str
    body: bytes
    decoder: Decoder
    accept: tuple[str, str] = ("accept", "text/event-stream")


class Dialect(Protocol):
    """One vendor's vocabulary; pure."""

    def encode(self, call: ModelCall) -> Encoded:
        """The streaming request for a call. Raises Rejected when it cannot be said."""
        ...

    def failure(self, status: int, headers: Headers, body: bytes) -> UpstreamFailed:
        """What an answer with an error status means."""
        ...

    def meter(self, content_type: str, /) -> Meter:
        """A reader of token usage for one forwarded answer, whose memory is bounded."""
        ...

    def watch(self, content_type: str, /) -> tuple[Watcher, Ending | None]:
        """What tells content and errors of one forwarded answer, and its end.

        There is no Ending for what is no stream: its framing alone says whether it is whole.
        """
        ...


class EmbedDialect(Protocol):
    """One vendor's vocabulary for embeddings; pure."""

    def encode(self, call: EmbedCall) -> tuple[str, bytes]:
        """Path and JSON body."""
        ...

    def decode(self, body: bytes, count: int) -> Embeddings:
        """`count` vectors in order. Raises UpstreamFailed when the body does not hold them."""
        ...


class Signer(Protocol):
    """Gives requests their credential."""

    @property
    def stale(self) -> bool:
        """Whether `renew` must be awaited first: a short-lived credential is missing or old."""
        ...

    async def renew(self, deadline: Deadline) -> None:
        """Fetch the credential. Raises UpstreamFailed, UpstreamTimeout or MisconfiguredProvider."""
        ...

    def headers(self, method: str, url: str, body: bytes, api_key: str, /) -> Headers:
        """The headers that carry our credential, or the caller's own key where one is given."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A provider over HTTP.

    `base_url` has no trailing slash. `configured` says whether there is a credential or a server of
    the operator's own; without one it serves only calls that bring a target. `forward_paths` are
    exact, query included; `forward_cut` is the part of them that `base_url` already holds.
    `forward_url` finds the URL of any further path, or None. `drain_s` is the setting of that name.
    """

    name: str
    base_url: str
    dialect: Dialect
    framing: Callable[[], Framing]
    signer: Signer
    forward_paths: frozenset[str]
    forward_headers: frozenset[str]
    configured: bool = True
    forward_cut: str = ""
    forward_url: Callable[[str], str | None] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    embed: EmbedDialect | None = None
    drain_s: float = 0.0
