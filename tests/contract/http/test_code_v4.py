"""`/v4` code suggestions: events on the wire, and what both component versions share."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Message

from isthmus.core.errors import Invalid, UpstreamFailed, UpstreamLimited, UpstreamTimeout
from isthmus.core.events import FeatureUsed, HttpServed
from isthmus.core.messages import Chat, Text
from isthmus.edge.http.envelope import PAYLOADS, EditorPayload, read_body
from isthmus.edge.http.events import PING, EventStream, event
from isthmus.edge.http.openapi import any_json
from tests.support.http_app import SERVICE
from tests.support.listener import listening
from tests.support.suggest_stand import Editor, Scripted

V3, V4 = "/v3/code/completions", "/v4/code/suggestions"


def component(kind: str = "completion", **changes: Any) -> dict[str, Any]:
    payload = {
        "file_name": "m.go",
        "content_above_cursor": "func Max(a, b int) int {\n\t",
        "content_below_cursor": "\n}\n",
        "language_identifier": "go",
    }
    return {"type": f"code_editor_{kind}", "payload": payload | changes}


def prompt(content: object, **changes: object) -> dict[str, Any]:
    return {"type": "prompt", "payload": {"content": content} | changes}


CONTEXT = {
    "type": "code_context",
    "payload": {"type": "file", "name": "util.go", "content": "package NEEDLE\n"},
}


def body(*components: object, **changes: object) -> dict[str, Any]:
    return {"prompt_components": list(components or (component(),))} | changes


def streamed(kind: str = "completion", **changes: object) -> dict[str, Any]:
    return body(component(kind, stream=True, **changes))


def claude(*chunks: str | Exception) -> Scripted:
    return Scripted("anthropic", *(chunks or ("return b",)))


def read(raw: bytes) -> list[tuple[str, Any]]:
    """The events of a body, which must be written as the contract says."""
    assert raw.endswith(b"\r\n\r\n")
    found: list[tuple[str, Any]] = []
    for block in raw.decode().removesuffix("\r\n\r\n").split("\r\n\r\n"):
        name, data = block.split("\r\n")
        assert name.startswith("event: ")
        assert data.startswith("data: ")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_h11_27_a_token_of_our_own_is_refused() -> None:
    editor = Editor((claude(),), scopes=("complete_code",), issuer=SERVICE)
    reply = await editor.post(V4, streamed())
    assert reply.status_code == 403
    assert reply.json() == {"detail": "Unauthorized to access code suggestions"}


async def test_h11_39_the_plain_answer_is_the_third_version_s() -> None:
    replies = [await Editor((claude(),)).post(path, body()) for path in (V3, V4)]
    assert replies[0].status_code == 200
    assert replies[0].content == replies[1].content


async def test_h11_40_a_stream_is_of_events() -> None:
    reply = await Editor((claude("return", " b"),)).post(V4, streamed())
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["x-streaming-format"] == "sse"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-accel-buffering"] == "no"
    assert reply.headers["connection"] == "keep-alive"


@pytest.mark.parametrize("chunks", [(), ("return", "", " b\n"), ("é\r\n\r\n",)])
async def test_h11_41_the_order_of_events(chunks: tuple[str, ...]) -> None:
    provider = Scripted("anthropic", *chunks)
    editor = Editor((provider,), headers={"x-gitlab-enabled-feature-flags": "a"})
    found = read((await editor.post(V4, streamed())).content)
    assert found[0] == (
        "stream_start",
        {
            "metadata": {
                "model": {"engine": "agent", "name": "Code Completions"},
                "timestamp": 1767225600,
                "enabled_feature_flags": ["a"],
                "region": "us-central1",
            }
        },
    )
    assert found[1:-1] == [
        ("content_chunk", {"choices": [{"delta": {"content": text}, "index": 0}]})
        for text in chunks
        if text
    ]
    assert found[-1] == ("stream_end", None)
    assert provider.closed == 1


async def test_h11_41_a_generation_loses_its_fence_lines() -> None:
    provider = claude("```go\nreturn", " b\n", "```\n")
    found = read((await Editor((provider,)).post(V4, streamed("generation"))).content)
    assert found[0][1]["metadata"]["model"]["name"] == "Code Generations"
    assert [data["choices"][0]["delta"]["content"] for _, data in found[1:-1]] == ["return b\n"]


async def test_a_failure_before_the_first_byte_has_a_status() -> None:
    failing = claude(UpstreamLimited("slow down", status=429, retry_after_s=7))
    reply = await Editor((failing,)).post(V4, streamed())
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "7")


async def wire(editor: Editor, path: str, asked: object) -> bytes:
    """What a real server sends back, to the end of the connection."""
    raw = msgspec.json.encode(asked)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(raw)}"
    with listening(editor.app()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + b"\r\n\r\n" + raw)
        found = await reader.read()
        writer.close()
        await writer.wait_closed()
    return found


async def test_h11_41_the_events_on_a_real_wire() -> None:
    found = await wire(Editor((claude("return", " b"),)), V4, streamed())
    head, _, rest = found.partition(b"\r\n\r\n")
    assert b"\r\nx-streaming-format: sse\r\n" in head.lower()
    assert b'event: content_chunk\r\ndata: {"choices":[{"delta":{"content":"return"}' in rest
    assert rest.endswith(b"event: stream_end\r\ndata: null\r\n\r\n\r\n0\r\n\r\n")


async def test_a_failure_later_breaks_the_connection_without_an_end() -> None:
    editor = Editor((claude("return", UpstreamFailed("broke", status=500)),))
    found = await wire(editor, V4, streamed())
    assert b"event: content_chunk" in found
    assert b"stream_end" not in found
    assert b"error" not in found
    assert not found.endswith(b"0\r\n\r\n")
    assert editor.stand.sink.of(HttpServed)[-1].aborted


async def slow() -> AsyncGenerator[bytes, None]:
    yield event("stream_start", {})
    await asyncio.sleep(0.05)
    yield event("stream_end", None)


async def test_there_is_a_sign_of_life_between_events() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise NotImplementedError

    await EventStream(slow(), ping_s=0.01)({}, receive, send)
    bodies = [message["body"] for message in sent[1:]]
    assert bodies[0] == b"event: stream_start\r\ndata: {}\r\n\r\n"
    assert set(bodies[1:-2]) == {PING}
    assert bodies[-2:] == [b"event: stream_end\r\ndata: null\r\n\r\n", b""]
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("path", [V3, V4])
@pytest.mark.parametrize(("version", "sent"), [("7.17.0", False), ("7.17.1", True)])
async def test_h11_42_context_counts_from_a_recent_language_server_on(
    path: str, version: str, sent: bool
) -> None:
    provider = claude()
    editor = Editor((provider,), headers={"x-gitlab-language-server-version": version})
    await editor.post(path, body(component(), CONTEXT))
    assert ("NEEDLE" in provider.sent()) is sent


@pytest.mark.parametrize("path", [V3, V4])
async def test_h11_43_other_providers_than_three_are_refused(path: str) -> None:
    reply = await Editor((claude(),)).post(path, body(component(model_provider="litellm")))
    assert (reply.status_code, reply.json()) == (422, {"detail": "Validation error"})


@pytest.mark.parametrize("path", [V3, V4])
async def test_h11_44_amazon_q_needs_its_scope_and_is_not_built(path: str) -> None:
    asked = body(component(model_provider="amazon_q", role_arn="arn"))
    for scopes, status, detail in (
        (("complete_code",), 403, "Unauthorized to access code suggestions"),
        (("complete_code", "amazon_q_integration"), 501, "Amazon Q is not served here."),
    ):
        reply = await Editor((claude(),), scopes=scopes).post(path, asked)
        assert (reply.status_code, reply.json()) == (status, {"detail": detail})


@pytest.mark.parametrize(
    "changes",
    [
        {"file_name": None},
        {"file_name": 5},
        {"content_below_cursor": None},
        {"content_below_cursor": {}},
        {"content_above_cursor": 7},
        {"language_identifier": ["go"]},
        {"stream": "often"},
        {"model_name": 3},
        {"prompt": 9},
        {"choices_count": {}},
        {"role_arn": []},
        {"model_provider": 1},
        {"unheard_of": 1},
    ],
)
async def test_a_member_of_a_wrong_type_counts_as_not_given(changes: dict[str, Any]) -> None:
    reply = await Editor((claude(),)).post(V4, body(component(**changes)))
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["text"] == "return b"


def named(provider: str, model: str = "", **changes: Any) -> dict[str, Any]:
    return component(model_provider=provider, model_name=model, **changes)


async def test_variants_are_tried_until_one_can_be_served() -> None:
    provider = claude()
    editor = Editor((provider,))
    several = body(named("vertex-ai"), named("anthropic"), named("anthropic", "claude_opus_4_7"))
    reply = await editor.post(V3, several)
    assert reply.json()["model"]["name"] == "claude_sonnet_4_5_20250929"
    assert len(provider.calls) == 1
    assert len(editor.stand.sink.of(FeatureUsed)) == 1
    named_first = body(named("anthropic", "claude_opus_4_7"), named("anthropic"))
    assert (await editor.post(V3, named_first)).json()["model"]["name"] == "claude_opus_4_7"


async def test_when_no_variant_can_be_served_the_first_one_gets_the_default() -> None:
    reply = await Editor((claude(),)).post(V3, body(named("vertex-ai"), named("vertex-ai")))
    assert reply.json()["model"]["name"] == "claude_haiku_4_5_20251001"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "failure", [UpstreamLimited("no", status=429), UpstreamTimeout("slow", "first_byte")]
)
async def test_a_variant_that_fails_gives_way_to_the_next(failure: Exception, stream: bool) -> None:
    failing, other = Scripted("vertex", failure), claude("return", " b")
    several = body(named("vertex-ai", stream=stream), named("anthropic"))
    reply = await Editor((failing, other)).post(V4, several)
    assert reply.status_code == 200
    assert len(failing.calls) == len(other.calls) == 1
    if stream:
        assert read(reply.content)[0][0] == "stream_start"


async def test_after_the_first_byte_no_variant_takes_over() -> None:
    failing, other = Scripted("vertex", "return", UpstreamFailed("broke")), claude()
    several = body(named("vertex-ai", stream=True), named("anthropic"))
    found = await wire(Editor((failing, other)), V3, several)
    assert b"\r\nreturn\r\n" in found
    assert not found.endswith(b"0\r\n\r\n")
    assert not other.calls


async def test_when_all_fail_the_first_failure_is_the_answer() -> None:
    first = Scripted("vertex", UpstreamLimited("no", status=429, retry_after_s=3))
    other = claude(UpstreamFailed("no", status=500))
    reply = await Editor((first, other)).post(V3, body(named("vertex-ai"), named("anthropic")))
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "3")
    assert other.calls[0].model.startswith("claude-sonnet")


async def test_a_prompt_of_the_caller_s_is_sent_as_it_is() -> None:
    provider = claude("return b")
    for content in ("Write Max", [{"role": "user", "content": "Write Max"}]):
        provider.calls.clear()
        reply = await Editor((provider,)).post(V3, body(prompt(content, provider="anthropic")))
        assert reply.json()["choices"][0]["text"] == "return b"
        (call,) = provider.calls
        assert isinstance(call.prompt, Chat)
        assert call.prompt.messages[-1].parts == (Text("Write Max"),)
    assert (await Editor((provider,)).post(V3, body(prompt(5)))).status_code == 422


@pytest.mark.parametrize("name", PAYLOADS)
async def test_the_schema_of_a_payload_is_the_struct_s(name: str) -> None:
    kind = PAYLOADS[name]
    reply = await Editor(scopes=()).ask("GET", f"/v3/code/schema/{name}")
    assert reply.status_code == 200
    assert reply.json() == msgspec.json.schema(kind, schema_hook=any_json)
    told = reply.json()["$defs"][kind.__name__]
    assert list(told["properties"]) == [field.name for field in msgspec.structs.fields(kind)]
    core = "content_above_cursor" if issubclass(kind, EditorPayload) else "content"
    for member, schema in told["properties"].items():
        limits = [
            one["maxLength"] for one in (schema, *schema.get("anyOf", ())) if "maxLength" in one
        ]
        for limit in limits:
            for size, usable in ((limit, True), (limit + 1, False)):
                payload = {core: "x"} | {member: "x" * size}
                part = {"type": name, "payload": payload}
                raw = msgspec.json.encode(body(component(), part))
                assert (len(read_body(raw).prompt_components) == 2) is usable, member


async def test_a_schema_needs_a_token_and_a_type_that_there_is() -> None:
    assert (await Editor().ask("GET", "/v3/code/schema/poem")).status_code == 404
    stranger = Editor(scopes=(), issuer="https://elsewhere.test", headers={})
    stranger.stand.clock.advance(10_000)
    assert (await stranger.ask("GET", "/v3/code/schema/prompt")).status_code == 401


KEYS = st.sampled_from(
    [
        *("type", "payload", "metadata", "prompt_components", "model_metadata", "file_name"),
        *("content_above_cursor", "content_below_cursor", "language_identifier", "stream"),
        *("model_provider", "model_name", "prompt", "prompt_id", "prompt_version", "content"),
        *("prompt_enhancer", "provider", "name", "identifier", "endpoint", "api_key", "role"),
        *("current_file", "context", "model_endpoint", "model_api_key", "model_identifier"),
    ]
)
WORDS = st.sampled_from(
    [
        *("code_editor_completion", "code_editor_generation", "code_context", "prompt", "a.py"),
        *("anthropic", "vertex-ai", "amazon_q", "gitlab", "litellm", "fireworks_ai", "go", ""),
        *("code_suggestions/generations", "^1.0.0", "2.0.2", "user", "http://x", "codestral"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | WORDS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)
PAYLOAD = st.dictionaries(KEYS, JSON, max_size=8)
PART = st.fixed_dictionaries({"type": WORDS | JSON, "payload": PAYLOAD | JSON}) | JSON
ENVELOPE = st.fixed_dictionaries(
    {"prompt_components": st.lists(PART, min_size=1, max_size=4)},
    optional={"model_metadata": PAYLOAD | JSON},
)
MESSAGE = st.tuples(WORDS, WORDS).map(lambda two: {"role": two[0], "content": two[1]})
CURRENT_FILE = st.tuples(
    st.sampled_from(["a.py", "a", "x.go"]) | st.text(max_size=20),
    st.text(max_size=50),
    st.text(max_size=50),
).map(
    lambda three: {
        "file_name": three[0],
        "content_above_cursor": three[1],
        "content_below_cursor": three[2],
    }
)
SECOND = st.fixed_dictionaries(
    {"prompt_version": st.sampled_from([1, 2, 3]), "current_file": CURRENT_FILE},
    optional={
        "prompt": JSON | st.lists(MESSAGE),
        "model_provider": WORDS,
        "model_name": WORDS,
        "stream": st.booleans(),
        "prompt_id": WORDS,
        "model_metadata": PAYLOAD | JSON,
    },
)
BODIES = JSON | ENVELOPE | SECOND
PATHS = st.sampled_from([V3, V4, "/v2/code/completions", "/v2/code/generations"])
FINE = {200, 400, 403, 422, 501}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=PATHS, asked=BODIES, answer=st.lists(st.text(max_size=30), max_size=3))
async def test_whatever_comes_is_answered(path: str, asked: object, answer: list[str]) -> None:
    editor = Editor(tuple(Scripted(name, *answer) for name in ("anthropic", "vertex", "custom")))
    raw = msgspec.json.encode(asked)
    reply = await editor.ask("POST", path, content=raw)
    assert reply.status_code in FINE, reply.text


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=200) | BODIES.map(msgspec.json.encode))
def test_no_body_crashes_the_reader(raw: bytes) -> None:
    with suppress(Invalid):
        assert read_body(raw).prompt_components


@pytest.mark.parametrize("member", ["prompt", "prompt_enhancer", "unknown"])
def test_nesting_is_bounded(member: str) -> None:
    head = b'{"type":"code_editor_generation","payload":{"content_above_cursor":"x","%b":'
    deep = b"[" * 100_000 + b"]" * 100_000
    raw = b'{"prompt_components":[' + head % member.encode() + deep + b"}}]}"
    with pytest.raises(Invalid):
        read_body(raw)
