"""`/v3` code suggestions through the whole application, on the contract's own numbers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from isthmus.adapters.providers.local import LocalProvider
from isthmus.core.messages import Target
from isthmus.routing.catalogue import CustomModels
from tests.support.http_app import SERVICE
from tests.support.suggest_stand import CATALOGUE, Editor, Scripted

PATH = "/v3/code/completions"


def component(kind: str = "completion", **changes: object) -> dict[str, Any]:
    payload = {
        "file_name": "m.go",
        "content_above_cursor": "func Max(a, b int) int {\n\t",
        "content_below_cursor": "\n}\n",
        "language_identifier": "go",
    }
    return {"type": f"code_editor_{kind}", "payload": payload | changes}


CONTEXT = {
    "type": "code_context",
    "payload": {"type": "file", "name": "util.go", "content": "package NEEDLE\n"},
}


def body(*components: object, **changes: object) -> dict[str, Any]:
    return {"prompt_components": list(components or (component(),))} | changes


def claude(*chunks: str) -> Scripted:
    return Scripted("anthropic", *(chunks or ("return b",)))


async def test_h11_27_a_token_of_our_own_is_refused() -> None:
    editor = Editor((claude(),), scopes=("complete_code",), issuer=SERVICE)
    reply = await editor.post(PATH, body())
    assert reply.status_code == 403
    assert reply.json() == {"detail": "Unauthorized to access code suggestions"}


async def test_a_generation_needs_its_scope() -> None:
    reply = await Editor((claude(),), scopes=("complete_code",)).post(
        PATH, body(component("generation"))
    )
    assert reply.status_code == 403
    assert reply.json() == {"detail": "Unauthorized to access code suggestions"}


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"prompt_components": []}, 422),
        (body(component(), *[CONTEXT] * 99), 200),
        (body(component(), *[CONTEXT] * 100), 422),
        (body({"type": "code_editor_poem", "payload": {}}), 422),
        (body({"type": "code_editor_completion"}), 422),
        (body(CONTEXT), 422),
        (body(component(), {"type": "code_context", "payload": {"type": "f", "name": "n"}}), 200),
        (body({"type": "code_editor_poem", "payload": {}}, CONTEXT), 422),
        (body({"type": "code_editor_poem", "payload": {}}, component()), 200),
        (body(CONTEXT, component()), 200),
        (body(5, None, [], {"type": ["x"]}, {"type": "prompt", "payload": 7}), 422),
        (body(5, None, [], {"type": ["x"]}, component()), 200),
        (body(component(), *[{"type": "x"}] * 99), 200),
        (body(component(), *[{"type": "x"}] * 100), 422),
        (body(component() | {"metadata": {"source": "vscode", "version": "1"}}), 200),
        (body(component() | {"metadata": {"source": "vscode"}}), 200),
        (body(component() | {"metadata": "vscode"}), 200),
        (body({"type": "code_editor_completion", "payload": {}}), 422),
        (body(component() | {"metadata": None}), 200),
        (body(component(file_name="n" * 256)), 422),
        (body(component(content_above_cursor="x" * 100_001)), 422),
        (body(component(prompt=[{"role": "user", "content": "x"}])), 200),
        (body(component("generation", prompt="x" * 400_001)), 422),
        (body(component("generation", prompt="x" * 400_000)), 200),
        (body(component("generation", prompt_id="code_suggestions/generations")), 200),
        ({}, 422),
    ],
)
async def test_h11_38_components_are_checked(asked: object, status: int) -> None:
    reply = await Editor((claude(),)).post(PATH, asked)
    assert reply.status_code == status
    if status == 422:
        assert reply.json() == {"detail": "Validation error"}


async def test_h11_39_the_reply_of_a_completion() -> None:
    reply = await Editor((claude("return b"),)).post(PATH, body())
    assert reply.content == (
        b'{"choices":[{"text":"return b","index":0,"finish_reason":"length"}],'
        b'"metadata":{"model":{"engine":"anthropic","name":"claude_haiku_4_5_20251001",'
        b'"lang":"go"},"timestamp":1767225600,"enabled_feature_flags":[],"region":null},'
        b'"model":{"engine":"anthropic","name":"claude_haiku_4_5_20251001","lang":"go"}}'
    )


async def test_h11_40_a_stream_is_raw_text() -> None:
    reply = await Editor((claude("return", " b"),)).post(PATH, body(component(stream=True)))
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.text == "return b"


@pytest.mark.parametrize(
    ("version", "sent"),
    [
        ("7.17.0", False),
        ("7.17.1", True),
        ("7.17.10", True),
        ("8.0.0", True),
        ("7.17", False),
        ("latest", False),
        ("", False),
    ],
)
async def test_h11_42_context_counts_from_a_recent_language_server_on(
    version: str, sent: bool
) -> None:
    provider = claude()
    editor = Editor((provider,), headers={"x-gitlab-language-server-version": version})
    await editor.post(PATH, body(component(), CONTEXT))
    assert ("NEEDLE" in provider.sent()) is sent


async def test_h11_43_other_providers_than_three_are_refused() -> None:
    reply = await Editor((claude(),)).post(PATH, body(component(model_provider="litellm")))
    assert reply.status_code == 422


@pytest.mark.parametrize(
    "asked",
    [
        body(component(model_provider="amazon_q")),
        body(component("generation", model_provider="amazon_q")),
        body(model_metadata={"provider": "amazon_q", "name": "amazon_q"}),
    ],
)
async def test_h11_44_amazon_q_needs_its_scope(asked: object) -> None:
    editor = Editor((claude(),), scopes=("complete_code", "generate_code"))
    reply = await editor.post(PATH, asked)
    assert reply.status_code == 403
    assert reply.json() == {"detail": "Unauthorized to access code suggestions"}


@pytest.mark.parametrize(
    ("metadata", "model"),
    [
        ({"provider": "gitlab", "name": "claude_opus_4_7"}, "claude_opus_4_7"),
        ({"provider": "gitlab", "identifier": "claude_opus_4_7"}, "claude_opus_4_7"),
        ({"provider": "gitlab", "feature_setting": "code_completions"}, None),
        ({"provider": "gitlab", "name": "no_such_model"}, None),
        ({"name": "claude_opus_4_7"}, None),
        ("nonsense", None),
        (None, None),
    ],
)
async def test_model_metadata_chooses_or_is_ignored(metadata: object, model: str | None) -> None:
    reply = await Editor((claude(),)).post(PATH, body(model_metadata=metadata))
    assert reply.json()["model"]["name"] == (model or "claude_haiku_4_5_20251001")


async def test_a_server_of_the_caller_s_own_is_never_called() -> None:
    provider = claude()
    metadata = {"provider": "openai", "name": "gpt", "endpoint": "http://10.0.0.1", "api_key": "k"}
    reply = await Editor((provider,)).post(PATH, body(model_metadata=metadata))
    assert reply.status_code == 400
    assert reply.json() == {
        "detail": "specifying custom models endpoint is disabled: api_base is not allowed"
    }
    assert not provider.calls


async def test_a_server_of_the_caller_s_own_is_called_where_that_is_allowed() -> None:
    provider = Scripted("custom", "return b")
    metadata = {
        "provider": "openai",
        "name": "mistral",
        "identifier": "custom_openai/Mistral-Small",
        "endpoint": "http://vllm.test:8000/v1",
    }
    on = replace(CATALOGUE, custom=CustomModels(enabled=True))
    editor = Editor((provider,), catalogue=on)
    reply = await editor.post(PATH, body(model_metadata=metadata))
    assert reply.json()["model"] == {"engine": "openai", "name": "mistral", "lang": "go"}
    assert provider.calls[0].target == Target("http://vllm.test:8000/v1", "dummy_key")


@pytest.mark.parametrize("version", ["^1.0.0", "1.2.0-dev", "2.0.2", "3.0.2-dev", "9.9.9", "x"])
async def test_every_version_of_a_prompt_that_exists_can_be_named(version: str) -> None:
    asked = component(
        "generation", prompt_id="code_suggestions/generations", prompt_version=version
    )
    reply = await Editor((claude(),)).post(PATH, body(asked))
    assert reply.status_code == (422 if version in {"9.9.9", "x"} else 200)


async def test_an_exact_version_runs_on_the_model_it_was_made_for() -> None:
    provider = claude()
    asked = component(
        "generation", prompt_id="code_suggestions/generations", prompt_version="1.0.0"
    )
    await Editor((provider,)).post(PATH, body(asked))
    assert provider.calls[0].model == "claude-sonnet-4-5-20250929"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "\n\treturn b"),
        ({"model_provider": "anthropic"}, "\treturn b"),
        ({"prompt_id": "code_suggestions/generations"}, "\treturn b"),
        ({"prompt_id": "code_suggestions/generations", "prompt_version": "2.0.0"}, "\n\treturn b"),
    ],
)
async def test_a_generation_opens_a_line_unless_its_prompt_was_made_for_anthropic(
    changes: Mapping[str, object], text: str
) -> None:
    asked = component("generation", content_above_cursor="func Max(a, b int) int {", **changes)
    reply = await Editor((claude("```go\n\treturn b\n```"),)).post(PATH, body(asked))
    assert reply.json()["choices"][0]["text"] == text


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "claude_sonnet_4_6"),
        ({"model_provider": "vertex-ai"}, "claude_sonnet_4_6"),
        ({"model_provider": "anthropic"}, "claude_sonnet_4_5_20250929"),
    ],
)
async def test_a_generation_goes_to_the_model_of_its_hints(
    changes: Mapping[str, object], name: str
) -> None:
    provider = claude("return b")
    asked = body(component("generation", prompt_enhancer={"user_instruction": "WISH"}, **changes))
    reply = await Editor((provider,)).post(PATH, asked)
    assert reply.json()["model"] == {"engine": "agent", "name": "Code Generations", "lang": "go"}
    assert "WISH" in provider.sent()
    assert provider.calls[0].model.replace(".", "-").replace("-", "_") in {name, name + "_"}


async def test_a_completion_works_without_any_model() -> None:
    above = "func Max(a, b int) int {\n\treturn a\n}\n\nfunc Min(a, b int) int {\n\tret"
    reply = await Editor((LocalProvider(),)).post(
        PATH, body(component(content_above_cursor=above, content_below_cursor="\n}\n"))
    )
    assert reply.json()["choices"][0]["text"] == "urn a"
