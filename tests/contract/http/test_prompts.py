"""The prompts API through the whole application: both versions, whole and streamed."""

from collections.abc import AsyncIterator, Mapping
from typing import cast

import httpx
import pytest

from isthmus.core.errors import UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from isthmus.core.events import FeatureUsed, Noted, PayloadSeen
from isthmus.gateway.payloads import MASK, PayloadPolicy
from isthmus.settings import ModelsSettings
from tests.support.chat_stand import Instance, behind_sockets, claude
from tests.support.http_app import SERVICE
from tests.support.replay import Replay, replaying
from tests.support.suggest_stand import Scripted

COMMIT = "generate_commit_message"
V1, V2 = f"/v1/prompts/{COMMIT}", f"/v2/prompts/{COMMIT}"
EXPLAIN = "/v2/prompts/chat/explain_code"
SONNET = "claude-sonnet-4-6"


def body(**changes: object) -> dict[str, object]:
    return {"inputs": {"diff": "--- a\n+++ b\n"}} | changes


def lines(reply: httpx.Response) -> list[dict[str, object]]:
    assert reply.text.endswith("\n")
    return [httpx.Response(200, text=line).json() for line in reply.text.splitlines()]


async def test_h11_48_the_first_version_answers_a_bare_text_and_the_second_an_object() -> None:
    first = await Instance().post(V1, body())
    assert (first.status_code, first.headers["content-type"]) == (200, "application/json")
    assert first.json() == "Fix it"
    second = await Instance().post(V2, body(stream=False))
    usage = {SONNET: {"input_tokens": 21, "output_tokens": 6}}
    assert (second.status_code, second.json()) == (200, {"content": "Fix it", "usage": usage})


async def test_h11_49_a_stream_is_one_object_a_line_and_the_tokens_stand_on_the_last() -> None:
    reply = await Instance().post(V2, body(stream=True))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    told = lines(reply)
    assert "".join(cast("str", line["content"]) for line in told) == "Fix it"
    assert [set(line) for line in told] == [{"content"}, {"content"}, {"content", "usage"}]
    assert told[-1]["usage"] == {SONNET: {"input_tokens": 21, "output_tokens": 6}}


async def test_h11_49_the_first_version_streams_raw_text() -> None:
    reply = await Instance().post(V1, body(stream=True))
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.text == "Fix it"


@pytest.mark.parametrize("path", ["/v1/prompts/no/such", "/v2/prompts/no_such"])
async def test_h11_50_an_unknown_prompt_is_a_bad_request(path: str) -> None:
    reply = await Instance().post(path, body())
    assert reply.status_code == 400
    name = path.split("/prompts/")[1]
    assert reply.json()["detail"].startswith(f"Failed to load prompt definition for '{name}'")
    assert "/src" not in reply.text


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("9.9.9", 400),
        ("^9.0.0", 400),
        ("not a version", 400),
        ("^1.0.0", 200),
        ("1.2.0", 200),
        (None, 200),
        (1.2, 422),
    ],
)
async def test_h11_51_versions(version: object, status: int) -> None:
    reply = await Instance().post(V2, body(prompt_version=version))
    assert reply.status_code == status
    assert status == 200 or "detail" in reply.json()


async def test_h11_51_a_constraint_never_selects_a_development_version() -> None:
    prompts = Instance().prompts
    assert prompts.get("chat/react", "1.0.2-dev").version.text == "1.0.2-dev"
    assert prompts.get("chat/react", "<1.1.0").version.text == "1.0.1"


@pytest.mark.parametrize("stream", [False, True])
async def test_h11_52_a_missing_variable_and_a_missing_scope(stream: bool) -> None:
    reply = await Instance().post(V2, {"inputs": {"extra": 1}, "stream": stream})
    assert reply.status_code == 422
    detail = reply.json()["detail"]
    assert "'diff'" in detail
    assert "'extra'" in detail
    refused = await Instance(scopes=("duo_chat",)).post(V2, body(stream=stream))
    assert refused.status_code == 403
    assert refused.json() == {"detail": f"Unauthorized to access '{COMMIT}'"}
    allowed = Instance(scopes=(COMMIT,), issuer=SERVICE)
    assert (await allowed.post(V2, body(stream=stream))).status_code == 200


