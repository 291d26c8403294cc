"""Retries, model discovery, the infill fallback and the vendors' SDKs, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import anthropic as anthropic_sdk
import openai as openai_sdk
import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from isthmus.adapters.outbound.client import HttpClient, open_client
from isthmus.adapters.providers import openai
from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._load import load_providers
from isthmus.adapters.providers._spec import ProviderSpec
from isthmus.adapters.providers.dialects.anthropic import AnthropicDialect
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.adapters.providers.signing.api_key import ApiKey
from isthmus.core.deadline import Deadline
from isthmus.core.errors import (
    MisconfiguredProvider,
    Rejected,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from isthmus.core.messages import (
    Answer,
    Chat,
    EmbedCall,
    Gathering,
    Infill,
    Message,
    ModelCall,
    RawCall,
    Target,
    Text,
    Usage,
    collect,
)
from isthmus.core.ports import ModelProvider
from isthmus.settings import OutboundSettings, ProvidersSettings
from tests.contract.outbound.rawserver import Peer, RealClock, answering, serving, within
from tests.support.replay import KEY, replaying

CALL = ModelCall("m", Chat((Message("user", (Text("Hi"),)),)), 64)
INFILL = ModelCall("", Infill("def f():\n    ", "\n"), 64)
HEAD = b"HTTP/1.1 %b\r\ncontent-length: %d\r\n%b\r\n%b"
STREAM = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"a"}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


def answer(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    return HEAD % (status, len(body), headers, body)


@pytest.fixture
async def outbound() -> AsyncIterator[HttpClient]:
    async with open_client(OutboundSettings(), RealClock()) as client:
        yield client


class Sleeps:
    """Remembers how long it should have slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


async def whole(door: ModelProvider, call: ModelCall, deadline: Deadline) -> Answer:
    gathering = Gathering()
    await door.whole(call, deadline, gathering)
    return gathering.answer()


async def streamed(door: ModelProvider, call: ModelCall, deadline: Deadline) -> Answer:
    return await collect(door.stream(call, deadline))


Read = Callable[[ModelProvider, ModelCall, Deadline], Awaitable[Answer]]
either = pytest.mark.parametrize("read", [whole, streamed])
"""Both ways to read an answer keep the same promises."""


def provider(outbound: HttpClient, port: int, sleeps: Sleeps, retries: int = 2) -> HttpProvider:
    spec = ProviderSpec(
        name="anthropic",
        base_url=f"http://127.0.0.1:{port}",
        dialect=AnthropicDialect(),
        framing=SseParser,
        signer=ApiKey(SecretStr("k"), "x-api-key"),
        forward_paths=frozenset({"/v1/messages"}),
        forward_headers=frozenset({"accept"}),
    )
    return HttpProvider(spec, outbound, RealClock(), Tries(retries, lambda: 0.5, sleeps))


@pytest.mark.parametrize(
    ("first", "slept"),
    [
        (answer(b"500 Oops", b"<html>"), [0.1]),
        (answer(b"529 Overloaded", b"{}"), [0.1]),
        (answer(b"429 Slow", b"{}", b"retry-after: 2\r\n"), [2.1]),
        (b"HTTP/1.1 2", [0.1]),
    ],
)
@either
async def test_a_call_without_an_answer_is_tried_again(
    outbound: HttpClient, first: bytes, slept: list[float], read: Read
) -> None:
    async def handle(peer: Peer) -> None:
        await peer.read()
        await peer.write(first if len(peer.server.requests) == 1 else answer(b"200 OK", STREAM))

    sleeps = Sleeps()
    async with serving(handle) as server:
        got = await read(provider(outbound, server.port, sleeps), CALL, within())
        assert got.message_id == "a"
        assert len(server.requests) == 2
        assert sleeps.slept == pytest.approx(slept)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (answer(b"400 Bad", b"{}"), UpstreamFailed),
        (answer(b"401 Who", b"{}"), UpstreamFailed),
        (answer(b"429 Slow", b"{}", b"retry-after: 60\r\n"), UpstreamLimited),
        (answer(b"200 OK", STREAM[:40]), UpstreamFailed),
        (answer(b"200 OK", b"data: nonsense\n\n"), UpstreamFailed),
        (answer(b"302 Found", b"", b"location: /elsewhere\r\n"), UpstreamFailed),
    ],
)
@either
async def test_what_is_never_tried_again(
    outbound: HttpClient, first: bytes, kind: type[UpstreamFailed], read: Read
) -> None:
    sleeps = Sleeps()
    async with serving(answering(first)) as server:
        with pytest.raises(kind) as raised:
            await read(provider(outbound, server.port, sleeps), CALL, within())
        assert type(raised.value) is kind
        assert len(server.requests) == 1
        assert sleeps.slept == []


