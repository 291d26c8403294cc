"""The provider that needs no account: continues code from its own context, and makes embeddings."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from isthmus.adapters.providers._batches import Batches
from isthmus.adapters.providers._incontext import complete
from isthmus.adapters.providers._spec import ProviderFactory
from isthmus.core.deadline import Deadline
from isthmus.core.errors import (
    FieldError,
    Invalid,
    MisconfiguredProvider,
    Rejected,
    Unavailable,
)
from isthmus.core.messages import (
    Delta,
    EmbedCall,
    Embeddings,
    Gathering,
    Infill,
    ModelCall,
    RawCall,
    RawReply,
    Usage,
    gather,
)
from isthmus.core.ports import Clock, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings

DIMENSIONS = (64, 128, 256)
"""Sizes that a vector may be cut to; the model was trained so that each is good by itself."""
_CHARS_A_TOKEN = 4


class LocalProvider:
    """Answers Infill prompts, and embeds by WordLlama.

    Token counts of completions are characters divided by four, rounded up.
    """

    def __init__(self, batches: Batches | None = None, *, completes: bool = True) -> None:
        self._batches = batches
        self._completes = completes

    @property
    def name(self) -> str:
        """The provider's name in settings and in the catalogue."""
        return "local"

    async def stream(self, call: ModelCall, deadline: Deadline) -> AsyncIterator[Delta]:
        """One delta, which is whole. Raises Rejected for a chat, Unavailable when switched off."""
        del deadline  # It takes milliseconds.
        if not self._completes:
            raise Unavailable("The local completer is switched off.")
        if not isinstance(call.prompt, Infill):
            raise Rejected("The local completer continues code; it cannot follow instructions.")
        text = complete(call.prompt)[: call.max_tokens * _CHARS_A_TOKEN]
        read = len(call.prompt.prefix) + len(call.prompt.suffix)
        read += sum(len(item.content) for item in call.prompt.context)
        yield Delta(text=text, finish="stop", usage=Usage(_tokens(read), _tokens(len(text))))

    async def whole(self, call: ModelCall, deadline: Deadline, into: Gathering) -> None:
        """The same, for who reads it at its end."""
        await gather(self.stream(call, deadline), into)

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        """Vectors of length one. Raises Invalid for dimensions that are not in `DIMENSIONS`."""
        if self._batches is None:
            raise MisconfiguredProvider("Local embeddings are switched off.")
        dimensions = call.dimensions or DIMENSIONS[-1]
        if dimensions not in DIMENSIONS:
            if not call.drop_unsupported:
                raise _unsupported()
            dimensions = DIMENSIONS[-1]
        vectors, tokens = await self._batches.vectors(call.texts, dimensions, deadline)
        return Embeddings(vectors, Usage(input_tokens=tokens))

    def forward(self, raw: RawCall, deadline: Deadline) -> AbstractAsyncContextManager[RawReply]:
        """Raises Rejected: it has no wire of its own."""
        del raw, deadline
        raise Rejected("The local completer has no API to pass calls on to.")

    def forwards(self, path: str) -> bool:
        """No path is forwarded."""
        del path
        return False

    @property
    def configured(self) -> bool:
        """Always: it needs nothing."""
        return True

    @property
    def forward_headers(self) -> frozenset[str]:
        """No header is forwarded."""
        return frozenset()


def _build(
    settings: ProvidersSettings, outbound: Outbound, clock: Clock, limits: OutboundSettings
) -> LocalProvider | None:
    del outbound, limits
    local = settings.local
    if not local.enabled and not local.embeddings:
        return None
    batches = Batches(local.embedding_threads, clock) if local.embeddings else None
    return LocalProvider(batches, completes=local.enabled)


def _unsupported() -> Invalid:
    reason = f"must be one of {', '.join(map(str, DIMENSIONS))} for this model"
    return Invalid(f"`dimensions` {reason}.", (FieldError("dimensions", reason),))


def _tokens(chars: int) -> int:
    return -(-chars // _CHARS_A_TOKEN)


PROVIDER = ProviderFactory(_build)
