"""What model metadata means: the catalogue's models, a feature's, or a server of the caller's."""

from dataclasses import replace
from pathlib import Path

import pytest

import isthmus
from isthmus.core.errors import NotBuilt, NotFound, Rejected, Unavailable
from isthmus.core.messages import ModelMetadata, Target
from isthmus.routing.calls import Governance
from isthmus.routing.catalogue import Catalogue, CustomModels, parse_catalogue
from isthmus.routing.models import SEVERAL_DEFAULTS, Models
from isthmus.settings import ModelsSettings, OpenAISettings, OutboundSettings
from tests.support.clock import HandClock
from tests.support.http_app import ScriptedUpstream
from tests.support.sink import MemorySink

LIBRARY = (Path(isthmus.__file__).parent / "library" / "models.yml").read_bytes()
FIREWORKS = "https://api.fireworks.ai/inference/v1"
CLOSED = CustomModels(fireworks_url=FIREWORKS)
OPEN = CustomModels(enabled=True, fireworks_url=FIREWORKS, headers=(("x-trace-id", "t"),))
CHAT = "duo_chat"


def catalogue(settings: ModelsSettings | None = None, custom: CustomModels = CLOSED) -> Catalogue:
    found = parse_catalogue(LIBRARY, settings or ModelsSettings(), OpenAISettings())
    return replace(found, custom=custom)


def models(
    *configured: str,
    custom: CustomModels = CLOSED,
    settings: ModelsSettings | None = None,
    roll: float = 0.0,
) -> Models:
    providers = {name: ScriptedUpstream(name, (), ()) for name in configured}
    return Models(
        providers,
        catalogue(settings, custom),
        OutboundSettings(),
        MemorySink(),
        HandClock(),
        Governance(roll=lambda: roll),
    )


@pytest.mark.parametrize(
    ("metadata", "chosen"),
    [
        (None, "claude_sonnet_4_6_vertex"),
        (ModelMetadata("gitlab", name="claude_opus_5_vertex"), "claude_opus_5_vertex"),
        (
            ModelMetadata("gitlab", name="claude_opus_5_vertex", identifier="claude_haiku"),
            "claude_opus_5_vertex",
        ),
        (ModelMetadata("gitlab", identifier="gemini_3_5_flash_vertex"), "gemini_3_5_flash_vertex"),
        (
            ModelMetadata("gitlab", feature_setting="review_merge_request_dap"),
            "claude_sonnet_5_vertex",
        ),
        (ModelMetadata("gitlab", identifier="no_such_model"), "claude_sonnet_4_6_vertex"),
        (ModelMetadata("gitlab", feature_setting="nothing"), "claude_sonnet_4_6_vertex"),
        (ModelMetadata("acme", name="no_such_family"), "claude_sonnet_4_6_vertex"),
        (ModelMetadata("fireworks_ai", name="kimi_k3_fireworks"), "kimi_k3_fireworks"),
        (ModelMetadata("mistral", name="devstral_2_mistral"), "devstral_2_mistral"),
    ],
)
def test_metadata_points_into_the_catalogue_or_is_ignored(
    metadata: ModelMetadata | None, chosen: str
) -> None:
    served = models("vertex", "fireworks", "mistral").resolve(metadata, CHAT)
    assert served.id == chosen
    assert served.target is None


def test_a_known_model_whose_provider_is_missing_is_not_replaced() -> None:
    with pytest.raises(Unavailable):
        models("anthropic").resolve(ModelMetadata("gitlab", name="gpt_5_2"), CHAT)
    with pytest.raises(NotFound):
        models("anthropic").resolve(None, "no_such_feature")


def test_amazon_q_is_not_served() -> None:
    with pytest.raises(NotBuilt):
        models("vertex").resolve(ModelMetadata("amazon_q", name="amazon_q"), CHAT)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (ModelMetadata("openai", "mistral", endpoint="http://own/v1"), "api_base is not allowed"),
        (ModelMetadata("openai", "mistral", api_key="k"), "api_key is not allowed"),
    ],
)
def test_servers_of_callers_are_refused_unless_they_are_allowed(
    metadata: ModelMetadata, said: str
) -> None:
    with pytest.raises(Rejected) as raised:
        models("vertex", "custom").resolve(metadata, CHAT)
    assert raised.value.detail == f"specifying custom models endpoint is disabled: {said}"


def test_the_fireworks_address_is_always_allowed() -> None:
    metadata = ModelMetadata("openai", "mistral", "m", f"{FIREWORKS}/", "k")
    assert models("custom").resolve(metadata, CHAT).target == Target(FIREWORKS, "k")


