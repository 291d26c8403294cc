"""Each dialect against recorded bytes: exact requests, and answers cut at every byte border."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol, cast

import msgspec
import pytest
from pydantic import SecretStr

import isthmus.core.errors as failures
from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.providers import (
    anthropic,
    azure,
    bedrock,
    fireworks,
    mistral,
    openai,
    vertex,
)
from isthmus.adapters.providers._http import HttpProvider, Tries
from isthmus.adapters.providers._spec import Dialect, Framing, ProviderSpec
from isthmus.adapters.providers.dialects.anthropic import AnthropicDialect
from isthmus.adapters.providers.dialects.converse import ConverseDialect
from isthmus.adapters.providers.dialects.openai import Manners, OpenAIDialect
from isthmus.adapters.providers.dialects.vertex import VertexDialect
from isthmus.adapters.providers.framing.eventstream import EventStreamParser
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.adapters.providers.signing.api_key import ApiKey
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import (
    Answer,
    Chat,
    Delta,
    Infill,
    Message,
    ModelCall,
    Part,
    RawCall,
    Role,
    Text,
    ToolResult,
    ToolSpec,
    ToolUse,
    Tuning,
    Usage,
    collect,
)
from isthmus.core.ports import Clock, ModelProvider, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings
from tests.contract.outbound.rawserver import RealClock, within
from tests.support import google
from tests.support.replay import KEY, Api, Replay, Wire, names, replaying, wire
from tests.support.vendors import ACCESS_KEY

CUT = frozenset({"truncated"})
"""Recorded without the vendor's end: forwarded as they came, and then broken off."""
BEARER = {"authorization": f"Bearer {KEY}"}


class Module(Protocol):
    """A module of a provider."""

    def build(
        self,
        settings: ProvidersSettings,
        outbound: Outbound,
        clock: Clock,
        limits: OutboundSettings,
    ) -> ModelProvider: ...


@dataclass(frozen=True)
class Subject:
    """How one API's wires are read and asked for; `sent` are headers of every request."""

    dialect: Callable[[Wire], Dialect]
    module: Module
    path: str
    sent: Mapping[str, str]
    marker: bytes = b"data: [DONE]"
    framing: Callable[[], Framing] = SseParser


def _openai(case: Wire) -> Dialect:
    return OpenAIDialect(
        own=bool(case.notes.get("own", True)), completions=bool(case.notes.get("completions"))
    )


def _mannered(manners: Manners, *, completions: bool = True) -> Callable[[Wire], Dialect]:
    return lambda _: OpenAIDialect(own=False, completions=completions, manners=manners)


CHAT = "/v1/chat/completions"
SUBJECTS: dict[Api, Subject] = {
    "anthropic": Subject(
        lambda _: AnthropicDialect(),
        anthropic,
        "/v1/messages",
        {"anthropic-version": "2023-06-01", "x-api-key": KEY},
        b"event: message_stop",
    ),
    "openai": Subject(_openai, openai, CHAT, BEARER),
    "azure": Subject(
        _mannered(azure.manners("2024-10-21"), completions=False), azure, "", {"api-key": KEY}
    ),
    "bedrock": Subject(
        lambda _: ConverseDialect({}),
        bedrock,
        "/model/global.anthropic.claude-sonnet-4-6-v1%3A0/converse-stream",
        {"accept": "application/vnd.amazon.eventstream"},
        framing=EventStreamParser,
    ),
    "vertex": Subject(
        lambda _: VertexDialect(google.ROOT), vertex, google.USUAL, BEARER, b"data: "
    ),
    "mistral": Subject(_mannered(mistral.MANNERS), mistral, CHAT, BEARER),
    "fireworks": Subject(_mannered(fireworks.MANNERS), fireworks, CHAT, BEARER),
}
APIS = tuple(SUBJECTS)
ROUTED = {"vertex": google.USUAL.replace(google.ROOT, google.THEIRS)}
"""Paths that callers write otherwise than they go out."""
ALL = [pytest.param(wire(api, name), id=f"{api}-{name}") for api in APIS for name in names(api)]
TOLD = [case for case in ALL if {"answer", "error"} & cast("Wire", case.values[0]).notes.keys()]
STREAMED = [case for case in TOLD if cast("Wire", case.values[0]).events]
FORWARDED = [case for case in ALL if cast("Wire", case.values[0]).api in {"anthropic", "openai"}]
METERED = [
    case
    for case in FORWARDED
    if {"usage"} & cast("Wire", case.values[0]).notes.keys()
    or cast("Wire", case.values[0]).name in {"text", "tool_use", "tool_calls"}
]
Notes = Mapping[str, object]


