"""What the hints of a caller mean."""

import pytest

from isthmus.core.errors import Invalid
from isthmus.core.messages import ModelMetadata
from isthmus.gateway.hints import (
    ALLOWED,
    ANY,
    Kind,
    ModelHint,
    Wish,
    check_name,
    made_for,
    wished,
    wished_by_component,
    wished_by_variant,
    wished_for_prompt,
)

SONNET = "claude_sonnet_4_5_20250929"


@pytest.mark.parametrize("kind", ["completion", "generation"])
def test_every_provider_takes_its_own_names_alone(kind: Kind) -> None:
    for provider, names in ALLOWED[kind].items():
        for name in names:
            check_name(kind, provider, name)
        for name in ("nothing", None):
            with pytest.raises(Invalid) as caught:
                check_name(kind, provider, name)
            assert caught.value.fields[0].field == "model_name"


def test_an_unset_provider_checks_nothing() -> None:
    check_name("completion", "", "anything")


@pytest.mark.parametrize(
    ("kind", "hint", "expected"),
    [
        ("completion", ModelHint(), Wish()),
        ("completion", ModelHint("gitlab", ""), Wish()),
        (
            "completion",
            ModelHint("gitlab", "codestral_2508_vertex"),
            Wish("codestral_2508_vertex", or_default=False),
        ),
        ("completion", ModelHint("vertex-ai", "codestral-2501"), Wish("codestral_2508_vertex")),
        (
            "completion",
            ModelHint("fireworks_ai", "codestral-2508"),
            Wish("codestral_2508_fireworks", or_default=False),
        ),
        (
            "completion",
            ModelHint("fireworks_ai", "mixtral"),
            Wish("codestral_2501_fireworks", or_default=False),
        ),
        (
            "completion",
            ModelHint("anthropic", "claude-sonnet-4-5@20250929"),
            Wish(SONNET, or_default=False),
        ),
        ("generation", ModelHint("vertex-ai", "code-bison@002"), Wish()),
        ("generation", ModelHint("fireworks_ai", "mixtral"), Wish()),
        ("generation", ModelHint("anthropic"), Wish(SONNET, or_default=False)),
        ("generation", ModelHint("amazon_q"), Wish(amazon_q=True)),
    ],
)
def test_names_of_the_wire_become_models_of_the_catalogue(
    kind: Kind, hint: ModelHint, expected: Wish
) -> None:
    assert wished(kind, hint) == expected


def test_a_server_of_the_caller_s_own_becomes_metadata() -> None:
    hint = ModelHint("litellm", "gpt", "http://x/", "k", "openai/gpt")
    told = ModelMetadata("litellm", "gpt", "openai/gpt", "http://x", "k")
    for kind in ("completion", "generation"):
        assert wished(kind, hint) == Wish(metadata=told, or_default=False)
    assert wished("completion", ModelHint("codestral", "codestral")).metadata is not None
    assert wished("generation", ModelHint("codestral", "codestral")) == ANY
    assert wished_for_prompt(hint, None).metadata == ModelMetadata(
        "custom_openai", "gpt", "openai/gpt", "http://x", "k"
    )


def test_a_registered_prompt_takes_the_body_s_metadata_when_the_hints_name_no_model() -> None:
    metadata = ModelMetadata("gitlab", "claude_opus_4_7")
    assert wished_for_prompt(ModelHint("vertex-ai"), metadata) == Wish(metadata=metadata)
    assert wished_for_prompt(ModelHint(), None) == ANY
    assert wished_for_prompt(ModelHint("amazon_q"), metadata).amazon_q


def test_a_key_is_not_shown() -> None:
    assert "hush" not in repr(ModelHint("litellm", api_key="hush"))
    assert "hush" not in repr(wished("completion", ModelHint("litellm", api_key="hush")))


def test_the_provider_of_a_component_counts_for_generations_alone() -> None:
    assert wished_by_component("completion", "anthropic", None, registered=False) == ANY
    assert wished_by_component("generation", "anthropic", None, registered=False) == Wish(SONNET)
    assert wished_by_component("generation", "anthropic", None, registered=True) == ANY
    found = wished_by_component("generation", "vertex-ai", None, registered=False)
    assert found == Wish(f"{SONNET}_vertex")
    metadata = ModelMetadata("gitlab", identifier="claude_opus_4_7")
    found = wished_by_component("generation", "anthropic", metadata, registered=False)
    assert found == Wish(metadata=metadata)
    own = ModelMetadata("amazon_q", "amazon_q")
    assert wished_by_component("completion", "", own, registered=False).amazon_q


def test_a_variant_wants_its_model_and_no_other() -> None:
    assert wished_by_variant("completion", "", "") == ANY
    assert wished_by_variant("completion", "anthropic", "") == Wish(SONNET, or_default=False)
    assert wished_by_variant("generation", "vertex-ai", "gpt_5_4") == Wish(
        "gpt_5_4", or_default=False
    )
    assert wished_by_variant("completion", "vertex-ai", "codestral-2501") == Wish(
        "codestral_2508_vertex", or_default=False
    )
    assert wished_by_variant("generation", "amazon_q", "").amazon_q


def test_what_a_prompt_was_made_for() -> None:
    assert made_for("anthropic", "", "") == "anthropic"
    assert made_for("vertex-ai", "", "") == ""
    assert made_for("vertex-ai", "code_suggestions/generations", "^1.0.0") == "anthropic"
    assert made_for("anthropic", "code_suggestions/generations", "2.0.0") == ""
