"""Providers that answer from nowhere."""

import pytest

from isthmus.adapters.providers._mock import mocked
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Rejected
from isthmus.core.identity import Caller
from isthmus.core.messages import Chat, EmbedCall, Infill, ModelCall, RawCall, collect
from isthmus.routing.models import Models
from isthmus.settings import OutboundSettings
from tests.support.clock import HandClock
from tests.support.http_app import CATALOGUE, anthropic
from tests.support.sink import MemorySink

SOON = Deadline(2000.0)


async def test_every_kind_of_call_is_answered_and_nobody_is_called() -> None:
    real = anthropic()
    real.configured = False
    (provider,) = mocked({"anthropic": real}).values()
    assert (provider.name, provider.configured) == ("anthropic", True)
    for prompt, text in ((Infill("a", "b"), "mock completion"), (Chat(()), "mock")):
        answer = await collect(provider.stream(ModelCall("m", prompt, 10), SOON))
        assert (answer.text, answer.finish, answer.usage) == (text, "stop", None)
    made = await provider.embed(EmbedCall("m", ("a", "b")), SOON)
    assert made.vectors == ((0.1, 0.2, 0.3), (0.1, 0.2, 0.3))
    assert provider.forward_headers == real.forward_headers
    with pytest.raises(Rejected):
        provider.forward(RawCall("/v1/other", (), b"{}", "m", False), SOON)
    assert real.calls == []


async def test_the_proxy_answers_that_it_is_mocked() -> None:
    providers = mocked({"anthropic": anthropic()})
    models = Models(providers, CATALOGUE, OutboundSettings(), MemorySink(), HandClock())
    raw = RawCall("/v1/messages", (), b"{}", "claude-test", False)
    async with models.forward("anthropic", raw, Caller("x"), "duo_chat") as reply:
        body = b"".join([chunk async for chunk in reply.chunks])
    assert (reply.status, body) == (200, b'{"response":"mocked"}')