def call_of(case: Wire) -> ModelCall:
    told = cast("dict[str, object]", case.notes["call"])
    prompt = infill_of(told) if "infill" in told else chat_of(told)
    return ModelCall(
        model=str(told["model"]),
        prompt=prompt,
        max_tokens=cast("int", told["max_tokens"]),
        temperature=cast("float | None", told.get("temperature")),
        stop=tuple(cast("list[str]", told.get("stop", []))),
        tuning=msgspec.convert(told.get("tuning", {}), Tuning),
    )


def infill_of(told: Notes) -> Infill:
    return Infill(**cast("dict[str, str]", told["infill"]))  # pyright: ignore[reportArgumentType] - no context in these


def chat_of(told: Notes) -> Chat:
    said = msgspec.convert(told["messages"], tuple[_Said, ...])
    return Chat(
        tuple(Message(one.role, tuple(part.part() for part in one.parts)) for one in said),
        msgspec.convert(told.get("tools", ()), tuple[ToolSpec, ...]),
    )


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    text: str | None = None
    tool_use: ToolUse | None = None
    tool_result: ToolResult | None = None

    def part(self) -> Part:
        return self.tool_use or self.tool_result or Text(self.text or "")


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    role: Role
    parts: tuple[_Part, ...]


def answer_of(case: Wire) -> Answer:
    told = {"tool_uses": (), **cast("dict[str, object]", case.notes["answer"])}
    return msgspec.convert(told, Answer)


def dialect_of(case: Wire) -> Dialect:
    return SUBJECTS[case.api].dialect(case)


def decoded(case: Wire, chunks: Iterable[bytes]) -> Iterator[Delta]:
    """What framing and dialect make of these chunks; raises as the provider would."""
    framing = SUBJECTS[case.api].framing()
    decoder = dialect_of(case).encode(call_of(case)).decoder
    for chunk in chunks:
        for event in framing.feed(chunk):
            yield from decoder.feed(event)
            if decoder.ended:
                return
    raise UpstreamFailed("no end marker")


async def gathered(deltas: Iterable[Delta]) -> Answer:
    async def each() -> AsyncIterator[Delta]:
        for delta in deltas:
            yield delta

    return await collect(each())


def check_failure(case: Wire, failure: UpstreamFailed) -> None:
    told = cast("dict[str, object]", case.notes["error"])
    assert type(failure) is getattr(failures, str(told["kind"]))
    for name, value in told.items():
        if name != "kind":
            assert getattr(failure, name) == value, name


async def check(case: Wire, deltas: AsyncIterator[Delta]) -> None:
    if "error" in case.notes:
        with pytest.raises(UpstreamFailed) as raised:
            await collect(deltas)
        check_failure(case, raised.value)
    else:
        assert await collect(deltas) == answer_of(case)


async def streamed(chunks: Iterable[bytes], case: Wire) -> AsyncIterator[Delta]:
    for delta in decoded(case, chunks):
        yield delta


@pytest.mark.parametrize("case", STREAMED)
async def test_an_answer_cut_at_every_border(case: Wire) -> None:
    for border in range(len(case.body) + 1):
        await check(case, streamed((case.body[:border], case.body[border:]), case))
    crumbs = (case.body[index : index + 1] for index in range(len(case.body)))
    await check(case, streamed(crumbs, case))


@pytest.mark.parametrize("case", STREAMED)
async def test_an_answer_that_stops_anywhere_before_its_end_is_a_failure(case: Wire) -> None:
    told = cast("str | None", case.notes.get("marker"))
    end = case.body.rfind(told.encode() if told else SUBJECTS[case.api].marker)
    for border in range(0, end if end >= 0 else len(case.body), 7):
        with pytest.raises(UpstreamFailed):
            await gathered(decoded(case, (case.body[:border],)))


@pytest.mark.parametrize("case", METERED)
def test_usage_is_metered_at_every_border(case: Wire) -> None:
    answer = cast("dict[str, object]", case.notes.get("answer", {}))
    expected = msgspec.convert(case.notes.get("usage") or answer["usage"], Usage)
    kind = "text/event-stream; charset=utf-8" if case.events else "application/json"
    for border in range(len(case.body) + 1):
        meter = dialect_of(case).meter(kind)
        meter(case.body[:border])
        assert meter(case.body[border:]) == expected
    meter = dialect_of(case).meter(kind)
    told = [meter(case.body[index : index + 1]) for index in range(len(case.body))]
    assert told[-1] == expected


