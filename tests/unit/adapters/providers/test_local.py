"""The local provider: what it answers and what it refuses."""

from contextlib import AbstractAsyncContextManager

import pytest

from isthmus.adapters.providers.local import PROVIDER, LocalProvider
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Rejected, Unavailable
from isthmus.core.messages import (
    Chat,
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
        provider.forward(RawCall("/v1/messages", (), b"", "local", streaming=False), NOW)
    assert not provider.forwards("/v1/messages")
    assert not provider.forward_headers


@pytest.mark.parametrize(("enabled", "embeddings"), [(True, True), (True, False), (False, True)])
def test_it_is_there_when_enabled(enabled: bool, embeddings: bool) -> None:
    built = build(enabled=enabled, embeddings=embeddings)
    assert built is not None
    assert built.name == "local"
    assert built.configured


def test_with_all_of_it_switched_off_it_is_not_there() -> None:
    assert build(enabled=False, embeddings=False) is None


async def test_a_completer_that_is_switched_off_completes_nothing() -> None:
    built = build(enabled=False, embeddings=True)
    assert built is not None
    with pytest.raises(Unavailable):
        await collect(built.stream(call(Infill(ABOVE, "\n")), NOW))


def build(*, enabled: bool, embeddings: bool) -> ModelProvider | None:
    local = LocalSettings(enabled=enabled, embeddings=embeddings)
    settings = ProvidersSettings(local=local)
    return PROVIDER.build(settings, NoOutbound(), HandClock(), OutboundSettings())


class NoOutbound:
    """The local provider calls nobody."""

    def open(
        self, request: OutboundRequest, deadline: Deadline
    ) -> AbstractAsyncContextManager[OutboundReply]:
        raise NotImplementedError
