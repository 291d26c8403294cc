"""What the dialects make of tuning, and corners that no recorded wire shows."""

from collections.abc import Mapping

import msgspec
import pytest

from isthmus.adapters.providers import azure, fireworks, mistral
from isthmus.adapters.providers._spec import Decoder, Dialect, WireEvent
from isthmus.adapters.providers.dialects.anthropic import AnthropicDialect
from isthmus.adapters.providers.dialects.converse import ConverseDecoder, ConverseDialect
from isthmus.adapters.providers.dialects.openai import OpenAIDialect
from isthmus.adapters.providers.dialects.openai_embed import OpenAIEmbedDialect
from isthmus.adapters.providers.dialects.responses import ResponsesDecoder
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import (
    PLAIN,
    Chat,
    ContextItem,
    Delta,
    EmbedCall,
    Infill,
    Message,
    ModelCall,
    Text,
    ToolResult,
    ToolSpec,
    ToolUse,
    Tuning,
)

USER = Message("user", (Text("Hi"),))
SAID = Message("assistant", (Text("Yes"),))
TOOL = ToolSpec("t", " ", {"type": "object"})
SERVERS = OpenAIDialect(own=False, completions=True)
OPENAI = OpenAIDialect(own=True, completions=False)


def sent(dialect: Dialect, call: ModelCall) -> dict[str, object]:
    return msgspec.json.decode(dialect.encode(call).body, type=dict[str, object])


def said(*messages: Message, tuning: Tuning = PLAIN, temperature: float | None = None) -> ModelCall:
    return ModelCall("m", Chat(messages or (USER,)), 5, temperature, tuning=tuning)


@pytest.mark.parametrize(
    ("tuning", "temperature", "expected"),
    [
        (Tuning(), None, {}),
        (Tuning(top_p=0.5, top_k=3), None, {"top_p": 0.5, "top_k": 3}),
        (Tuning(top_p=0.5), 0.0, {"temperature": 0.0}),
    ],
)
def test_sampling_of_anthropic(
    tuning: Tuning, temperature: float | None, expected: Mapping[str, object]
) -> None:
    body = sent(AnthropicDialect(), said(tuning=tuning, temperature=temperature))
    assert {key: body[key] for key in ("temperature", "top_p", "top_k") if key in body} == expected


def test_anthropic_caches_what_comes_before_a_long_conversation() -> None:
    system = Message("system", (Text("Static."), Text("Dynamic.")))
    marked = {"cache_control": {"type": "ephemeral"}}
    short = Chat((system, USER, SAID), (TOOL, TOOL))
    body = sent(AnthropicDialect(), ModelCall("m", short, 5))
    assert "cache_control" not in str(body)
    body = sent(AnthropicDialect(), ModelCall("m", Chat((*short.messages, USER), short.tools), 5))
    tools = msgspec.convert(body["tools"], list[dict[str, object]])
    assert [marked.items() <= tool.items() for tool in tools] == [False, True]
    assert body["system"] == [
        {"type": "text", "text": "Static."},
        {"type": "text", "text": "Dynamic."} | marked,
    ]


def test_openai_sends_what_it_understands() -> None:
    tuning = Tuning(top_p=0.5, top_k=3)
    assert sent(OPENAI, said(tuning=tuning))["top_p"] == 0.5
    assert "top_k" not in sent(OPENAI, said(tuning=tuning))
    assert sent(SERVERS, said(tuning=tuning))["top_k"] == 3


@pytest.mark.parametrize(
    ("tuning", "path"),
    [
        (Tuning(top_p=0.5, thinking_level="high"), "/chat/completions"),
        (Tuning(effort="low"), "/responses"),
        (Tuning(effort=5), "/responses"),
        (Tuning(summary="auto"), "/responses"),
        (Tuning(verbosity="low"), "/responses"),
    ],
)
def test_which_endpoint_of_openai(tuning: Tuning, path: str) -> None:
    assert OPENAI.encode(said(tuning=tuning)).path == path
    assert SERVERS.encode(said(tuning=tuning)).path == "/chat/completions"
    infill = ModelCall("m", Infill("a", "b"), 5, tuning=tuning)
    assert OPENAI.encode(infill).path == path


def test_responses_may_vary_unless_the_model_reasons() -> None:
    call = said(tuning=Tuning(verbosity="low", top_p=0.5), temperature=0.1)
    body = sent(OPENAI, call)
    assert (body["temperature"], body["top_p"], body["text"]) == (0.1, 0.5, {"verbosity": "low"})
    assert "reasoning" not in body


@pytest.mark.parametrize("model", ["my gpt", "a/b?c=d", "ü"])
def test_a_deployment_is_one_segment_of_the_path(model: str) -> None:
    path = azure.manners("2024-10-21").path("/embeddings", model)
    assert path.count("/") == 4
    assert path.count("?") == 1
    assert path.isascii()