def provider_of(case: Wire, replay: Replay, outbound: Outbound) -> ModelProvider:
    limits = OutboundSettings(retries=0)
    if case.notes.get("path") == "/v1/responses":
        # Its own API is known by its address, which a test cannot have.
        signer = ApiKey(SecretStr(KEY), "authorization", "Bearer ")
        paths, headers = frozenset({"/v1/responses"}), frozenset({"content-type"})
        spec = ProviderSpec(
            "openai",
            replay.base_url,
            dialect_of(case),
            SseParser,
            signer,
            paths,
            headers,
            forward_cut="/v1",
        )
        return HttpProvider(spec, outbound, RealClock(), Tries(0))
    if case.api == "vertex":
        own = {
            "project": google.PROJECT,
            "location": google.LOCATION,
            "endpoint": replay.base_url,
            "credentials": google.service_account(replay.token_url),
        }
        chosen = ProvidersSettings.model_validate({"vertex": own})
        return vertex.build(chosen, outbound, RealClock(), limits)
    key = {"api_key": KEY}
    if case.api == "bedrock":
        key = {"access_key_id": ACCESS_KEY, "secret_access_key": KEY}
    settings = ProvidersSettings.model_validate({case.api: {**key, "base_url": replay.base_url}})
    return SUBJECTS[case.api].module.build(settings, outbound, RealClock(), limits)


@pytest.mark.parametrize("case", TOLD)
async def test_a_whole_exchange_on_a_socket(case: Wire) -> None:
    async with (
        replaying(case.api) as replay,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        replay.play(case.name)
        provider = provider_of(case, replay, outbound)
        await check(case, provider.stream(call_of(case), within()))
        asked = replay.requests[0]
        assert len(replay.requests) == 1
        usual = SUBJECTS[case.api].path.replace("gemini-2.5-flash", call_of(case).model)
        assert asked.path == case.notes.get("path", usual)
        for text in cast("list[str]", case.notes.get("request_holds", [])):
            assert text in asked.body.decode()
        assert SUBJECTS[case.api].sent.items() <= asked.headers.items()


@pytest.mark.parametrize(
    "case", [case for case in TOLD if cast("Wire", case.values[0]).request is not None]
)
def test_a_request_is_exactly_what_was_recorded(case: Wire) -> None:
    encoded = dialect_of(case).encode(call_of(case))
    assert msgspec.json.decode(encoded.body) == case.request


@pytest.mark.parametrize("case", FORWARDED)
async def test_forwarding_changes_no_byte(case: Wire) -> None:
    body = b'{ "model" : "m",  "stream":true , "messages":[] }'
    raw = RawCall(
        path=str(case.notes.get("forward", ROUTED.get(case.api, SUBJECTS[case.api].path))),
        headers=(
            ("content-type", "application/json"),
            ("anthropic-version", "2023-06-01"),
            ("authorization", "Bearer of-the-caller"),
            ("cookie", "a=b"),
            ("x-gitlab-realm", "saas"),
        ),
        body=body,
        model="m",
        streaming=True,
    )
    async with (
        replaying(case.api) as replay,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        replay.play(case.name)
        provider = provider_of(case, replay, outbound)
        got = b""
        async with provider.forward(raw, within()) as reply:
            assert reply.status == case.status
            with pytest.raises(UpstreamFailed) if case.name in CUT else nullcontext():
                async for chunk in reply.chunks:
                    got += chunk
        assert got == case.body
        sent = {name for name, _ in reply.headers}
        assert sent == {"content-type", "request-id"} | {name for name, _ in case.headers} - {
            "retry-after-ms"
        }
        asked = replay.requests[0]
        assert asked.body == body
        expected = {"host", "content-length", "content-type", "accept-encoding"}
        expected |= (
            {"x-api-key", "anthropic-version"} if case.api == "anthropic" else {"authorization"}
        )
        assert set(asked.headers) == expected
        assert "of-the-caller" not in "".join(asked.headers.values())
        assert asked.headers["accept-encoding"] == "identity"


async def replayed_until_closed(replay: Replay) -> None:
    while not replay.left:  # noqa: ASYNC110 - the other side is a socket, not an event
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("api", APIS)
async def test_closing_a_stream_closes_the_upstream_within_a_quarter_second(api: Api) -> None:
    case = wire(api, "text")
    async with (
        replaying(api) as replay,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        replay.pause_s = 0.05
        deltas = provider_of(case, replay, outbound).stream(call_of(case), within())
        while not (first := await anext(deltas)).text:
            assert first.usage is not None
        assert first.text == "Hello, "
        await deltas.aclose()  # pyright: ignore[reportAttributeAccessIssue] - the port says iterator
        await asyncio.wait_for(replayed_until_closed(replay), 0.25)


@pytest.mark.parametrize("api", APIS)
async def test_a_stream_that_ended_well_keeps_its_connection(api: Api) -> None:
    case = wire(api, "text")
    async with (
        replaying(api) as replay,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        # The body's end comes a moment after the end marker, as it does on real networks.
        replay.pause_s = 0.01
        provider = provider_of(case, replay, outbound)
        for _ in range(3):
            await collect(provider.stream(call_of(case), within()))
        assert replay.left == 0
        assert len(replay.requests) == 3
