"""What the dialects make of tuning, and corners that no recorded wire shows."""

from collections.abc import Mapping
from typing import Any, cast

import botocore.session
import botocore.validate
import msgspec
import pytest

from isthmus.adapters.providers import azure, fireworks, mistral
from isthmus.adapters.providers._spec import Decoder, Dialect, WireEvent
from isthmus.adapters.providers.dialects.anthropic import AnthropicDialect
from isthmus.adapters.providers.dialects.converse import ConverseDecoder, ConverseDialect
from isthmus.adapters.providers.dialects.openai import OpenAIDialect
from isthmus.adapters.providers.dialects.openai_embed import OpenAIEmbedDialect
from isthmus.adapters.providers.dialects.responses import ResponsesDecoder
from isthmus.adapters.providers.dialects.vertex import VertexDialect
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


POINT = {"cachePoint": {"type": "default"}}
CLAUDE = "global.anthropic.claude-sonnet-4-6"
KEEPING = [
    CLAUDE,
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "eu.anthropic.claude-3-7-sonnet-20250219-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-6-v1",
    "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
]
REFUSING = [
    "anthropic.claude-v2:1",
    "anthropic.claude-instant-v1",
    "anthropic.claude-3-sonnet-20240229-v1:0",
    "anthropic.claude-3-haiku-20240307-v1:0",
    "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "amazon.nova-pro-v1:0",
    "meta.llama3-1-70b-instruct-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
]


def conversation(turns: int) -> Chat:
    """User and model in turn, the user last."""
    said_: list[Message] = [Message("system", (Text("Be kind."),))]
    for number in range(turns):
        role = "assistant" if number % 2 else "user"
        said_.append(Message(role, (Text(f"Turn {number}"),)))
    return Chat(tuple(said_), (TOOL,))


def conversed(model: str, turns: int) -> dict[str, Any]:
    return msgspec.json.decode(
        ConverseDialect({}).encode(ModelCall(model, conversation(turns), 5)).body
    )


def bare(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [block for block in blocks if block != POINT]


@pytest.mark.parametrize("model", KEEPING)
def test_bedrock_keeps_what_comes_before_a_long_conversation(model: str) -> None:
    body = conversed(model, 5)
    assert body["system"] == [{"text": "Be kind."}, POINT]
    assert body["toolConfig"]["tools"][-1] == POINT
    marked = [number for number, one in enumerate(body["messages"]) if POINT in one["content"]]
    assert marked == [2, 4]
    assert str(body).count("cachePoint") == 4, "the API takes no more"
    assert "cachePoint" not in str(conversed(model, 1))


@pytest.mark.parametrize("model", REFUSING)
def test_a_model_of_bedrock_that_takes_no_marks_gets_none(model: str) -> None:
    assert "cachePoint" not in str(conversed(model, 5))


def test_what_bedrock_was_told_to_keep_is_how_the_next_call_begins() -> None:
    before, after = conversed(CLAUDE, 5), conversed(CLAUDE, 7)
    assert (before["system"], before["toolConfig"]) == (after["system"], after["toolConfig"])
    for number, message in enumerate(before["messages"]):
        assert bare(message["content"]) == bare(after["messages"][number]["content"])
    assert after["messages"][4]["content"][-1] == POINT, "where the call before ended"


def test_the_vendors_own_library_takes_the_marks() -> None:
    service = botocore.session.get_session().get_service_model("bedrock-runtime")
    shape = cast("Any", service.operation_model("ConverseStream")).input_shape
    report = botocore.validate.ParamValidator().validate(
        conversed(CLAUDE, 5) | {"modelId": CLAUDE}, shape
    )
    assert not report.has_errors(), report.generate_report()


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


@pytest.mark.parametrize(
    ("dialect", "model", "key", "forced"),
    [
        (AnthropicDialect(), "m", "tool_choice", {"type": "any"}),
        (SERVERS, "m", "tool_choice", "required"),
        (OPENAI, "m", "tool_choice", "required"),
        (OPENAI, "by-responses", "tool_choice", "required"),
        (
            VertexDialect("https://v.example"),
            "gemini-3-pro",
            "toolConfig",
            {"functionCallingConfig": {"mode": "ANY"}},
        ),
    ],
    ids=["anthropic", "servers", "openai", "responses", "gemini"],
)
def test_a_call_is_forced(dialect: Dialect, model: str, key: str, forced: object) -> None:
    tuning = Tuning(summary="auto") if model == "by-responses" else PLAIN

    def asked(chat: Chat) -> dict[str, object]:
        return sent(dialect, ModelCall(model, chat, 5, tuning=tuning))

    assert asked(Chat((USER,), (TOOL,), calls=True))[key] == forced
    assert key not in asked(Chat((USER,), (TOOL,)))
    assert key not in asked(Chat((USER,), calls=True))


@pytest.mark.parametrize(
    ("model", "forced"),
    [("eu.anthropic.claude-sonnet-4-6", True), ("meta.llama3-70b-instruct-v1:0", False)],
)
def test_a_call_is_forced_on_bedrock_where_the_model_takes_it(model: str, *, forced: bool) -> None:
    body = sent(ConverseDialect({}), ModelCall(model, Chat((USER,), (TOOL,), calls=True), 5))
    choice: dict[str, object] = {"toolChoice": {"any": {}}} if forced else {}
    tools = sent(ConverseDialect({}), ModelCall(model, Chat((USER,), (TOOL,)), 5))["toolConfig"]
    assert isinstance(tools, dict)
    assert "toolChoice" not in tools
    assert body["toolConfig"] == tools | choice
