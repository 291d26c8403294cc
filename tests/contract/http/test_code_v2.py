"""`/v2` code suggestions through the whole application, on the contract's own numbers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from isthmus.adapters.providers.local import LocalProvider
from isthmus.core.errors import Failure, InsufficientCredits, UpstreamFailed, UpstreamLimited
from isthmus.core.events import FeatureUsed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use
from isthmus.core.messages import Chat, Infill, Target
from isthmus.routing.catalogue import CustomModels
from isthmus.settings import GatewaySettings
from tests.support.http_app import SERVICE
from tests.support.suggest_stand import CATALOGUE, Editor, Scripted

COMPLETIONS = "/v2/code/completions"
GENERATIONS = "/v2/code/generations"
README = {
    "prompt_version": 1,
    "current_file": {
        "file_name": "a.py",
        "content_above_cursor": (
            "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a - b\n\n"
            "def mul(a, b):\n    ret"
        ),
        "content_below_cursor": "\n",
    },
}


def body(**changes: object) -> dict[str, Any]:
    file = {
        "file_name": "a.py",
        "content_above_cursor": "def add(a, b):\n    return ",
        "content_below_cursor": "\n",
    }
    return {"prompt_version": 1, "current_file": file} | changes


def with_file(**changes: object) -> dict[str, Any]:
    whole = body()
    whole["current_file"] |= changes
    return whole


def claude(*chunks: str | Exception) -> Scripted:
    return Scripted("anthropic", *(chunks or ("a + b",)))


async def test_the_example_of_the_readme_gets_a_choice_without_any_model() -> None:
    reply = await Editor().post(COMPLETIONS, README)
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["text"] == "urn a"
    assert reply.json()["model"]["engine"] == "local"


async def test_h11_27_a_token_of_our_own_completes_and_does_not_generate() -> None:
    scopes = ("complete_code", "generate_code")
    editor = Editor((claude(),), scopes=scopes, issuer=SERVICE)
    assert (await editor.post(COMPLETIONS, body())).status_code == 200
    refused = await editor.post(GENERATIONS, body())
    assert refused.status_code == 403
    assert refused.json() == {"detail": "Unauthorized to access code generations"}


@pytest.mark.parametrize("version", [None, "1", 4, 0, 1.5, True, [1]])
async def test_h11_28_the_prompt_version_is_a_number_from_1_to_3(version: object) -> None:
    asked = body(prompt_version=version)
    if version is None:
        del asked["prompt_version"]
    for path in (COMPLETIONS, GENERATIONS):
        reply = await Editor((claude(),)).post(path, asked)
        assert (reply.status_code, reply.json()) == (422, {"detail": "Validation error"})


async def test_h11_29_the_alias_answers_the_same() -> None:
    editor = Editor((claude(),))
    replies = [await editor.post(path, body()) for path in ("/v2/completions", COMPLETIONS)]
    assert replies[0].status_code == 200
    assert replies[0].content == replies[1].content


async def test_h11_30_a_completion_needs_its_scope() -> None:
    reply = await Editor((claude(),), scopes=("generate_code",)).post(COMPLETIONS, body())
    assert reply.status_code == 403
    assert reply.json() == {"detail": "Unauthorized to access code completions"}


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (with_file(file_name="n" * 256), 422),
        (with_file(file_name=" " + "n" * 252 + ".py "), 200),
        (with_file(content_above_cursor="x" * 100_001), 422),
        (with_file(content_above_cursor="x" * 100_000), 200),
        (with_file(content_below_cursor="x" * 100_001), 422),
        (with_file(language_identifier="x" * 256), 422),
        (with_file(language_identifier=None), 200),
        (body(context=[{"type": "f", "name": "n", "content": "c"}] * 101), 422),
        (body(context=[{"type": "f", "name": "n", "content": "c"}] * 100), 200),
        (body(context=[{"type": "f" * 1025, "name": "n", "content": "c"}]), 422),
        (body(context=None, telemetry=None, stream=None, choices_count=None), 200),
        (body(telemetry=[{"requests": 1, "accepts": 1, "errors": 0}] * 11), 422),
        (body(telemetry=[{"requests": "1", "accepts": 1, "errors": 0}] * 10), 200),
        (body(telemetry=[{"accepts": 1, "errors": 0}]), 422),
        (body(project_path="p" * 256), 422),
        (body(project_path=" " * 300 + "p"), 200),
        (body(model_name="m" * 51), 422),
        (body(unknown={"field": 1}), 200),
        (body(current_file=None), 422),
        ({}, 422),
        ([], 422),
    ],
)
async def test_h11_31_limits_of_every_field(asked: object, status: int) -> None:
    reply = await Editor((claude(),)).post(COMPLETIONS, asked)
    assert reply.status_code == status
    if status == 422:
        assert reply.json() == {"detail": "Validation error"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prompt_version": 7}, "prompt_version"),
        ({"telemetry": [{"accepts": 1}]}, "telemetry[0].requests"),
        ({"context": [{"type": "f", "name": "n", "content": 1}]}, "context[0].content"),
        ({"model_provider": "anthropic", "model_name": "gpt"}, "model_name"),
        ({"current_file": {"file_name": "a"}}, "current_file.content_above_cursor"),
    ],
)
async def test_the_field_at_fault_is_named_when_detail_is_allowed(
    changes: Mapping[str, object], field: str
) -> None:
    reply = await Editor((claude(),), verbose=True).post(COMPLETIONS, body(**changes))
    assert reply.status_code == 422
    assert f"'{field}'" in reply.json()["detail"]


@pytest.mark.parametrize(
    "hints",
    [
        {"model_provider": "anthropic", "model_name": "codestral-2501"},
        {"model_provider": "anthropic", "model_name": None},
        {"model_provider": "vertex-ai", "model_name": "gemini-2.5-flash"},
        {"model_provider": "gitlab", "model_name": "codestral-2501"},
        {"model_provider": "unheard-of"},
    ],
)
async def test_h11_32_model_hints_are_checked(hints: Mapping[str, object]) -> None:
    reply = await Editor((claude(),)).post(COMPLETIONS, body(**hints))
    assert (reply.status_code, reply.json()) == (422, {"detail": "Validation error"})


@pytest.mark.parametrize("provider", ["anthropic", "gitlab"])
async def test_generations_take_no_model_name_of_these_providers(provider: str) -> None:
    hints = {"model_provider": provider, "model_name": "claude-sonnet-4-5-20250929"}
    reply = await Editor((claude(),)).post(GENERATIONS, body(**hints))
    assert reply.status_code == 422


async def test_a_model_name_without_a_provider_is_not_checked() -> None:
    reply = await Editor().post(COMPLETIONS, README | {"model_name": None})
    assert reply.status_code == 200


async def test_h11_33_the_reply_of_a_completion() -> None:
    editor = Editor((claude("a + b"),), gateway=GatewaySettings(region="europe-west1"))
    reply = await editor.post(COMPLETIONS, body())
    assert reply.headers["content-type"] == "application/json"
    assert reply.content == (
        b'{"id":"id","model":{"engine":"anthropic","name":"claude_haiku_4_5_20251001",'
        b'"lang":"python","tokens_consumption_metadata":{"input_tokens":21,"output_tokens":6,'
        b'"max_output_tokens_used":false,"context_tokens_sent":0,"context_tokens_used":0},'
        b'"region":"europe-west1"},"experiments":[],"object":"text_completion",'
        b'"created":1767225600,"choices":[{"text":"a + b","index":0,"finish_reason":"length"}],'
        b'"metadata":{"enabled_feature_flags":[]}}'
    )


@pytest.mark.parametrize("text", ["", " \n\t "])
async def test_h11_34_no_text_is_no_choice(text: str) -> None:
    reply = await Editor((claude(text),)).post(COMPLETIONS, body())
    assert reply.status_code == 200
    assert reply.json()["choices"] == []
    assert reply.json()["model"]["tokens_consumption_metadata"] is None


async def test_h11_35_a_stream_is_the_raw_text() -> None:
    provider = claude("a ", "+ ", "", "b\n")
    reply = await Editor((provider,)).post(COMPLETIONS, body(stream=True))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.text == "a + b\n"
    assert provider.closed == 1


async def test_a_stream_that_fails_before_its_first_byte_has_an_honest_status() -> None:
    failing = claude(UpstreamLimited("slow down", status=429, retry_after_s=7))
    reply = await Editor((failing,)).post(COMPLETIONS, body(stream=True))
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "7"


async def test_a_failing_model_is_told_in_the_contract_s_words() -> None:
    reply = await Editor((claude(UpstreamFailed("secret detail", status=500)),)).post(
        COMPLETIONS, body()
    )
    assert (reply.status_code, reply.json()) == (503, {"detail": "Inference failed"})


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"prompt_version": 1}, 200),
        ({"prompt_version": 2}, 422),
        ({"prompt_version": 2, "prompt": None}, 422),
        ({"prompt_version": 2, "prompt": "write"}, 200),
        ({"prompt_version": 3}, 422),
        ({"prompt_version": 3, "prompt": "write"}, 422),
        ({"prompt_version": 3, "prompt": [{"role": "robot", "content": "x"}]}, 422),
        ({"prompt_version": 3, "prompt": [{"role": "user", "content": "x"}]}, 200),
    ],
)
async def test_h11_36_generations_of_version_2_and_3_need_a_prompt(
    changes: Mapping[str, object], status: int
) -> None:
    reply = await Editor((claude("x = 1"),)).post(GENERATIONS, body(**changes))
    assert reply.status_code == status


async def test_h11_37_fences_are_taken_off_a_generation() -> None:
    provider = claude("```python\n", "x = 1\ny = 2\n", "```\n")
    reply = await Editor((provider,)).post(GENERATIONS, body())
    assert reply.json()["choices"][0]["text"] == "x = 1\ny = 2"
    assert reply.json()["model"]["tokens_consumption_metadata"] is None


async def test_a_generation_stream_loses_its_fence_lines_alone() -> None:
    provider = claude("``", "`python\nx", " = 1\n", "```\nmore\n", "``", "`")
    reply = await Editor((provider,)).post(GENERATIONS, body(stream=True))
    assert reply.text == "x = 1\n```\nmore\n"


async def test_messages_of_the_caller_replace_the_prompt_of_a_generation() -> None:
    provider = claude("x = 1")
    messages = [{"role": "user", "content": "do"}, {"role": "system", "content": "be brief"}]
    await Editor((provider,)).post(GENERATIONS, body(prompt_version=3, prompt=messages))
    (call,) = provider.calls
    assert isinstance(call.prompt, Chat)
    assert [message.role for message in call.prompt.messages] == ["system", "user"]
    assert provider.sent() == "be brief\ndo"


async def test_messages_too_long_for_the_model_are_refused_before_the_call() -> None:
    provider = claude("x = 1")
    messages = [{"role": "user", "content": "x" * 3_100_000}]
    reply = await Editor((provider,)).post(GENERATIONS, body(prompt_version=3, prompt=messages))
    assert reply.status_code == 422
    assert not provider.calls


async def test_generations_without_a_model_name_the_setting() -> None:
    reply = await Editor().post(GENERATIONS, body())
    assert reply.status_code == 503
    assert "ANTHROPIC_API_KEY" in reply.json()["detail"]


async def test_a_registered_prompt_is_reported_by_its_name() -> None:
    provider = claude("x = 1")
    asked = body(prompt_id="code_suggestions/generations")
    reply = await Editor((provider,)).post(GENERATIONS, asked)
    assert reply.json()["model"]["engine"] == "agent"
    assert reply.json()["model"]["name"] == "Code Generations"
    assert (
        await Editor((provider,)).post(GENERATIONS, body(prompt_id="no/such"))
    ).status_code == 422


async def test_a_registered_prompt_needs_its_own_scope() -> None:
    editor = Editor((claude("x"),), scopes=("generate_code",))
    refused = await editor.post(GENERATIONS, body(prompt_id="agent/chat"))
    assert refused.status_code == 403


async def test_context_reaches_the_model_and_is_counted() -> None:
    provider = claude()
    context = [{"type": "file", "name": "other.py", "content": "NEEDLE = 1\n"}]
    reply = await Editor((provider,)).post(COMPLETIONS, body(context=context))
    assert "NEEDLE" in provider.sent()
    tokens = reply.json()["model"]["tokens_consumption_metadata"]
    assert tokens["context_tokens_sent"] == tokens["context_tokens_used"] == 4


async def test_the_provider_anthropic_ignores_context_and_takes_messages() -> None:
    provider = claude()
    context = [{"type": "file", "name": "other.py", "content": "NEEDLE = 1\n"}]
    asked = body(
        prompt_version=3,
        prompt=[{"role": "user", "content": "complete me"}],
        model_provider="anthropic",
        context=context,
    )
    reply = await Editor((provider,)).post(COMPLETIONS, asked)
    assert provider.sent() == "complete me"
    assert reply.json()["model"]["name"] == "claude_sonnet_4_5_20250929"


async def test_an_unknown_language_is_an_empty_answer_without_a_model_call() -> None:
    provider = claude()
    for changes in ({}, {"stream": True}):
        asked = with_file(file_name="Dockerfile") | changes
        reply = await Editor((provider,)).post(COMPLETIONS, asked)
        assert reply.status_code == 200
        assert reply.text == "" or reply.json()["choices"] == []
    assert not provider.calls


@pytest.mark.parametrize(
    ("hints", "status"),
    [
        ({"model_provider": "vertex-ai", "model_name": "codestral-2501"}, 200),
        ({"model_provider": "gitlab", "model_name": ""}, 200),
        ({"model_provider": "gitlab"}, 200),
        ({"model_provider": "anthropic", "model_name": "claude-sonnet-4-5@20250929"}, 400),
        ({"model_provider": "fireworks_ai", "model_name": "codestral-2508"}, 400),
        ({"model_provider": "litellm", "model_name": "gpt", "model_endpoint": "http://x"}, 400),
        ({"model_provider": "litellm", "model_name": "gpt"}, 400),
        ({"model_provider": "amazon_q"}, 501),
    ],
)
async def test_a_hint_that_cannot_be_served_is_an_error_or_the_default(
    hints: Mapping[str, object], status: int
) -> None:
    reply = await Editor((LocalProvider(),)).post(COMPLETIONS, body(**hints))
    assert reply.status_code == status


async def test_amazon_q_needs_its_own_scope() -> None:
    editor = Editor(scopes=("complete_code",))
    reply = await editor.post(COMPLETIONS, body(model_provider="amazon_q"))
    assert reply.status_code == 403


async def test_a_chat_model_gets_the_prompt_and_the_floor_gets_the_text_itself() -> None:
    chat, floor = claude(), Scripted("local", "a + b")
    await Editor((chat,)).post(COMPLETIONS, body())
    await Editor((floor,)).post(COMPLETIONS, body())
    assert isinstance(chat.calls[0].prompt, Chat)
    assert "def add(a, b):\n    return <cursor/>" in chat.sent()
    assert isinstance(floor.calls[0].prompt, Infill)


@pytest.mark.parametrize("path", [COMPLETIONS, "/v3/code/completions"])
async def test_h11_72_flags_are_listed_unless_barred_for_the_realm(path: str) -> None:
    editor = Editor(
        (claude(),),
        gateway=GatewaySettings(disallowed_flags={"saas": ("c",)}),
        headers={"x-gitlab-enabled-feature-flags": "a,b,c", "x-gitlab-realm": "saas"},
    )
    asked = body() | {
        "prompt_components": [{"type": "code_editor_completion", "payload": body()["current_file"]}]
    }
    reply = await editor.post(path, asked)
    assert sorted(reply.json()["metadata"]["enabled_feature_flags"]) == ["a", "b"]


MODELS_ON = replace(CATALOGUE, custom=CustomModels(enabled=True))
OWN = {
    "model_provider": "litellm",
    "model_name": "codestral",
    "model_endpoint": "http://vllm.test:8000/v1/",
    "model_api_key": "hush",
    "model_identifier": "custom_openai/Codestral-22B",
}


@pytest.mark.parametrize("path", [COMPLETIONS, GENERATIONS])
async def test_a_server_of_the_caller_s_own_is_called_where_that_is_allowed(path: str) -> None:
    provider = Scripted("custom", "a + b")
    editor = Editor((provider,), catalogue=MODELS_ON)
    reply = await editor.post(path, body(**OWN))
    assert reply.json()["choices"][0]["text"] == "a + b"
    assert reply.json()["model"]["engine"] == "litellm"
    (call,) = provider.calls
    assert call.model == "Codestral-22B"
    assert call.target == Target("http://vllm.test:8000/v1", "hush")
    assert isinstance(call.prompt, Infill) is (path == COMPLETIONS)


async def test_a_server_without_a_key_gets_a_placeholder() -> None:
    provider = Scripted("custom", "a + b")
    asked = body(**OWN) | {"model_api_key": None, "model_identifier": "Codestral-22B"}
    await Editor((provider,), catalogue=MODELS_ON).post(COMPLETIONS, asked)
    assert provider.calls[0].target == Target("http://vllm.test:8000/v1", "dummy_key")


async def test_a_server_of_the_caller_s_own_is_refused_where_it_is_not_allowed() -> None:
    provider = Scripted("custom", "a + b")
    reply = await Editor((provider, claude())).post(COMPLETIONS, body(**OWN))
    assert reply.status_code == 400
    assert reply.json() == {
        "detail": "specifying custom models endpoint is disabled: api_base is not allowed"
    }
    assert not provider.calls


async def test_a_family_that_there_is_not_is_refused() -> None:
    asked = body(**OWN | {"model_name": "qwen2p5-coder-7b"})
    reply = await Editor((Scripted("custom"),), catalogue=MODELS_ON).post(COMPLETIONS, asked)
    assert (reply.status_code, reply.json()) == (
        *(400, {"detail": "The model asked for is not served."}),
    )


async def test_a_registered_prompt_runs_on_the_model_of_hints_or_metadata() -> None:
    own, ours = Scripted("custom", "x = 1"), claude("x = 1")
    editor = Editor((own, ours), catalogue=MODELS_ON)
    named = {"prompt_id": "code_suggestions/generations"}
    await editor.post(GENERATIONS, body(**named | OWN))
    assert own.calls[0].target == Target("http://vllm.test:8000/v1", "hush")
    metadata = {"provider": "gitlab", "name": "claude_opus_4_7"}
    await editor.post(GENERATIONS, body(**named, model_metadata=metadata))
    await editor.post(GENERATIONS, body(**named, model_metadata={"provider": 5}))
    assert [call.model for call in ours.calls] == ["claude-opus-4-7", "claude-sonnet-4-6"]


@pytest.mark.parametrize(
    ("provider", "cap"), [("fireworks", 48), ("vertex", 64), ("anthropic", 256)]
)
async def test_what_fills_in_is_capped_and_ends_with_its_piece_of_code(
    provider: str, cap: int
) -> None:
    model = Scripted(provider, "return a + b\n\n\ndef sub(a, b):\n    pass\n")
    reply = await Editor((model,)).post(
        COMPLETIONS, with_file(content_above_cursor="def add(a, b):\n    ")
    )
    whole = provider == "anthropic"
    text = reply.json()["choices"][0]["text"]
    assert text == ("".join(map(str, model.chunks)) if whole else "return a + b")
    assert model.calls[0].max_tokens == cap


async def test_settings_drop_steps_and_doubtful_answers() -> None:
    unsure = Scripted("fireworks", "# a comment")
    unsure.score = -2.0
    kept = GatewaySettings(skipped_post_processing=("remove_comment_only_completion",))
    dropped = kept.model_copy(update={"score_thresholds": {"codestral-2508": -1.0}})
    found: list[int] = []
    for gateway in (GatewaySettings(), kept, dropped):
        reply = await Editor((unsure,), gateway=gateway).post(COMPLETIONS, body())
        found.append(len(reply.json()["choices"]))
    assert found == [0, 1, 0]


async def test_the_first_line_tells_the_language_of_a_file_without_a_suffix() -> None:
    asked = with_file(file_name="run", content_above_cursor="#!/usr/bin/env python3\nx = ")
    reply = await Editor((claude("1"),)).post(COMPLETIONS, asked)
    assert reply.json()["model"]["lang"] == "python"
    assert reply.json()["choices"][0]["text"] == "1"


class Portal:
    """Counts what it is asked for, and refuses when told to."""

    def __init__(self, refusal: Failure | None = None) -> None:
        self.refusal = refusal
        self.uses: list[Use] = []

    async def check(self, use: Use, caller: Caller, client: ClientInfo) -> None:
        del caller, client
        self.uses.append(use)
        if self.refusal is not None:
            raise self.refusal


async def test_credits_are_asked_for_before_permission_and_after_the_schema() -> None:
    portal = Portal()
    editor = Editor((claude(),), quota=portal, scopes=())
    assert (await editor.post(COMPLETIONS, {})).status_code == 422
    assert not portal.uses
    for path, event in ((COMPLETIONS, "code_completions"), (GENERATIONS, "code_generations")):
        for asked in (body(), body(stream=True)):
            portal.uses.clear()
            assert (await editor.post(path, asked)).status_code == 403
            assert portal.uses == [Use(event, "code_suggestions")]
    portal.refusal = InsufficientCredits("No credits.")
    reply = await editor.post(COMPLETIONS, body())
    assert (reply.status_code, reply.json()["error_code"]) == (402, "USAGE_QUOTA_EXCEEDED")


async def test_a_use_is_told_once_with_what_it_is_billed_as() -> None:
    editor = Editor((claude(),))
    await editor.post(COMPLETIONS, body())
    await editor.post(GENERATIONS, body(stream=True))
    told = editor.stand.sink.of(FeatureUsed)
    assert [(fact.unit_primitive, fact.billed, fact.feature) for fact in told] == [
        ("complete_code", "code_completions", "code_suggestions"),
        ("generate_code", "code_generations", "code_suggestions"),
    ]
