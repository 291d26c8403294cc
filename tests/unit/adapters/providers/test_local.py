"""The local provider: what it answers and what it refuses."""

from contextlib import AbstractAsyncContextManager

import pytest

from isthmus.adapters.providers.local import PROVIDER, LocalProvider
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Rejected
from isthmus.core.messages import (
    Chat,
    EmbedCall,
    Infill,
    Message,
    ModelCall,
    OutboundRequest,
    RawCall,
    Text,
    collect,
)
from isthmus.core.ports import ModelProvider, OutboundReply
from isthmus.settings import LocalSettings, OutboundSettings, ProvidersSettings
from tests.support.clock import HandClock

NOW = Deadline(at_s=2000.0)
ABOVE = "return a\nreturn a\nret"


def call(prompt: Infill | Chat, max_tokens: int = 100) -> ModelCall:
    return ModelCall("local", prompt, max_tokens)


async def test_an_infill_is_answered_with_usage() -> None:
    answer = await collect(LocalProvider().stream(call(Infill(ABOVE, "\n")), NOW))
    assert answer.text == "urn a"
    assert answer.usage is not None
    assert answer.usage.input_tokens == 6
    assert answer.usage.output_tokens == 2


async def test_the_answer_keeps_to_the_output_limit() -> None:
    answer = await collect(LocalProvider().stream(call(Infill(ABOVE, "\n"), 1), NOW))
    assert answer.text == "urn "


async def test_whatever_needs_a_model_is_refused() -> None:
    provider: ModelProvider = LocalProvider()
    with pytest.raises(Rejected, match="cannot follow instructions"):
        await collect(provider.stream(call(Chat((Message("user", (Text("hi"),)),))), NOW))
    with pytest.raises(Rejected):
        await provider.embed(EmbedCall("local", ("x",)), NOW)
    with pytest.raises(Rejected):
        provider.forward(RawCall("/v1/messages", (), b"", "local", streaming=False), NOW)
    assert not provider.forwards("/v1/messages")
    assert not provider.forward_headers


@pytest.mark.parametrize("enabled", [True, False])
def test_it_is_there_when_enabled(enabled: bool) -> None:
    settings = ProvidersSettings(local=LocalSettings(enabled=enabled))
    built = PROVIDER.build(settings, NoOutbound(), HandClock(), OutboundSettings())
    assert (built is not None) is enabled
    assert built is None or built.name == "local"


class NoOutbound:
    """The local provider calls nobody."""

    def open(
        self, request: OutboundRequest, deadline: Deadline
    ) -> AbstractAsyncContextManager[OutboundReply]:
        raise NotImplementedError
