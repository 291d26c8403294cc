"""What the hints of a caller mean."""

import pytest

from isthmus.core.errors import Invalid
from isthmus.gateway.hints import (
    ALLOWED,
    Kind,
    ModelHint,
    Wanted,
    check_name,
    component_hint,
    custom,
    wanted,
)


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
        ("completion", ModelHint(), Wanted("", or_default=True)),
        ("completion", ModelHint("gitlab", ""), Wanted("", or_default=True)),
        (
            "completion",
            ModelHint("gitlab", "codestral_2508_vertex"),
            Wanted("codestral_2508_vertex", or_default=False),
        ),
        (
            "completion",
            ModelHint("vertex-ai", "codestral-2501"),
            Wanted("codestral_2508_vertex", or_default=True),
        ),
        (
            "completion",
            ModelHint("fireworks_ai", "codestral-2508"),
            Wanted("codestral_2508_fireworks", or_default=False),
        ),
        (
            "completion",
            ModelHint("anthropic", "claude-sonnet-4-5@20250929"),
            Wanted("claude_sonnet_4_5_20250929", or_default=False),
        ),
        ("generation", ModelHint("vertex-ai", "code-bison@002"), Wanted("", or_default=True)),
        (
            "generation",
            ModelHint("anthropic"),
            Wanted("claude_sonnet_4_5_20250929", or_default=False),
        ),
    ],
)
def test_names_of_the_wire_become_models_of_the_catalogue(
    kind: Kind, hint: ModelHint, expected: Wanted
) -> None:
    assert wanted(kind, hint) == expected


def test_a_server_of_the_caller_s_own_is_recognised() -> None:
    assert custom(ModelHint("litellm", "gpt", endpoint="http://x"))
    assert custom(ModelHint("codestral", "gpt", api_key="k"))
    assert not custom(ModelHint("litellm", "gpt"))
    assert not custom(ModelHint("vertex-ai", endpoint="http://x"))


def test_a_key_is_not_shown() -> None:
    assert "hush" not in repr(ModelHint("litellm", api_key="hush"))


def test_the_provider_of_a_component_counts_for_generations_alone() -> None:
    assert component_hint("completion", "anthropic", None) == ModelHint()
    assert component_hint("generation", "anthropic", None) == ModelHint("anthropic")
    named = ModelHint("gitlab", "", identifier="claude_opus_4_7")
    assert component_hint("generation", "anthropic", named).name == "claude_opus_4_7"
    assert component_hint("completion", "", ModelHint("amazon_q")).provider == "amazon_q"
    assert custom(component_hint("completion", "", ModelHint("openai", endpoint="http://x")))
