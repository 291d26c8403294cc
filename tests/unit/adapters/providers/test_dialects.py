"""Corners of the dialects that no recorded wire shows."""

from collections.abc import Iterable

import msgspec
import pytest

from isthmus.adapters.providers._spec import Decoder, WireEvent
from isthmus.adapters.providers.dialects import anthropic, openai
from isthmus.adapters.providers.dialects.anthropic import AnthropicDecoder, AnthropicDialect
from isthmus.adapters.providers.dialects.failure import failed
from isthmus.adapters.providers.dialects.openai import OpenAIDecoder, OpenAIDialect
from isthmus.adapters.providers.dialects.openai_embed import OpenAIEmbedDialect
from isthmus.core.errors import UpstreamFailed, UpstreamLimited
from isthmus.core.messages import (
    Chat,
    ContextItem,
    Delta,
    Infill,
    Message,
    ModelCall,
    Text,
    ToolResult,
    ToolUse,
)


def deltas(decoder: Decoder, events: Iterable[object]) -> list[Delta]:
    return [
        delta
        for event in events
        for delta in decoder.feed(WireEvent("", msgspec.json.encode(event)))
    ]


def sent(dialect: AnthropicDialect | OpenAIDialect, call: ModelCall) -> dict[str, object]:
    return msgspec.json.decode(dialect.encode(call).body, type=dict[str, object])


@pytest.mark.parametrize("data", [b"nonsense", b"[1]", b'{"index":"x"}', b"[" * 100_000, b"\xff"])
@pytest.mark.parametrize("make", [AnthropicDecoder, OpenAIDecoder])
def test_an_event_that_cannot_be_read_is_a_failure(
    make: type[AnthropicDecoder | OpenAIDecoder], data: bytes
) -> None:
    event = data.replace(b"index", b"choices") if make is OpenAIDecoder else data
    with pytest.raises(UpstreamFailed):
        list(make().feed(WireEvent("", event)))


def test_arguments_that_are_no_object_stay_in_anthropics_history() -> None:
    for arguments in ("not json", "[1]", ""):
        message = Message("assistant", (ToolUse("1", "t", arguments),))
        call = ModelCall("m", Chat((message,)), 5)
        (wire,) = msgspec.convert(
            sent(AnthropicDialect(), call)["messages"], list[dict[str, object]]
        )
        assert wire["content"] == [
            {"type": "tool_use", "id": "1", "name": "t", "input": {"text": arguments}}
        ]


def test_blank_texts_are_left_out_for_anthropic() -> None:
    chat = Chat(
        (
            Message("system", (Text(" "),)),
            Message("user", (Text(""), ToolResult("1", ""))),
            Message("assistant", (Text(" \n"),)),
        )
    )
    body = sent(AnthropicDialect(), ModelCall("m", chat, 5))
    assert "system" not in body
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1"}]}
    ]


def test_a_tool_use_left_open_is_a_failure() -> None:
    block = {"type": "tool_use", "id": "1", "name": "t"}
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    with pytest.raises(UpstreamFailed):
        deltas(AnthropicDecoder(), [start, {"type": "message_stop"}])
    call = {"index": 0, "id": "1", "function": {"name": "t", "arguments": "{"}}
    decoder = OpenAIDecoder()
    deltas(decoder, [{"choices": [{"delta": {"tool_calls": [call]}}]}])
    with pytest.raises(UpstreamFailed):
        list(decoder.feed(WireEvent("", b"[DONE]")))


