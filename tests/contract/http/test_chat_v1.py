"""The first chat through the whole application, on the contract's own words."""

from typing import cast

import pytest

from isthmus.core.errors import UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from isthmus.core.messages import Chat
from isthmus.settings import GatewaySettings
from tests.support.chat_stand import Instance, behind_sockets, claude
from tests.support.replay import replaying
from tests.support.suggest_stand import Scripted

AGENT = "/v1/chat/agent"


def body(stream: object = None, **changes: object) -> dict[str, object]:
    payload = {"content": [{"role": "user", "content": "Summarise this diff"}]} | changes
    metadata = {"source": "rails", "version": "17.0.0"}
    component = {"type": "prompt", "metadata": metadata, "payload": payload}
    return {"prompt_components": [component], "stream": stream}


async def test_the_answer_repeats_what_was_asked_of_which_model() -> None:
    model = claude("It ", "is.")
    reply = await Instance((model,)).post(AGENT, body(provider="anthropic"))
    assert reply.status_code == 200
    told = reply.json()
    assert told["response"] == "It is."
    timestamp = told["metadata"].pop("timestamp")
    assert isinstance(timestamp, int)
    assert told["metadata"] == {"provider": "anthropic", "model": None}
    (call,) = model.calls
    assert (call.model, call.temperature) == ("claude-sonnet-4-5-20250929", 0.2)
    assert (call.max_tokens, call.stop) == (4096, ("\n\nHuman", "Observation:"))


async def test_a_text_is_one_question_and_may_be_answered_at_length() -> None:
    model = claude()
    params = {"max_tokens_to_sample": 8000, "temperature": 0, "stop_sequences": ["end"]}
    asked = body(content="\n\nHuman: hi", model="claude-sonnet-4-6", params=params)
    reply = await Instance((model,)).post(AGENT, asked)
    assert reply.json()["metadata"]["model"] == "claude-sonnet-4-6"
    (call,) = model.calls
    assert (call.model, call.max_tokens, call.temperature) == ("claude-sonnet-4-6", 8000, 0)
    assert call.stop == ("end",)
    assert isinstance(call.prompt, Chat)
    assert [message.role for message in call.prompt.messages] == ["user"]


@pytest.mark.parametrize(("model", "status"), [(None, 200), ("claude-sonnet-4-6", 503)])
async def test_only_a_model_that_was_named_must_be_at_hand(model: str | None, status: int) -> None:
    instance = Instance((Scripted("openai", "Well."),))
    reply = await instance.post(AGENT, body(model=model))
    assert reply.status_code == status


async def test_a_stream_is_raw_text() -> None:
    reply = await Instance().post(AGENT, body(stream=True))
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.text == "Fix it"


async def test_something_that_cannot_be_asked_for_is_not_found() -> None:
    reply = await Instance().post("/v1/chat/sing", body())
    assert (reply.status_code, reply.json()) == (404, {"detail": "Not found"})


@pytest.mark.parametrize(
    ("invokable", "scope"),
    [
        *((name, "duo_chat") for name in ("agent", "explain_code", "write_tests", "refactor_code")),
        *((name, name) for name in ("explain_vulnerability", "summarize_comments")),
        ("troubleshoot_job", "troubleshoot_job"),
    ],
)
async def test_each_needs_its_scope(invokable: str, scope: str) -> None:
    path = f"/v1/chat/{invokable}"
    assert (await Instance(scopes=(scope,)).post(path, body())).status_code == 200
    refused = await Instance(scopes=("complete_code",)).post(path, body())
    assert refused.status_code == 403
    assert refused.json() == {"detail": f"Unauthorized to access {scope}"}


@pytest.mark.parametrize(("cutoff", "status"), [(True, 403), (False, 200)])
async def test_duo_core_may_be_cut_off(cutoff: bool, status: int) -> None:
    headers = {"x-gitlab-feature-enablement-type": "duo_core"}
    gateway = GatewaySettings(duo_core_cutoff=cutoff)
    instance = Instance(scopes=("duo_chat",), headers=headers, gateway=gateway)
    reply = await instance.post(AGENT, body())
    assert reply.status_code == status
    if cutoff:
        detail = "Duo Core no longer authorized to access Duo Classic Chat"
        assert reply.json() == {"detail": detail}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "status", "detail"),
    [
        (UpstreamFailed("x", status=429), 502, "Anthropic API Status Error."),
        (UpstreamUnreachable("x"), 502, "Anthropic API Connection Error."),
        (UpstreamTimeout("x", "total"), 504, "Anthropic API Timeout Error."),
    ],
)
async def test_a_failure_of_the_model(
    failure: Exception, status: int, detail: str, stream: bool
) -> None:
    reply = await Instance((claude(failure),)).post(AGENT, body(stream=stream))
    assert (reply.status_code, reply.json()) == (status, {"detail": detail})


ONE = {"role": "user", "content": "x"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"content": "x" * 400_000}, 200),
        ({"content": "x" * 400_001}, 422),
        ({"content": []}, 422),
        ({"content": [ONE] * 100}, 200),
        ({"content": [ONE] * 101}, 422),
        ({"content": [{"role": "tool", "content": "x"}]}, 422),
        ({"provider": "openai"}, 422),
        ({"model": "claude-2"}, 422),
        ({"params": {"temperature": 1.1}}, 422),
        ({"params": {"max_tokens_to_sample": 8193}}, 422),
        ({"params": {"stop_sequences": []}}, 422),
        ({"params": {"stop_sequences": ["x"] * 11}}, 422),
        ({"params": {"stop_sequences": ["x" * 226]}}, 422),
        ({"params": {"unknown": 1}, "other": 2}, 200),
        ({"provider": "litellm", "model_endpoint": "nowhere", "model": "mistral"}, 422),
    ],
)
async def test_limits_of_every_field(changes: dict[str, object], status: int) -> None:
    reply = await Instance().post(AGENT, body(**changes))
    assert reply.status_code == status
    if status == 422:
        assert reply.json() == {"detail": "Validation error"}


@pytest.mark.parametrize("count", [0, 2])
async def test_exactly_one_component_is_taken(count: int) -> None:
    (component,) = cast("list[object]", body()["prompt_components"])
    reply = await Instance().post(AGENT, {"prompt_components": [component] * count})
    assert reply.status_code == 422


async def test_a_server_of_the_callers_own_needs_to_be_allowed() -> None:
    async with replaying("openai", key="") as replay:
        asked = body(
            provider="litellm",
            model="mistral",
            model_identifier="custom_openai/Small",
            model_endpoint=replay.base_url,
            model_api_key="theirs",
        )
        async with behind_sockets(replay) as instance:
            reply = await instance.post(AGENT, asked)
        detail = "specifying custom models endpoint is disabled: api_base is not allowed"
        assert (reply.status_code, reply.json()) == (400, {"detail": detail})
        assert replay.requests == []
        async with behind_sockets(replay, custom=True) as instance:
            reply = await instance.post(AGENT, asked)
        assert reply.json()["metadata"]["model"] == "mistral"
        (call,) = replay.requests
        assert call.headers["authorization"] == "Bearer theirs"
        assert call.json()["model"] == "Small"