@either
async def test_a_call_that_others_can_serve_is_tried_once(outbound: HttpClient, read: Read) -> None:
    async with serving(answering(answer(b"503 Busy", b"{}"))) as server:
        door = provider(outbound, server.port, Sleeps())
        with pytest.raises(UpstreamFailed) as caught:
            await read(door, replace(CALL, alone=False), within())
        assert caught.value.retryable
        assert len(server.requests) == 1


async def test_a_forwarded_stream_is_broken_off_where_the_vendor_stopped(
    outbound: HttpClient,
) -> None:
    events = b"content-type: text/event-stream\r\n"
    cut = STREAM.partition(b"event: message_stop")[0]
    async with serving(answering(answer(b"200 OK", cut, events))) as server:
        raw = RawCall("/v1/messages", (), b"{}", "m", streaming=True)
        door = provider(outbound, server.port, Sleeps())
        async with door.forward(raw, within()) as reply:
            assert reply.whole() is None
            assert reply.seen(await anext(reply.chunks)) == ""
            with pytest.raises(UpstreamFailed):
                await anext(reply.chunks)


async def test_a_forwarded_stream_that_is_compressed_is_not_looked_into(
    outbound: HttpClient,
) -> None:
    packed = b"content-type: text/event-stream\r\ncontent-encoding: br\r\n"
    async with serving(answering(answer(b"200 OK", b"\x1b\x00", packed))) as server:
        raw = RawCall("/v1/messages", (), b"{}", "m", streaming=True)
        async with provider(outbound, server.port, Sleeps()).forward(raw, within()) as reply:
            assert [chunk async for chunk in reply.chunks] == [b"\x1b\x00"]
            assert reply.seen(b"\x1b") == "content"


@either
@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"content-type: text/event-stream\r\n", "answer stopped before"),
        (
            b"content-type: application/json; charset=utf-8\r\n",
            r"\(application/json\) stopped",
        ),
        (b"Content-Type: Text/HTML\r\n", r"\(text/html\) stopped"),
        (b"content-type: text/sk-secret\r\n", "answer stopped before"),
        (b"", "answer stopped before"),
    ],
)
async def test_an_answer_that_was_no_stream_is_told_with_its_type(
    outbound: HttpClient, read: Read, head: bytes, says: str
) -> None:
    async with serving(answering(answer(b"200 OK", b"{}", head))) as server:
        with pytest.raises(UpstreamFailed, match=says):
            await read(provider(outbound, server.port, Sleeps()), CALL, within(5))


async def test_tries_are_counted(outbound: HttpClient) -> None:
    sleeps = Sleeps()
    async with serving(answering(answer(b"503 Down", b"{}"))) as server:
        with pytest.raises(UpstreamFailed) as raised:
            await collect(provider(outbound, server.port, sleeps).stream(CALL, within()))
        assert raised.value.status == 503
        assert len(server.requests) == 3
        assert sleeps.slept == pytest.approx([0.1, 0.2])


async def test_a_huge_error_body_is_cut(outbound: HttpClient) -> None:
    async with serving(answering(answer(b"400 Bad", b"x" * 1_000_000))) as server:
        with pytest.raises(UpstreamFailed) as raised:
            await collect(provider(outbound, server.port, Sleeps()).stream(CALL, within()))
        assert len(raised.value.body) == 65536


async def test_a_forwarded_call_is_never_tried_again(outbound: HttpClient) -> None:
    raw = RawCall("/v1/messages", (), b"{}", "m", streaming=False)
    async with serving(answering(answer(b"500 Oops", b"no"))) as server:
        door = provider(outbound, server.port, Sleeps())
        async with door.forward(raw, within()) as reply:
            assert reply.status == 500
            assert [chunk async for chunk in reply.chunks] == [b"no"]
        assert len(server.requests) == 1
        with pytest.raises(Rejected):
            door.forward(RawCall("/v1/messages?x=1", (), b"{}", "m", streaming=False), within())


