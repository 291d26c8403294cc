"""Whatever Vertex AI sends: a failure of ours at most, in bounded memory."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.providers._spec import WireEvent
from isthmus.adapters.providers.dialects import gemini
from isthmus.adapters.providers.dialects.gemini import GeminiDecoder, failure_of
from isthmus.adapters.providers.dialects.vertex import VertexDialect
from isthmus.adapters.providers.dialects.vertex_embed import VertexEmbedDialect
from isthmus.core.errors import UpstreamFailed
from tests.support import google

NAMES = (
    *("candidates", "content", "parts", "text", "functionCall", "name", "args", "finishReason"),
    *("usageMetadata", "promptTokenCount", "promptFeedback", "blockReason", "error", "code"),
    *("message", "status", "details", "retryDelay", "predictions", "embeddings", "values", "index"),
    *("statistics", "token_count", "thought", "responseId"),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["STOP", "SAFETY", "MALFORMED_FUNCTION_CALL", "1e9s", "5s", "OTHER"]),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
BODIES = st.one_of(st.binary(max_size=64), JSON.map(msgspec.json.encode))
WORST = (
    b"[" * 100_000,
    b'{"candidates":' + b'[{"content":' * 50_000,
    b'{"predictions":[{"embeddings":{"values":[1],"statistics":{"token_count":1e400}}}]}',
    b'{"predictions":[{"embeddings":{"values":[1],"statistics":{"token_count":1e308}}}]}',
    b'{"error":{"code":99999999999999999999,"details":[{"retryDelay":"9e9s"}]}}',
    b'{"usageMetadata":{"promptTokenCount":-5}}',
    b'{"candidates":[{"content":{"parts":[{"functionCall":{"args":"\xff"}}]}}]}',
)


def check(body: bytes) -> None:
    with suppress(UpstreamFailed):
        list(GeminiDecoder().feed(WireEvent("", body)))
    with suppress(UpstreamFailed):
        VertexEmbedDialect(str).decode(body, 1)
    assert failure_of(503, (), body).status == 503
    for kind, sent in (
        ("application/json", body),
        ("text/event-stream", b"data: " + body + b"\n"),
    ):
        usage = VertexDialect(google.ROOT).meter(kind)(sent)
        assert usage is None or usage.input_tokens >= 0


@given(BODIES)
def test_no_other_exception_leaves(body: bytes) -> None:
    check(body)


@pytest.mark.parametrize("body", WORST, ids=range(len(WORST)))
def test_not_for_the_worst_either(body: bytes) -> None:
    check(body)


def test_tools_are_counted() -> None:
    call = {"functionCall": {"name": "t"}}
    chunk = {"candidates": [{"content": {"parts": [call] * (gemini.TOOLS_LIMIT + 1)}}]}
    with pytest.raises(UpstreamFailed):
        list(GeminiDecoder().feed(WireEvent("", msgspec.json.encode(chunk))))


def test_calls_of_different_answers_have_different_names() -> None:
    def name_in(answer: str) -> str:
        part = {"functionCall": {"name": "t", "args": None}}
        chunk = {"responseId": answer, "candidates": [{"content": {"parts": [part]}}]}
        [delta] = GeminiDecoder().feed(WireEvent("", msgspec.json.encode(chunk)))
        assert delta.tool_use is not None
        assert delta.tool_use.arguments == "{}"
        return delta.tool_use.id

    assert name_in("a") != name_in("b")
    assert len(name_in("x" * 1000)) <= 40
