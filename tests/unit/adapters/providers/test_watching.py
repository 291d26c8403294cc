"""What tells content, errors and ends of forwarded streams: every recording, cut everywhere."""

from collections.abc import Iterator

import pytest

from isthmus.adapters.providers._spec import Dialect, Ending, Watcher
from isthmus.adapters.providers.dialects.anthropic import AnthropicDialect
from isthmus.adapters.providers.dialects.converse import ConverseDialect
from isthmus.adapters.providers.dialects.openai import OpenAIDialect
from isthmus.adapters.providers.dialects.vertex import VertexDialect
from isthmus.core.messages import Seen
from tests.support.replay import Api, Wire, names, wire

EVENTS = "text/event-stream; charset=utf-8"
DIALECTS: dict[Api, Dialect] = {
    "anthropic": AnthropicDialect(),
    "openai": OpenAIDialect(own=True, completions=True),
    "vertex": VertexDialect("/v1"),
}
CASES = [
    pytest.param(case, id=f"{api}-{name}")
    for api in DIALECTS
    for name in names(api)
    if (case := wire(api, name)).events
]


def _opened(case: Wire) -> tuple[Watcher, Ending]:
    seen, ending = DIALECTS[case.api].watch(EVENTS)
    assert ending is not None
    return seen, ending


def _cuts(body: bytes) -> Iterator[list[bytes]]:
    """The body in two at every byte, and in pieces of one byte."""
    yield [body[at : at + 1] for at in range(len(body))]
    step = max(1, len(body) // 400)
    for at in range(0, len(body), step):
        yield [body[:at], body[at:]]


@pytest.mark.parametrize("case", CASES)
def test_a_stream_is_whole_when_the_vendor_said_so(case: Wire) -> None:
    whole = "error" not in case.notes or "in_stream" in case.name or "failed" in case.name
    readable = case.name not in {"garbage", "truncated"}
    for chunks in _cuts(case.body):
        seen, ending = _opened(case)
        told = [(ending(chunk), seen(chunk)) for chunk in chunks]
        if whole and readable:
            assert told[-1][0]
        if case.name == "truncated":
            assert not told[-1][0]


@pytest.mark.parametrize("case", CASES)
def test_what_is_seen_never_goes_back_and_does_not_hang_on_the_cut(case: Wire) -> None:
    order = {"": 0, "content": 1, "error": 2}
    ends: set[Seen] = set()
    for chunks in _cuts(case.body):
        seen, ending = _opened(case)
        told = [order[(ending(chunk), seen(chunk))[1]] for chunk in chunks]
        assert told == sorted(told)
        ends.add(seen(b""))
    assert len(ends) == 1
    assert "" not in ends


BEFORE_CONTENT = [
    (
        "anthropic",
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"m"}}\n\n'
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"text","text":""}}\n\nevent: ping\ndata: {"type":"ping"}\n\n',
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"x"}}\n\n',
    ),
    (
        "openai",
        b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
        b'"finish_reason":null}]}\n\n',
        b'data: {"error":{"type":"server_error","message":"Sorry"}}\n\n',
        b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n',
    ),
    (
        "openai",
        b'event: response.created\ndata: {"type":"response.created","response":{"error":null}}\n\n'
        b'event: response.output_item.added\ndata: {"type":"response.output_item.added"}\n\n',
        b'event: response.failed\ndata: {"type":"response.failed","response":'
        b'{"error":{"code":"server_error"}}}\n\n',
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
        b'"delta":"x"}\n\n',
    ),
    (
        "vertex",
        b": hello\n\n",
        b'data: {"error": {"code": 503, "status": "UNAVAILABLE"}}\n\n',
        b'data: {"candidates": [{"content": {"parts": [{"text": "x"}]}}]}\n\n',
    ),
    (
        "vertex",
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"m"}}\n\n',
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0}\n\n',
    ),
]


@pytest.mark.parametrize(("api", "start", "error", "content"), BEFORE_CONTENT)
def test_content_and_errors_are_told_apart_by_what_comes_first(
    api: Api, start: bytes, error: bytes, content: bytes
) -> None:
    for size in (1, 7, 10_000):
        assert _played(api, size, start) == ""
        assert _played(api, size, start, error) == "error"
        assert _played(api, size, start, content) == "content"
        assert _played(api, size, start, content, error) == "error"
        assert _played(api, size, start, b"data: <html>garbage</html>\n\n") == "error"


def _played(api: Api, size: int, *parts: bytes) -> Seen:
    seen, ending = DIALECTS[api].watch(EVENTS)
    assert ending is not None
    body = b"".join(parts)
    for at in range(0, len(body), size):
        ending(body[at : at + size])
        seen(body[at : at + size])
    return seen(b"")


def test_a_text_that_quotes_an_end_is_none() -> None:
    quoted = (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
        b'{"type":"text_delta","text":"\\nevent: message_stop\\ndata: [DONE]'
        b'\\n\\"finishReason\\""}}'
        b"\n\n"
    )
    for dialect in DIALECTS.values():
        seen, ending = dialect.watch(EVENTS)
        assert ending is not None
        assert not ending(quoted)
        assert seen(quoted) == "content" if isinstance(dialect, AnthropicDialect) else True


def test_an_event_too_large_to_be_judged_is_content() -> None:
    seen, _ = AnthropicDialect().watch(EVENTS)
    assert seen(b"data: " + b"x" * 2_000_000) == "content"


def test_what_is_no_stream_is_content_from_its_first_byte() -> None:
    for dialect in (*DIALECTS.values(), ConverseDialect({})):
        seen, ending = dialect.watch("application/json")
        assert ending is None
        assert seen(b"") == ""
        assert seen(b"{") == "content"