async def test_a_forwarded_stream_that_stalls_raises(outbound: HttpClient) -> None:
    async def handle(peer: Peer) -> None:
        await peer.read()
        await peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await peer.reader.read()

    raw = RawCall("/v1/messages", (), b"{}", "m", streaming=True)
    async with serving(handle) as server:
        door = provider(outbound, server.port, Sleeps())
        async with door.forward(raw, within(between_s=0.1)) as reply:
            assert await anext(reply.chunks) == b"half"
            with pytest.raises(UpstreamTimeout) as raised:
                await anext(reply.chunks)
        assert raised.value.phase == "between_bytes"


def compatible(outbound: HttpClient, base_url: str, key: str = "") -> openai.OpenAIProvider:
    settings = ProvidersSettings.model_validate({"openai": {"base_url": base_url, "api_key": key}})
    return openai.build(settings, outbound, RealClock(), OutboundSettings(retries=0))


@either
async def test_a_server_that_lists_its_models_is_asked_once(
    outbound: HttpClient, read: Read
) -> None:
    async with replaying("openai", key="") as replay:
        door = compatible(outbound, replay.base_url)
        call = ModelCall("", CALL.prompt, 64)
        for _ in range(2):
            assert (await read(door, call, within())).text == "Hello, grüß Gott 👋"
        assert [asked.path for asked in replay.requests] == [
            "/v1/models",
            "/v1/chat/completions",
            "/v1/chat/completions",
        ]
        assert replay.requests[1].json()["model"] == "my-model"
        assert "authorization" not in replay.requests[1].headers
        replay.play("too_long")
        with pytest.raises(UpstreamFailed):
            await read(door, call, within())
        await read(door, call, within())
        assert replay.requests[4].path == "/v1/models", "a failure makes it ask again"


@either
async def test_who_asks_meanwhile_shares_the_list_of_models(
    outbound: HttpClient, read: Read
) -> None:
    async with replaying("openai", key="") as replay:
        door = compatible(outbound, replay.base_url)
        call = ModelCall("", CALL.prompt, 64)
        await asyncio.gather(*(read(door, call, within()) for _ in range(4)))
        paths = [asked.path for asked in replay.requests]
        assert (paths.count("/v1/models"), len(paths)) == (1, 5)


@either
async def test_an_infill_goes_to_completions_and_falls_back_to_chat(
    outbound: HttpClient, read: Read
) -> None:
    async with replaying("openai", key="") as replay:
        door = compatible(outbound, replay.base_url)
        assert (await read(door, INFILL, within())).text == "a + b"
        assert replay.requests[-1].path == "/v1/completions"
        replay.play("too_long", "text", "text")
        assert (await read(door, INFILL, within())).text.startswith("Hello")
        assert [asked.path for asked in replay.requests[-2:]] == [
            "/v1/completions",
            "/v1/chat/completions",
        ]
        await read(door, INFILL, within())
        assert replay.requests[-1].path == "/v1/chat/completions", "the refusal is remembered"


async def test_a_server_without_models_is_a_failure(outbound: HttpClient) -> None:
    async with serving(answering(answer(b"200 OK", b'{"data":[]}'))) as server:
        door = compatible(outbound, f"http://127.0.0.1:{server.port}/v1")
        with pytest.raises(UpstreamFailed):
            await collect(door.stream(INFILL, within()))


async def test_embeddings_come_in_the_order_of_the_texts(outbound: HttpClient) -> None:
    async with replaying("openai") as replay:
        door = compatible(outbound, replay.base_url, KEY)
        got = await door.embed(EmbedCall("my-model", ("a", "b"), 2), within())
        assert got.vectors == ((0.25, 0.0), (0.5, 1.0))
        assert got.usage == Usage(input_tokens=6)
        assert replay.requests[0].json() == {
            "model": "my-model",
            "input": ["a", "b"],
            "encoding_format": "float",
            "dimensions": 2,
        }
        with pytest.raises(UpstreamFailed):
            await door.embed(EmbedCall("my-model", ("a", "b", "c")), within())


def configured(providers: dict[str, ModelProvider]) -> set[str]:
    return {name for name, provider in providers.items() if provider.configured}


