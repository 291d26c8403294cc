"""The door to every model: limits, and one start and one end for every call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

import isthmus
from isthmus.core.deadline import Deadline
from isthmus.core.errors import (
    Failure,
    Forbidden,
    MisconfiguredProvider,
    Rejected,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from isthmus.core.events import ModelCalled, ModelCallStarted
from isthmus.core.identity import Caller
from isthmus.core.messages import (
    Chat,
    Delta,
    EmbedCall,
    Embeddings,
    Gathering,
    Infill,
    Message,
    ModelCall,
    RawCall,
    RawReply,
    Text,
    Usage,
    collect,
    gather,
)
from isthmus.core.notes import NOTES, Notes
from isthmus.routing.ask import Ask
from isthmus.routing.catalogue import parse_catalogue
from isthmus.routing.failures import class_of, class_of_status
from isthmus.routing.models import Models
from isthmus.settings import ModelsSettings, OpenAISettings, OutboundSettings
from tests.support.clock import HandClock
from tests.support.sink import MemorySink

LIBRARY = (Path(isthmus.__file__).parent / "library" / "models.yml").read_bytes()
CALLER = Caller("u", realm="saas")
USAGE = Usage(10, 3)
CHAT = Chat((Message("user", (Text("Hi"),)),))
DELTAS = (Delta("a"), Delta("b"), Delta(finish="length", usage=USAGE))
RAW = RawCall("/v1/messages", (), b"{}", "claude-sonnet-4-6", streaming=True)


class Provider:
    """Plays deltas and a reply; the clock moves a second before each."""

    name = "anthropic"
    forward_headers: frozenset[str] = frozenset()
    configured = True

    def __init__(self, clock: HandClock, *script: Delta | BaseException, status: int = 200) -> None:
        self.clock = clock
        self.script = script
        self.status = status
        self.closed = False
        self.meter_breaks = False
        self.forwarded = RAW
        self.body: bytes | None = None
        self.calls: list[tuple[ModelCall, Deadline]] = []

    async def stream(self, call: ModelCall, deadline: Deadline) -> AsyncIterator[Delta]:
        self.calls.append((call, deadline))
        try:
            for step in self.script:
                self.clock.advance(1.0)
                if isinstance(step, BaseException):
                    raise step
                yield step
        finally:
            self.closed = True

    async def whole(self, call: ModelCall, deadline: Deadline, into: Gathering) -> None:
        await gather(self.stream(call, deadline), into)

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        raise NotImplementedError

    def forwards(self, path: str) -> bool:
        return path == "/v1/messages"

    def forward(self, raw: RawCall, deadline: Deadline) -> AbstractAsyncContextManager[RawReply]:
        return self._forward(raw, deadline)

    @asynccontextmanager
    async def _forward(self, raw: RawCall, deadline: Deadline) -> AsyncIterator[RawReply]:
        assert raw is RAW or raw == replace(RAW, api_key="its own")
        self.forwarded = raw
        assert deadline.at_s == self.clock.now_s() + OutboundSettings().proxy_total_s
        self.clock.advance(2.0)
        for step in self.script:
            if isinstance(step, BaseException):
                raise step
        try:
            yield RawReply(self.status, (), self._chunks(), self._meter, lambda: self.body)
        finally:
            self.closed = True

    def _meter(self, chunk: bytes) -> Usage | None:
        if self.meter_breaks:
            raise ZeroDivisionError
        return USAGE if chunk else None

    async def _chunks(self) -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"


class Stage:
    """Models over one provider, with a sink to look into."""

    def __init__(
        self,
        *script: Delta | BaseException,
        status: int = 200,
        settings: ModelsSettings | None = None,
    ) -> None:
        self.clock = HandClock()
        self.sink = MemorySink()
        self.provider = Provider(self.clock, *script, status=status)
        catalogue = parse_catalogue(LIBRARY, settings or ModelsSettings(), OpenAISettings())
        self.models = Models(
            {"anthropic": self.provider}, catalogue, OutboundSettings(), self.sink, self.clock
        )
        self.choice = self.models.choose("workflow")

    def stream(self, prompt: Chat | Infill = CHAT, **more: int) -> AsyncIterator[Delta]:
        ask = Ask("workflow", "duo_agent_platform", prompt, more.get("max_tokens"), streaming=True)
        return self.models.stream(ask, self.choice, CALLER)

    def ended(self) -> ModelCalled:
        """The one end that was told, after the one start."""
        assert len(self.sink.of(ModelCallStarted)) == 1
        (called,) = self.sink.of(ModelCalled)
        assert self.sink.facts[-1] is called
        assert called.call_id
        return replace(called, call_id="")


async def test_a_stream_that_ends_well() -> None:
    stage = Stage(*DELTAS)
    answer = await collect(stage.stream())
    assert answer.text == "ab"
    assert stage.ended() == ModelCalled(
        provider="anthropic",
        engine="anthropic",
        model="claude-sonnet-4-6",
        feature="workflow",
        unit_primitive="duo_agent_platform",
        streaming=True,
        duration_s=3.0,
        first_byte_s=1.0,
        usage=USAGE,
        error="none",
        finish="length",
        realm="saas",
        who=CALLER.who,
        deployment="anthropic/claude_sonnet_4_6",
        cost=75,
        gap_s=1.0,
        longest_gap_s=1.0,
    )


async def test_what_a_caller_waited_is_known_when_its_answer_begins() -> None:
    notes = Notes()
    token = NOTES.set(notes)
    waits = [notes.upstream_s async for _ in Stage(Delta("a"), *DELTAS).stream()]
    assert waits[0] == 1.0
    assert set(waits) == {1.0}
    await Stage(*DELTAS).models.whole(Ask("workflow", "u", CHAT), Stage().choice, CALLER)
    NOTES.reset(token)
    assert notes.call_id
    assert notes.upstream_s == 1.0 + 3.0


async def test_a_call_says_what_it_was_for() -> None:
    stage = Stage(*DELTAS)
    await collect(stage.stream(Infill("a", "b")))
    assert stage.ended().operation == "text_completion"


@pytest.mark.parametrize(
    ("prompt", "feature", "total_s"),
    [
        (CHAT, "workflow", 600.0),
        (Infill("a", "b"), "workflow", 60.0),
        (CHAT, "code_completions", 60.0),
        (CHAT, "unheard_of", 600.0),
    ],
)
async def test_the_kind_of_call_sets_its_deadline(
    prompt: Chat | Infill, feature: str, total_s: float
) -> None:
    stage = Stage(*DELTAS)
    started_s = stage.clock.now_s()
    await collect(stage.models.stream(Ask(feature, "u", prompt), stage.choice, CALLER))
    ((_, deadline),) = stage.provider.calls
    assert deadline == Deadline(started_s + total_s, 5.0, 60.0, 60.0)


@pytest.mark.parametrize(("asked", "sent"), [(None, 64000), (10, 10), (10**9, 64000)])
async def test_output_tokens_stay_within_the_models(asked: int | None, sent: int) -> None:
    stage = Stage(*DELTAS)
    await collect(
        stage.models.stream(Ask("workflow", "u", CHAT, max_tokens=asked), stage.choice, CALLER)
    )
    assert stage.provider.calls[0][0].max_tokens == sent


async def test_a_stream_that_fails() -> None:
    stage = Stage(Delta("a"), UpstreamFailed("x", status=503))
    with pytest.raises(UpstreamFailed):
        await collect(stage.stream())
    called = stage.ended()
    assert (called.error, called.finish) == ("service_unavailable", "error")
    assert (called.duration_s, called.first_byte_s) == (2.0, 1.0)


async def test_a_whole_answer_is_that_of_its_stream() -> None:
    streamed, stage = Stage(*DELTAS), Stage(*DELTAS)
    ask = Ask("workflow", "duo_agent_platform", CHAT, streaming=True)
    answer = await stage.models.whole(ask, stage.choice, CALLER)
    assert answer == await collect(streamed.stream())
    # Nobody watches the pieces of an answer that is read at its end.
    assert stage.ended() == replace(streamed.ended(), gap_s=0.0, longest_gap_s=0.0)


async def test_a_whole_answer_that_fails_tells_what_had_come() -> None:
    stage = Stage(Delta("a", usage=USAGE), UpstreamFailed("x", status=503))
    with pytest.raises(UpstreamFailed):
        await stage.models.whole(Ask("workflow", "u", CHAT), stage.choice, CALLER)
    called = stage.ended()
    assert (called.error, called.finish) == ("service_unavailable", "error")
    assert (called.duration_s, called.first_byte_s, called.usage) == (2.0, 1.0, USAGE)


async def test_a_whole_answer_that_the_caller_leaves() -> None:
    stage = Stage(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await stage.models.whole(Ask("workflow", "u", CHAT), stage.choice, CALLER)
    assert (stage.ended().error, stage.ended().finish) == ("none", "cancelled")


async def test_a_bug_in_a_provider_is_told_too() -> None:
    stage = Stage(ValueError("bug"))
    with pytest.raises(ValueError, match="bug"):
        await collect(stage.stream())
    assert (stage.ended().error, stage.ended().finish) == ("other", "error")


async def test_a_stream_that_is_closed_early() -> None:
    stage = Stage(*DELTAS)
    stream = stage.models.stream(Ask("workflow", "u", CHAT), stage.choice, CALLER)
    async with aclosing(stream) as deltas:
        await anext(deltas)
    assert stage.provider.closed
    assert (stage.ended().error, stage.ended().finish) == ("none", "cancelled")


async def test_a_stream_that_is_cancelled() -> None:
    stage = Stage(Delta("a"), asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await collect(stage.stream())
    assert (stage.ended().error, stage.ended().finish) == ("none", "cancelled")


async def test_a_provider_that_is_not_configured() -> None:
    stage = Stage()
    with pytest.raises(MisconfiguredProvider, match="API key not found"):
        stage.models.provider("openai")
    assert stage.sink.facts == []


async def test_forwarding_to_the_end() -> None:
    stage = Stage()
    async with stage.models.forward("anthropic", RAW, CALLER, "proxy_up") as reply:
        assert reply.status == 200
        for chunk in [chunk async for chunk in reply.chunks]:
            assert reply.meter(chunk) == USAGE
    assert stage.provider.closed
    assert stage.ended() == ModelCalled(
        provider="anthropic",
        engine="anthropic",
        model="claude-sonnet-4-6",
        feature="",
        unit_primitive="proxy_up",
        streaming=True,
        duration_s=2.0,
        first_byte_s=2.0,
        usage=USAGE,
        error="none",
        finish="",
        realm="saas",
        who=CALLER.who,
        deployment="anthropic/claude_sonnet_4_6",
        cost=75,
    )


async def test_a_meter_that_breaks_costs_nobody_an_answer() -> None:
    stage = Stage()
    stage.provider.meter_breaks = True
    async with stage.models.forward("anthropic", RAW, CALLER, "up") as reply:
        assert [chunk async for chunk in reply.chunks] == [b"one", b"two"]
    assert (stage.ended().error, stage.ended().usage) == ("none", None)


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_reply_that_is_here_as_a_whole_is_metered_and_ends_well(breaks: bool) -> None:
    stage = Stage()
    stage.provider.meter_breaks = breaks
    async with stage.models.forward("anthropic", RAW, CALLER, "up") as reply:
        assert reply.whole() is None
        stage.provider.body = b"one"
        assert reply.whole() == b"one"
    ended = stage.ended()
    assert (ended.error, ended.finish, ended.usage) == ("none", "", None if breaks else USAGE)


async def test_forwarding_that_the_caller_leaves() -> None:
    stage = Stage()
    async with stage.models.forward("anthropic", RAW, CALLER, "up") as reply:
        assert aiter(reply.chunks) is reply.chunks
        await anext(reply.chunks)
        assert reply.meter(b"") is None
    assert (stage.ended().error, stage.ended().finish) == ("none", "cancelled")


async def test_forwarding_an_error_answer() -> None:
    stage = Stage(status=529)
    async with stage.models.forward("anthropic", RAW, CALLER, "up") as reply:
        _ = [chunk async for chunk in reply.chunks]
    assert stage.ended().error == "overloaded"


async def test_forwarding_that_never_began() -> None:
    stage = Stage(UpstreamUnreachable("x"))
    with pytest.raises(UpstreamUnreachable):
        async with stage.models.forward("anthropic", RAW, CALLER, "up"):
            pass
    assert stage.ended().error == "connection_error"
    assert stage.ended().first_byte_s == 0.0


async def test_forwarding_that_breaks_on_the_way() -> None:
    stage = Stage()
    with pytest.raises(UpstreamTimeout):
        async with stage.models.forward("anthropic", RAW, CALLER, "up"):
            raise UpstreamTimeout("x", "between_bytes")
    assert (stage.ended().error, stage.ended().finish) == ("connection_error", "error")


async def test_a_model_with_a_key_of_its_own_is_forwarded_with_it() -> None:
    settings = ModelsSettings(params={"claude_sonnet_4_6": {"api_key": "its own"}})
    stage = Stage(settings=settings)
    async with stage.models.forward("anthropic", RAW, CALLER, "up"):
        assert stage.provider.forwarded.api_key == "its own"
    assert "its own" not in repr(stage.provider.forwarded)


def test_only_listed_models_are_forwarded() -> None:
    stage = Stage()
    with pytest.raises(Rejected, match="Unsupported model"):
        stage.models.forward(
            "anthropic", RawCall("/v1/messages", (), b"", "other", streaming=False), CALLER, "up"
        )
    assert stage.sink.facts == []
    assert "claude-sonnet-4-6" in stage.models.proxied("anthropic")


def too_long() -> UpstreamFailed:
    failure = UpstreamFailed("x", status=400)
    failure.reason = "prompt_too_long"
    return failure


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (UpstreamLimited("x", status=429), "overloaded"),
        (UpstreamTimeout("x", "total"), "connection_error"),
        (UpstreamUnreachable("x"), "connection_error"),
        (UpstreamFailed("x"), "connection_error"),
        (too_long(), "prompt_too_long"),
        (UpstreamFailed("x", status=400), "http_400"),
        (UpstreamFailed("x", status=403), "permission_error"),
        (UpstreamFailed("x", status=500), "other"),
        (UpstreamFailed("x", status=502), "service_unavailable"),
        (Forbidden("x"), "permission_error"),
        (MisconfiguredProvider("x"), "other"),
    ],
)
def test_classes_of_failures(failure: Failure, told: str) -> None:
    assert class_of(failure) == told


@pytest.mark.parametrize(
    ("status", "told"), [(200, "none"), (302, "none"), (401, "permission_error"), (418, "other")]
)
def test_classes_of_statuses(status: int, told: str) -> None:
    assert class_of_status(status) == told