@pytest.mark.parametrize(
    "asked",
    [{}, [], {"inputs": None}, {"inputs": []}, {"inputs": {}, "stream": "maybe"}, {"inputs": "a"}],
)
async def test_a_body_that_does_not_fit(asked: object) -> None:
    reply = await Instance().post(V2, asked)
    assert (reply.status_code, reply.json()) == (422, {"detail": "Validation error"})


@pytest.mark.parametrize("prompt", ["chat/react", "embeddings_code"])
async def test_prompts_whose_inputs_others_make_name_the_route_that_does(prompt: str) -> None:
    reply = await Instance().post(f"/v2/prompts/{prompt}", {"inputs": {"question": "?"}})
    assert reply.status_code == 422
    assert "POST /v" in reply.json()["detail"]


@pytest.mark.parametrize("path", [V1, V2])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "detail"),
    [
        (UpstreamFailed("x", status=401), "401: Unauthorized"),
        (UpstreamUnreachable("x"), "500: Internal Server Error"),
        (UpstreamTimeout("x", "first_byte"), "408: Request Timeout"),
        (UpstreamFailed("x"), "502: Bad Gateway"),
    ],
)
async def test_a_failure_of_the_model_has_a_status_of_its_own(
    path: str, stream: bool, failure: Exception, detail: str
) -> None:
    reply = await Instance((claude(failure),)).post(path, body(stream=stream))
    assert (reply.status_code, reply.json()) == (421, {"detail": detail})


async def test_a_stream_that_breaks_is_not_given_an_end() -> None:
    instance = Instance((claude("Fix ", UpstreamFailed("x", status=500)),))
    broken = await instance.post_until_broken(V2, body(stream=True))
    assert broken == (200, '{"content":"Fix "}\n')
    assert instance.stand.sink.of(Noted)[-1].event == "An answer broke off."


async def test_the_call_is_made_as_the_prompt_says() -> None:
    model = claude("a")
    instance = Instance((model,), models=ModelsSettings(chat_max_tokens=77))
    await instance.post(V1, body())
    assert "--- a" in model.sent()
    assert model.calls[0].max_tokens == 1024
    code = {"file_content": "x", "input": "?", "language_info": "", "selected_text": "y"}
    assert (await instance.post(EXPLAIN, {"inputs": code})).status_code == 200
    assert model.calls[1].max_tokens == 77
    used = instance.stand.sink.of(FeatureUsed)
    assert [fact.unit_primitive for fact in used] == [COMMIT, "explain_code"]


@pytest.mark.parametrize(
    ("changes", "upstream"),
    [
        ({}, SONNET),
        ({"prompt_version": "1.1.0"}, "claude-sonnet-4-5-20250929"),
        (
            {"model_metadata": {"provider": "gitlab", "name": "claude_haiku_4_5_20251001"}},
            "claude-haiku-4-5-20251001",
        ),
        ({"model_metadata": {"provider": "gitlab", "feature_setting": "duo_chat"}}, SONNET),
        ({"model_metadata": "provider"}, SONNET),
        ({"model_metadata": {"name": "gpt"}}, SONNET),
        ({"model_metadata": {"provider": "openai", "name": "gpt", "endpoint": "nowhere"}}, SONNET),
    ],
)
async def test_h11_45_a_model_that_is_not_known_is_the_features_own(
    changes: Mapping[str, object], upstream: str
) -> None:
    model = claude()
    reply = await Instance((model,)).post(V2, body(**changes))
    assert reply.status_code == 200
    assert model.calls[0].model == upstream