@pytest.mark.parametrize(
    ("identifier", "provider", "upstream", "url", "key"),
    [
        ("custom_openai/Mistral-Small", "custom", "Mistral-Small", "http://own/v1", "dummy_key"),
        ("Mistral-Small", "custom", "Mistral-Small", "http://own/v1", "dummy_key"),
        ("", "custom", "mistral", "http://own/v1", "dummy_key"),
        ("openai/gpt-x", "custom", "gpt-x", "http://own/v1", ""),
        ("meta-llama/Llama-3", "custom", "meta-llama/Llama-3", "http://own/v1", "dummy_key"),
        ("anthropic/claude-x", "anthropic", "claude-x", "http://own/v1", ""),
        ("azure/my-deployment", "azure", "my-deployment", "http://own/v1", ""),
        ("bedrock/a/b", "bedrock", "a/b", None, None),
        ("vertex_ai/gemini-x", "vertex", "gemini-x", None, None),
    ],
)
def test_an_identifier_says_whom_to_call(
    identifier: str, provider: str, upstream: str, url: str | None, key: str | None
) -> None:
    door = models("custom", "anthropic", "azure", "bedrock", "vertex", custom=OPEN)
    choice = door.resolve(ModelMetadata("openai", "mistral", identifier, "http://own/v1"), CHAT)
    assert (choice.id, choice.provider, choice.upstream) == ("mistral", provider, upstream)
    assert choice.engine == "openai"
    assert choice.tuning.headers == (("x-trace-id", "t"),)
    assert choice.target == (None if url is None else Target(url, key or ""))


@pytest.mark.parametrize("identifier", ["azure/x", "", "x", "openai/x"])
def test_a_family_without_a_server_cannot_be_called(identifier: str) -> None:
    with pytest.raises(Rejected, match="`mistral`"):
        models("anthropic", custom=OPEN).resolve(
            ModelMetadata("openai", "mistral", identifier), CHAT
        )


def test_keys_stay_out_of_sight() -> None:
    metadata = ModelMetadata("openai", "mistral", "x", "http://own/v1", "hunter2")
    choice = models("custom", custom=OPEN).resolve(metadata, CHAT)
    assert choice.target == Target("http://own/v1", "hunter2")
    assert "hunter2" not in f"{metadata!r} {choice!r}"


def test_one_of_several_defaults_is_drawn_for_callers_that_know_it() -> None:
    feature = "duo_agent_platform_agentic_chat"
    both = ("claude_sonnet_4_6_vertex", "claude_sonnet_4_6")
    for roll, chosen in ((0.0, both[0]), (0.49, both[0]), (0.5, both[1]), (0.99, both[1])):
        door = models("vertex", "anthropic", roll=roll)
        assert door.resolve(None, feature, (SEVERAL_DEFAULTS,)).id == chosen
        assert door.resolve(None, feature).id == both[0]
    only = models("anthropic", roll=0.99)
    assert only.resolve(None, feature, (SEVERAL_DEFAULTS,)).id == both[1]
    assert models("openai").resolve(None, feature, (SEVERAL_DEFAULTS,)).id == "gpt_5_2"


def test_parameters_of_the_settings_are_laid_over_the_models() -> None:
    changes = {"model": "claude-x", "api_key": "own", "max_tokens": 9, "temperature": 0.5}
    settings = ModelsSettings(params={"claude_sonnet_4_6": changes})
    choice = models("vertex", settings=settings).choose(CHAT, "claude_sonnet_4_6")
    assert (choice.upstream, choice.max_output_tokens, choice.temperature) == ("claude-x", 9, 0.5)
    assert choice.target == Target(api_key="own")


def test_what_callers_may_choose() -> None:
    told = models("anthropic").definitions()
    by_id = {model.identifier: model for model in told.models}
    assert by_id["claude_sonnet_4_6"].name == "Claude Sonnet 4.6 - Anthropic"
    assert by_id["mistral"].name == "Mistral"
    features = {feature.feature_setting: feature for feature in told.unit_primitives}
    chat = features["duo_agent_platform_agentic_chat"]
    assert chat.default_model == "claude_sonnet_4_6", "the first default that can serve here"
    assert features["code_completions"].default_models == ("codestral_2508_fireworks",)
    assert set(chat.selectable_models) <= set(by_id)


def test_a_feature_with_several_defaults_offers_whichever_is_drawn() -> None:
    told = models("anthropic", "vertex").definitions((SEVERAL_DEFAULTS,))
    features = {feature.feature_setting: feature for feature in told.unit_primitives}
    chat = features["duo_agent_platform_agentic_chat"]
    drawn = "__default__duo_agent_platform_agentic_chat"
    assert chat.default_model == chat.selectable_models[0] == drawn
    entry = next(model for model in told.models if model.identifier == drawn)
    assert (entry.name, entry.provider) == ("Claude Sonnet 4.6", None)
    assert features["code_completions"].default_model == "codestral_2508_fireworks"