def test_tool_arguments_are_bounded() -> None:
    piece = "x" * 1_000_000
    block = {"type": "tool_use", "id": "1", "name": "t"}
    step = {"type": "input_json_delta", "partial_json": piece}
    events: list[object] = [{"type": "content_block_start", "index": 0, "content_block": block}]
    events += [{"type": "content_block_delta", "index": 0, "delta": step}] * 5
    assert anthropic.ARGUMENTS_LIMIT < 5_000_000
    with pytest.raises(UpstreamFailed):
        deltas(AnthropicDecoder(), events)
    call = {"index": 0, "function": {"arguments": piece}}
    assert openai.ARGUMENTS_LIMIT < 5_000_000
    with pytest.raises(UpstreamFailed):
        deltas(OpenAIDecoder(), [{"choices": [{"delta": {"tool_calls": [call]}}]}] * 5)


def test_openai_tools_are_counted() -> None:
    calls = [{"index": index, "id": str(index)} for index in range(openai.TOOLS_LIMIT + 1)]
    with pytest.raises(UpstreamFailed):
        deltas(OpenAIDecoder(), [{"choices": [{"delta": {"tool_calls": calls}}]}])


def test_openais_reasoning_models_get_no_sampling_parameters() -> None:
    call = ModelCall("gpt-5.2", Chat((Message("user", (Text("Hi"),)),)), 5, 0.5, ("a",))
    own = sent(OpenAIDialect(own=True, completions=False), call)
    assert not {"temperature", "stop", "max_tokens"} & own.keys()
    assert own["max_completion_tokens"] == 5
    other = sent(OpenAIDialect(own=False, completions=False), call)
    assert (other["temperature"], other["stop"], other["max_tokens"]) == (0.5, ["a"], 5)


def test_openai_takes_four_stops() -> None:
    call = ModelCall("x", Chat((Message("user", (Text("Hi"),)),)), 5, stop=tuple("abcdef"))
    assert sent(OpenAIDialect(own=False, completions=False), call)["stop"] == list("abcd")


def test_an_infill_without_completions_becomes_a_conversation() -> None:
    infill = Infill("a = ", "\n", "x.py", "python", (ContextItem("file", "y.py", "b = 2"),))
    encoded = OpenAIDialect(own=True, completions=False).encode(ModelCall("m", infill, 5))
    assert encoded.path == "/chat/completions"
    assert b'<file name=\\"y.py\\">' in encoded.body
    assert b"a = <cursor/>" in encoded.body


def test_only_the_first_choice_is_read() -> None:
    choices = [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}}]
    assert [delta.text for delta in deltas(OpenAIDecoder(), [{"choices": choices}])] == ["yes"]


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"code": 503, "message": "x"}, UpstreamFailed, 503),
        ({"code": "rate_limit_exceeded"}, UpstreamLimited, 429),
        ({"type": "unheard_of"}, UpstreamFailed, 500),
        ("plain words", UpstreamFailed, 500),
        ({"code": 7}, UpstreamFailed, 500),
    ],
)
def test_errors_inside_an_openai_stream(
    error: object, kind: type[UpstreamFailed], status: int
) -> None:
    with pytest.raises(UpstreamFailed) as raised:
        deltas(OpenAIDecoder(), [{"error": error}])
    assert type(raised.value) is kind
    assert raised.value.status == status


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_how_long_to_wait(value: str, seconds: float | None) -> None:
    assert failed(429, "", headers=(("retry-after", value),)).retry_after_s == seconds


def test_a_label_that_is_a_sentence_is_not_repeated() -> None:
    assert failed(400, "your key sk-abc is wrong").detail == (
        "The model provider answered with an error (400)."
    )


def test_an_error_body_in_other_words_still_has_its_status() -> None:
    for dialect in (AnthropicDialect(), OpenAIDialect(own=True, completions=False)):
        for body in (b"<html>", b"", b"[" * 100_000, b"\xff", b'{"error":[]}'):
            assert dialect.failure(502, (), body).status == 502


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"data":[]}',
        b'{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}',
        b'{"data":[{"index":5,"embedding":[1]},{"index":1,"embedding":[1]}]}',
        b"\xff",
    ],
)
def test_vectors_that_do_not_match_the_texts(body: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        OpenAIEmbedDialect().decode(body, 2)