async def test_h11_45_an_unknown_identifier_is_served_by_the_default() -> None:
    metadata = {"provider": "gitlab", "identifier": "no_such_model"}
    reply = await Instance().post(V2, body(model_metadata=metadata))
    assert reply.status_code == 200
    assert list(reply.json()["usage"]) == [SONNET]


@pytest.fixture
async def replay() -> AsyncIterator[Replay]:
    async with replaying("openai", key="") as replay:
        yield replay


async def ask(
    replay: Replay, told: Mapping[str, str] | None = None, *, custom: bool = False
) -> httpx.Response:
    async with behind_sockets(replay, custom=custom) as instance:
        return await instance.post(V2, body(model_metadata=told))


async def test_h11_46_an_endpoint_of_the_callers_own_needs_to_be_allowed(replay: Replay) -> None:
    told = {
        "provider": "openai",
        "name": "mistral",
        "identifier": "custom_openai/Small",
        "endpoint": f"{replay.base_url}/",
        "api_key": "theirs",
    }
    refused = await ask(replay, told)
    detail = "specifying custom models endpoint is disabled: api_base is not allowed"
    assert (refused.status_code, refused.json()) == (400, {"detail": detail})
    assert replay.requests == []
    reply = await ask(replay, told, custom=True)
    assert reply.status_code == 200
    (asked,) = replay.requests
    assert asked.headers["authorization"] == "Bearer theirs"
    assert (asked.path, asked.json()["model"]) == ("/v1/chat/completions", "Small")
    assert list(reply.json()["usage"]) == ["mistral"]


async def test_h11_47_without_a_key_a_placeholder_is_sent(replay: Replay) -> None:
    told = {"provider": "litellm", "name": "mistral", "identifier": "Small"}
    reply = await ask(replay, told | {"endpoint": replay.base_url}, custom=True)
    assert reply.status_code == 200
    (asked,) = replay.requests
    assert asked.headers["authorization"] == "Bearer dummy_key"
    assert asked.json()["model"] == "Small"


@pytest.mark.parametrize(
    ("case", "detail"),
    [("rate_limited", "429: Too Many Requests"), ("too_long", "400: Bad Request")],
)
async def test_h11_53_the_servers_status_is_told_after_one_call(
    replay: Replay, case: str, detail: str
) -> None:
    replay.play(case, case, case)
    reply = await ask(replay)
    assert (reply.status_code, reply.json()) == (421, {"detail": detail})
    # The server asks for more patience than a caller has, so a limit is not tried again either.
    assert len(replay.requests) == 1


async def test_inputs_are_told_only_where_payloads_may_be_logged() -> None:
    asked = {"inputs": {"diff": "+ a", "api_key": "s3cret"}}
    quiet, open_ = Instance(), Instance()
    open_.stand.payloads = PayloadPolicy(always=True)
    for instance in (quiet, open_):
        assert (await instance.post(V2, asked)).status_code == 200
    assert quiet.stand.sink.of(PayloadSeen) == []
    (fact,) = open_.stand.sink.of(PayloadSeen)
    assert dict(fact.payload) == {"prompt": COMMIT, "inputs": {"diff": "+ a", "api_key": MASK}}


async def test_a_flag_that_is_barred_draws_no_model() -> None:
    flag = {"x-gitlab-enabled-feature-flags": "ai_gateway_multi_default_models"}
    metadata = {"provider": "gitlab", "feature_setting": "duo_agent_platform_agentic_chat"}
    first, second = Scripted("vertex", "a"), claude("b")
    instance = Instance((first, second), headers=flag | {"x-gitlab-realm": "saas"})
    instance.stand.payloads = PayloadPolicy(barred={"saas": ("ai_gateway_multi_default_models",)})
    for _ in range(12):
        reply = await instance.post(V2, body(model_metadata=metadata))
        assert reply.json()["content"] == "a"
    assert second.calls == []
