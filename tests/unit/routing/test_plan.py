"""Which model serves a call."""

from pathlib import Path

import pytest

import isthmus
from isthmus.core.errors import NotFound, Unavailable
from isthmus.routing.catalogue import Catalogue, parse_catalogue
from isthmus.routing.plan import candidates
from isthmus.settings import ModelsSettings, OpenAISettings

LIBRARY = (Path(isthmus.__file__).parent / "library" / "models.yml").read_bytes()
FLOOR = {"local", "scripted"}


def catalogue(openai: OpenAISettings | None = None) -> Catalogue:
    return parse_catalogue(LIBRARY, ModelsSettings(), openai or OpenAISettings())


def ids(feature: str, configured: set[str], openai: OpenAISettings | None = None) -> list[str]:
    return [one.id for one in candidates(catalogue(openai), feature, None, configured)]


def test_without_a_provider_the_floor_serves() -> None:
    assert ids("code_completions", FLOOR) == ["local"]
    assert ids("duo_agent_platform", FLOOR) == ["tour"]


def test_a_configured_provider_comes_before_the_floor() -> None:
    assert ids("workflow", FLOOR | {"anthropic"}) == ["claude_sonnet_4_6", "tour"]
    assert ids("workflow", FLOOR | {"openai"}) == ["gpt_5_2", "tour"]
    assert ids("workflow", FLOOR | {"openai", "anthropic"}) == [
        "claude_sonnet_4_6",
        "gpt_5_2",
        "tour",
    ]


def test_a_server_of_the_operators_own_replaces_the_vendors_names() -> None:
    own = OpenAISettings(base_url="http://127.0.0.1:11434/v1")
    assert ids("workflow", FLOOR | {"openai"}, own) == ["openai_compatible", "tour"]
    assert ids("code_completions", FLOOR | {"openai"}, own) == ["openai_compatible", "local"]
    choice = candidates(catalogue(own), "workflow", None, {"openai"})[0]
    assert (choice.provider, choice.engine, choice.upstream) == ("openai", "openai", "")


def test_settings_name_the_upstream_model_for_each_kind() -> None:
    own = OpenAISettings(base_url="http://x/v1", model="big", completion_model="fim")
    for feature, upstream in (("workflow", "big"), ("code_completions", "fim")):
        assert candidates(catalogue(own), feature, None, {"openai"})[0].upstream == upstream


def test_a_model_named_for_openai_itself_comes_first() -> None:
    own = OpenAISettings(model="gpt-x")
    assert ids("workflow", {"openai"}, own) == ["openai_compatible"]
    only_fim = OpenAISettings(completion_model="fim")
    assert ids("workflow", {"openai"}, only_fim) == ["gpt_5_2"]
    assert ids("code_completions", {"openai"}, only_fim) == ["openai_compatible"]


def test_the_model_asked_for_stands_alone() -> None:
    choice, *rest = candidates(catalogue(), "workflow", "claude_opus_5", {"anthropic"})
    assert rest == []
    assert choice.upstream == "claude-opus-5"
    assert choice.max_context_tokens == 1_000_000
    assert choice.labels == ("claude",)


@pytest.mark.parametrize(
    ("feature", "asked", "failure"),
    [
        ("no_such_feature", None, NotFound),
        ("workflow", "no_such_model", NotFound),
        ("workflow", "local", NotFound),
        ("code_completions", "tour", NotFound),
        ("workflow", "claude_opus_5", Unavailable),
        ("code_generations", None, Unavailable),
    ],
)
def test_what_cannot_be_served(feature: str, asked: str | None, failure: type[Exception]) -> None:
    with pytest.raises(failure):
        candidates(catalogue(), feature, asked, FLOOR)


def test_a_compatible_server_that_settings_do_not_name() -> None:
    with pytest.raises(Unavailable):
        candidates(catalogue(), "workflow", "openai_compatible", {"openai"})