@either
async def test_a_provider_without_a_key_serves_only_calls_that_bring_a_target(
    outbound: HttpClient, read: Read
) -> None:
    built = openai.build(ProvidersSettings(), outbound, RealClock(), OutboundSettings(retries=0))
    call = ModelCall("my-model", CALL.prompt, 64)
    with pytest.raises(MisconfiguredProvider):
        await read(built, call, within())
    async with replaying("openai", key="theirs") as replay:
        target = Target(replay.base_url, "theirs")
        answered = await read(built, replace(call, target=target), within())
        assert answered.text == "Hello, grüß Gott 👋"
        assert replay.requests[0].headers["authorization"] == "Bearer theirs"


def test_only_the_configured_providers_are_built() -> None:
    outbound = HttpClient(OutboundSettings(), RealClock())
    limits = OutboundSettings()
    none = load_providers(ProvidersSettings(), outbound, RealClock(), limits)
    assert not {"anthropic", "openai"} & configured(none)
    assert "scripted" in none
    settings = ProvidersSettings.model_validate(
        {
            "anthropic": {"api_key": "k"},
            "openai": {"base_url": "http://127.0.0.1:11434/v1"},
            "scripted": {"enabled": False},
        }
    )
    some = load_providers(settings, outbound, RealClock(), limits)
    assert {"anthropic", "openai"} <= configured(some)
    assert "scripted" not in some
    assert some["openai"].forwards("/v1/chat/completions")
    assert not some["openai"].forwards("/v1/chat/completions?x=1")
    assert some["anthropic"].forwards("/v1/messages/count_tokens?beta=true")
    assert not some["anthropic"].forwards("/v1/complete")


async def test_a_provider_without_embeddings_says_so(outbound: HttpClient) -> None:
    with pytest.raises(Rejected):
        await provider(outbound, 1, Sleeps()).embed(EmbedCall("m", ("a",)), within())


async def test_half_a_character_is_rejected_before_it_is_sent(outbound: HttpClient) -> None:
    call = ModelCall("m", Chat((Message("user", (Text("\ud800"),)),)), 5)
    with pytest.raises(Rejected):
        await collect(provider(outbound, 1, Sleeps()).stream(call, within()))


async def test_a_refused_port_is_unreachable(outbound: HttpClient) -> None:
    async with serving(answering(b"")) as server:
        port = server.port
    with pytest.raises(UpstreamUnreachable):
        await collect(provider(outbound, port, Sleeps(), 0).stream(CALL, within()))


async def test_the_replay_satisfies_the_anthropic_sdk() -> None:
    async with replaying("anthropic") as replay:
        sdk = anthropic_sdk.AsyncAnthropic(api_key=KEY, base_url=replay.base_url, max_retries=0)
        async with sdk:
            whole = await sdk.messages.create(
                model="claude-sonnet-4-6",
                max_tokens=64,
                messages=[{"role": "user", "content": "Hi"}],
            )
            assert whole.usage.output_tokens == 12
            replay.play("tool_use")
            async with sdk.messages.stream(
                model="claude-sonnet-4-6",
                max_tokens=64,
                messages=[{"role": "user", "content": "Hi"}],
            ) as stream:
                final = await stream.get_final_message()
            assert final.stop_reason == "tool_use"
            replay.play("overloaded")
            with pytest.raises(anthropic_sdk.APIStatusError) as raised:
                await sdk.messages.create(
                    model="m", max_tokens=1, messages=[{"role": "user", "content": "Hi"}]
                )
            assert raised.value.status_code == 529


async def test_the_replay_satisfies_the_openai_sdk() -> None:
    async with replaying("openai") as replay:
        sdk = openai_sdk.AsyncOpenAI(api_key=KEY, base_url=replay.base_url, max_retries=0)
        async with sdk:
            replay.play("tool_calls")
            stream = await sdk.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            chunks = [chunk async for chunk in stream]
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.completion_tokens == 31
            whole = await sdk.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hi"}]
            )
            assert whole.choices[0].message.content == "Hello, hola, salut."
        stranger = openai_sdk.AsyncOpenAI(api_key="wrong", base_url=replay.base_url, max_retries=0)
        async with stranger:
            with pytest.raises(openai_sdk.AuthenticationError):
                await stranger.models.list()


async def test_secrets_stay_out_of_failures(outbound: HttpClient) -> None:
    async with replaying("openai") as replay:
        door = compatible(outbound, replay.base_url, "sk-very-secret")
        with pytest.raises(UpstreamFailed) as raised:
            await collect(door.stream(ModelCall("m", CALL.prompt, 8), within()))
        assert raised.value.status == 401
        assert "sk-" not in raised.value.detail
        assert "secret" not in repr(raised.value)
