"""The provider that needs no model: continues code from its own context, in this process."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from isthmus.adapters.providers._incontext import complete
from isthmus.adapters.providers._spec import ProviderFactory
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Rejected
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

_CHARS_A_TOKEN = 4


class LocalProvider:
    """Answers Infill prompts alone. Its token counts are characters divided by four, rounded up."""

    @property
    def name(self) -> str:
        """The provider's name in settings and in the catalogue."""
        return "local"

    async def stream(self, call: ModelCall, deadline: Deadline) -> AsyncIterator[Delta]:
        """One delta, which is whole. Raises Rejected for a chat."""
        del deadline  # It takes milliseconds.
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
        """Raises Rejected: it has no vectors."""
        del call, deadline
        raise Rejected("The local completer makes no embeddings.")

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
    del outbound, clock, limits
    return LocalProvider() if settings.local.enabled else None


def _tokens(chars: int) -> int:
    return -(-chars // _CHARS_A_TOKEN)


PROVIDER = ProviderFactory(_build)
