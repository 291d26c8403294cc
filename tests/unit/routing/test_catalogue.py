"""The model list: what is accepted, and that errors name the model and the key."""

from pathlib import Path

import pytest

import isthmus
from isthmus.routing.catalogue import Catalogue, CatalogueError, parse_catalogue
from isthmus.settings import ModelsSettings, OpenAISettings

LIBRARY = Path(isthmus.__file__).parent / "library" / "models.yml"
SMALL = """
models:
  - {id: one, name: One, provider: anthropic, upstream: up-1, max_context_tokens: 9,
     max_output_tokens: 9, kinds: [chat], proxy_provider: anthropic}
  - {id: local, name: L, provider: local, max_context_tokens: 9, max_output_tokens: 9,
     kinds: [infill]}
features:
  - {feature: chat, kind: chat, default_models: [one]}
"""


def load(text: str, models: ModelsSettings | None = None) -> Catalogue:
    return parse_catalogue(text.encode(), models or ModelsSettings(), OpenAISettings())


def test_the_library_is_sound() -> None:
    catalogue = parse_catalogue(LIBRARY.read_bytes(), ModelsSettings(), OpenAISettings())
    assert catalogue.features["code_completions"].candidates[-1] == "local"
    assert catalogue.features["duo_agent_platform"].candidates[-1] == "tour"
    assert catalogue.proxied("anthropic") == {
        "claude-opus-4-5-20251101",
        "claude-opus-4-6",
        "claude-opus-4-7",
        "claude-opus-4-8",
        "claude-opus-5",
        "claude-fable-5",
        "claude-sonnet-5",
        "claude-sonnet-4-6",
        "claude-sonnet-4-5-20250929",
        "claude-haiku-4-5-20251001",
    }
    assert catalogue.proxied("openai") == {
        "gpt-5.6-sol",
        "gpt-5.6-terra",
        "gpt-5.6-luna",
        "gpt-5.5-2026-04-23",
        "gpt-5.4-2026-03-05",
        "gpt-5.2-2025-12-11",
        "gpt-5.1-2025-11-13",
        "gpt-5-mini-2025-08-07",
        "gpt-5.4-mini",
        "gpt-5.4-nano",
        "gpt-5",
        "gpt-5.1",
        "gpt-5.3-codex",
        "gpt-5-codex",
        "gpt-5.2-codex",
    }
    assert catalogue.proxied("local") == frozenset()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("name: One, ", "", ["models[0] (one)", "`name`"]),
        ("name: One, ", "name: One, colour: red, ", ["models[0] (one)", "`colour`"]),
        ("provider: anthropic, upstream", "provider: acme, upstream", ["(one)", "$.provider"]),
        ("max_context_tokens: 9", "max_context_tokens: 0", ["(one)", "$.max_context_tokens"]),
        ("default_models: [one]", "default_models: [two]", ["features.chat", "`two`"]),
        ("default_models: [one]", "default_models: []", ["(chat)", "default_models"]),
        ("default_models: [one]", "default_models: [local]", ["`local`", "chat"]),
        ("id: local, ", "id: one, ", ["models", "`one`", "twice"]),
        ("features:", "extra: 1\nfeatures:", ["`extra`"]),
        ("features:", "things:", ["things"]),
        ("models:", "models: [", ["not YAML"]),
    ],
)
def test_errors_name_the_place(old: str, new: str, named: list[str]) -> None:
    with pytest.raises(CatalogueError) as raised:
        load(SMALL.replace(old, new, 1))
    for text in named:
        assert text in str(raised.value)


def test_a_file_that_is_no_mapping() -> None:
    with pytest.raises(CatalogueError, match="mapping"):
        load("[1, 2]")


def test_an_entry_that_is_no_mapping() -> None:
    with pytest.raises(CatalogueError, match=r"models\[0\]"):
        load("models: [7]\nfeatures: []")


def test_a_feature_listed_twice() -> None:
    with pytest.raises(CatalogueError, match="`chat` is listed twice"):
        load(SMALL + "  - {feature: chat, kind: chat, default_models: [one]}\n")


def test_settings_replace_defaults() -> None:
    two = SMALL.replace(
        "  - {id: local",
        "  - {id: two, name: T, provider: openai, upstream: t, "
        "max_context_tokens: 9, max_output_tokens: 9, kinds: [chat]}\n"
        "  - {id: local",
    )
    catalogue = load(two, ModelsSettings(defaults={"chat": ("two", "one")}))
    assert catalogue.features["chat"].default_models == ("two", "one")


@pytest.mark.parametrize(
    ("defaults", "named"),
    [
        ({"nothing": ("one",)}, "models.defaults.nothing: unknown feature"),
        ({"chat": ("nobody",)}, "models.defaults.chat: unknown model `nobody`"),
        ({"chat": ("local",)}, "models.defaults.chat: `local` does not serve chat"),
        ({"chat": ()}, "models.defaults.chat: name at least one"),
    ],
)
def test_settings_that_name_nothing_fail(defaults: dict[str, tuple[str, ...]], named: str) -> None:
    with pytest.raises(CatalogueError, match=named):
        load(SMALL, ModelsSettings(defaults=defaults))


def test_the_model_of_a_compatible_server_may_be_proxied() -> None:
    own = OpenAISettings(base_url="http://x/v1", model="qwen", completion_model="qwen-fim")
    catalogue = parse_catalogue(SMALL.encode(), ModelsSettings(), own)
    assert catalogue.proxied("openai") == {"qwen", "qwen-fim"}
