"""Whatever a provider sends, only UpstreamFailed leaves a decoder, and memory is bounded."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.providers._spec import Decoder, Dialect, Framing, WireEvent
from isthmus.adapters.providers.dialects.anthropic import AnthropicDecoder, AnthropicDialect
from isthmus.adapters.providers.dialects.converse import ConverseDecoder, ConverseDialect
from isthmus.adapters.providers.dialects.openai import OpenAIDecoder, OpenAIDialect
from isthmus.adapters.providers.dialects.openai_embed import OpenAIEmbedDialect
from isthmus.adapters.providers.dialects.responses import ResponsesDecoder
from isthmus.adapters.providers.framing.eventstream import EventStreamParser
from isthmus.adapters.providers.framing.sse import SseParser
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import Delta

DECODERS: list[Callable[[], Decoder]] = [
    AnthropicDecoder,
    OpenAIDecoder,
    ResponsesDecoder,
    ConverseDecoder,
]
DIALECTS: list[Dialect] = [
    AnthropicDialect(),
    OpenAIDialect(own=True, completions=False),
    ConverseDialect({}),
]
_WORDS = (
    "type index delta content_block text_delta content_block_start content_block_delta "
    "tool_use content_block_stop message message_start message_delta message_stop usage error "
    "stop_reason input_json_delta partial_json id name choices tool_calls function arguments "
    "finish_reason content refusal text code response item output_index function_call call_id "
    "response.completed response.output_text.delta response.output_item.done response.failed "
    "response.incomplete incomplete_details reason toolUse toolUseId input start "
    "contentBlockIndex stopReason inputTokens outputTokens prompt_tokens input_tokens "
    "output_tokens data embedding object max_tokens"
)
WORDS = st.sampled_from(_WORDS.split())
NAMES = st.one_of(
    st.sampled_from(("contentBlockStart", "contentBlockDelta", "contentBlockStop")),
    st.sampled_from(("messageStop", "metadata", "exception:throttlingException", "exception:")),
    st.text(max_size=5),
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), WORDS, st.text(max_size=5)
)
JSON = st.recursive(
    st.dictionaries(WORDS, LEAVES, max_size=4),
    lambda inner: st.dictionaries(WORDS, inner | st.lists(inner, max_size=3) | LEAVES, max_size=5),
    max_leaves=12,
)
EVENTS = st.lists(
    st.builds(WireEvent, NAMES, JSON.map(msgspec.json.encode) | st.binary(max_size=20)), max_size=6
)


def read(decoder: Decoder, events: Iterable[WireEvent]) -> list[Delta]:
    """What is read until the decoder gives up."""
    deltas: list[Delta] = []
    with suppress(UpstreamFailed):
        for event in events:
            deltas += decoder.feed(event)
    return deltas


@pytest.mark.parametrize("make", DECODERS)
@given(events=EVENTS)
def test_arbitrary_events(make: Callable[[], Decoder], events: list[WireEvent]) -> None:
    for delta in read(make(), events):
        if delta.usage is not None:
            counts = delta.usage
            assert min(counts.input_tokens, counts.output_tokens, counts.cache_read_tokens) >= 0


@pytest.mark.parametrize("dialect", DIALECTS)
@given(body=JSON.map(msgspec.json.encode) | st.binary(max_size=40), status=st.integers(400, 599))
def test_arbitrary_error_bodies(dialect: Dialect, body: bytes, status: int) -> None:
    assert dialect.failure(status, (), body).status == status


@given(body=JSON.map(msgspec.json.encode) | st.binary(max_size=40))
def test_arbitrary_embeddings(body: bytes) -> None:
    with suppress(UpstreamFailed):
        OpenAIEmbedDialect().decode(body, 1)


@pytest.mark.parametrize("make", [SseParser, EventStreamParser])
@given(chunks=st.lists(st.binary(max_size=60), max_size=5))
def test_arbitrary_chunks(make: Callable[[], Framing], chunks: list[bytes]) -> None:
    framing = make()
    with suppress(UpstreamFailed):
        for chunk in chunks:
            list(framing.feed(chunk))


BLOB = "x" * 300_000
FLOODS: list[tuple[Callable[[], Decoder], Callable[[int], WireEvent]]] = [
    (AnthropicDecoder, lambda n: anthropic_tool(n, BLOB)),
    (OpenAIDecoder, lambda n: openai_tool(n, BLOB)),
    (ConverseDecoder, lambda n: converse_tool(n, BLOB)),
    (AnthropicDecoder, lambda n: anthropic_tool(n, "")),
    (OpenAIDecoder, lambda n: openai_tool(n, "")),
    (ConverseDecoder, lambda n: converse_tool(n, "")),
]


def event(body: object, name: str = "") -> WireEvent:
    return WireEvent(name, msgspec.json.encode(body))


def anthropic_tool(index: int, name: str) -> WireEvent:
    block = {"type": "tool_use", "id": "1", "name": name}
    return event({"type": "content_block_start", "index": index, "content_block": block})


def openai_tool(index: int, name: str) -> WireEvent:
    call = {"index": index, "id": str(index), "function": {"name": name}}
    return event({"choices": [{"delta": {"tool_calls": [call]}}]})


def converse_tool(index: int, name: str) -> WireEvent:
    start = {"toolUse": {"toolUseId": "1", "name": name}}
    return event({"contentBlockIndex": index, "start": start}, "contentBlockStart")


Fed_contra = TypeVar("Fed_contra", contravariant=True)


class Feeding(Protocol[Fed_contra]):
    def feed(self, event: Fed_contra, /) -> Iterable[object]: ...


def flood(reader: Feeding[Fed_contra], told: Iterable[Fed_contra]) -> None:
    """Must end in a failure, long before all is read."""

    def all_of_it() -> None:
        for one in told:
            list(reader.feed(one))

    with pytest.raises(UpstreamFailed):
        all_of_it()


@pytest.mark.parametrize(("make", "told"), FLOODS)
def test_tools_without_end_are_refused(
    make: Callable[[], Decoder], told: Callable[[int], WireEvent]
) -> None:
    flood(make(), (told(index) for index in range(1_000)))


def test_finished_tools_of_a_response_are_counted() -> None:
    item = {"type": "function_call", "call_id": "1", "name": "t", "arguments": "{}"}
    done = event({"type": "response.output_item.done", "item": item})
    flood(ResponsesDecoder(), [done] * 1_000)


@pytest.mark.parametrize("make", [SseParser, EventStreamParser])
def test_what_has_no_end_is_not_kept(make: Callable[[], Framing]) -> None:
    flood(make(), [b"\0\0\0\0data: " + b"x" * 100_000] * 100)
