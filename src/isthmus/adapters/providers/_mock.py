"""Providers that answer from nowhere: `models.mock`, for development without accounts.

Source: HTTP gateway contract, section 10.8.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext

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
from isthmus.core.ports import ModelProvider

COMPLETION = "mock completion"
CHAT = "mock"
VECTOR = (0.1, 0.2, 0.3)
FORWARDED = b'{"response":"mocked"}'


def mocked(providers: Mapping[str, ModelProvider]) -> dict[str, ModelProvider]:
    """The same providers, of which none calls anybody; all of them count as configured."""
    return {name: MockProvider(provider) for name, provider in providers.items()}


class MockProvider:
    """Implements `ModelProvider` in the place of another one, whose paths and headers it keeps."""

    configured = True

    def __init__(self, real: ModelProvider) -> None:
        self._real = real

    @property
    def name(self) -> str:
        """The provider's name in settings and in the catalogue."""
        return self._real.name

    async def stream(self, call: ModelCall, deadline: Deadline) -> AsyncIterator[Delta]:
        """One text; no usage."""
        del deadline
        yield Delta(text=COMPLETION if isinstance(call.prompt, Infill) else CHAT, finish="stop")

    async def whole(self, call: ModelCall, deadline: Deadline, into: Gathering) -> None:
        """The same."""
        await gather(self.stream(call, deadline), into)

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        """The same vector for every text."""
        del deadline
        return Embeddings((VECTOR,) * len(call.texts))

    def forward(self, raw: RawCall, deadline: Deadline) -> AbstractAsyncContextManager[RawReply]:
        """One small JSON object, whatever was asked."""
        del deadline
        if not self.forwards(raw.path):
            raise Rejected("The provider does not take this path.")
        headers = (("content-type", "application/json"),)
        return nullcontext(RawReply(200, headers, _once(FORWARDED), _no_usage))

    def forwards(self, path: str) -> bool:
        """As the real one."""
        return self._real.forwards(path)

    @property
    def forward_headers(self) -> frozenset[str]:
        """As the real one's."""
        return self._real.forward_headers


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _no_usage(_: bytes) -> Usage | None:
    return None