def test_call_ids_of_mistral() -> None:
    assert mistral.call_id("D681PevKs") == "D681PevKs"
    changed = mistral.call_id("toolu_01ABC")
    assert len(changed) == 9
    assert changed.isalnum()
    assert changed == mistral.call_id("toolu_01ABC") != mistral.call_id("toolu_02ABC")


def test_model_names_of_fireworks() -> None:
    assert fireworks.named("kimi-k3") == "accounts/fireworks/models/kimi-k3"
    assert fireworks.named("accounts/x/deployments/y") == "accounts/x/deployments/y"


def test_a_template_is_filled_once() -> None:
    infill = Infill("{suffix}", "{prefix}", context=(ContextItem("file", "b", "b = 1"),))
    tuning = Tuning(fim_format="<{prefix}|{suffix}|{other}>")
    body = sent(SERVERS, ModelCall("m", infill, 5, tuning=tuning))
    assert body["prompt"] == "<b = 1\n{suffix}|{prefix}|{other}>"


@pytest.mark.parametrize(
    ("model", "drop", "sent_"),
    [
        ("text-embedding-3-small", True, True),
        ("text-embedding-ada-002", True, False),
        ("text-embedding-ada-002", False, True),
    ],
)
def test_dimensions_that_a_model_may_not_have(model: str, *, drop: bool, sent_: bool) -> None:
    _, body = OpenAIEmbedDialect().encode(EmbedCall(model, ("a",), 8, drop))
    assert (b"dimensions" in body) is sent_


def test_turns_alternate_for_bedrock() -> None:
    use, result = ToolUse("1", "t", "no object"), ToolResult("1", " ")
    chat = said(
        Message("system", (Text("A"), Text(" "))),
        USER,
        USER,
        Message("assistant", (use,)),
        Message("assistant", (Text("\n"),)),
        Message("user", (Text("Go on."),)),
        Message("user", (result,)),
    )
    body = sent(ConverseDialect({}), chat)
    assert body["system"] == [{"text": "A"}]
    assert body["messages"] == [
        {"role": "user", "content": [{"text": "Hi"}, {"text": "Hi"}]},
        {
            "role": "assistant",
            "content": [
                {"toolUse": {"toolUseId": "1", "name": "t", "input": {"text": "no object"}}}
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "1", "content": [{"text": "(no output)"}]}},
                {"text": "Go on."},
            ],
        },
    ]
    assert body["toolConfig"] == {
        "tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}]
    }


def test_a_tool_without_words_has_no_description_on_bedrock() -> None:
    body = sent(ConverseDialect({}), ModelCall("m", Chat((USER,), (TOOL,)), 5))
    assert "description" not in str(body)


def test_an_infill_is_a_conversation_on_bedrock() -> None:
    encoded = ConverseDialect({}).encode(ModelCall("arn:aws:x/y", Infill("a = ", "\n"), 5))
    assert encoded.path == "/model/arn%3Aaws%3Ax%2Fy/converse-stream"
    assert b"<cursor/>" in encoded.body


def test_a_tool_of_bedrock_that_is_left_open() -> None:
    decoder = ConverseDecoder()
    start = b'{"start":{"toolUse":{"toolUseId":"1","name":"t"}}}'
    list(decoder.feed(WireEvent("contentBlockStart", start)))
    with pytest.raises(UpstreamFailed):
        list(decoder.feed(WireEvent("metadata", b"{}")))


@pytest.mark.parametrize(
    ("name", "status", "retryable"),
    [
        ("modelTimeoutException", 408, True),
        ("internalServerException", 500, True),
        ("validationException", 400, False),
        ("of a later version", 500, True),
    ],
)
def test_exceptions_in_a_stream_of_bedrock(name: str, status: int, *, retryable: bool) -> None:
    with pytest.raises(UpstreamFailed) as raised:
        list(ConverseDecoder().feed(WireEvent(f"exception:{name}", b"<")))
    assert (raised.value.status, raised.value.retryable) == (status, retryable)


def read(decoder: Decoder, *events: object) -> list[Delta]:
    return [
        delta
        for event in events
        for delta in decoder.feed(WireEvent("", msgspec.json.encode(event)))
    ]


def test_a_response_that_was_filtered() -> None:
    details = {"reason": "content_filter"}
    event = {"type": "response.incomplete", "response": {"incomplete_details": details}}
    assert read(ResponsesDecoder(), event)[-1].finish == "refused"


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"type": "response.failed"}, 500),
        ({"type": "response.failed", "response": {"error": {"code": "server_error"}}}, 500),
        ({"type": "error", "error": {"code": "rate_limit_exceeded"}}, 429),
        ({"type": "error", "code": None, "message": "sk-secret"}, 500),
    ],
)
def test_errors_inside_a_response(event: object, status: int) -> None:
    with pytest.raises(UpstreamFailed) as raised:
        read(ResponsesDecoder(), event)
    assert raised.value.status == status
    assert "secret" not in raised.value.detail
