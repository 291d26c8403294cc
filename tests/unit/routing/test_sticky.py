"""Which model a session gets, and that its text gives the same one again."""

import json
from dataclasses import replace

import pytest

from isthmus.core.errors import NotFound, Unavailable
from isthmus.core.messages import ModelMetadata, Target
from isthmus.routing.catalogue import CustomModels
from isthmus.routing.metadata import lenient
from isthmus.routing.sticky import MAX_TEXT_CHARS, pick
from tests.unit.routing.test_resolve import OPEN, models

CHAT = "duo_agent_platform_agentic_chat"
BOTH = ("vertex", "anthropic")
OWN = ModelMetadata(
    "openai", "mixtral", "custom_openai/own-model", "https://models.example/v1", "k"
)
KEYED = replace(OPEN, keys={"https://models.example/v1": "operators-key"})


@pytest.mark.parametrize("wanted", [None, ModelMetadata("gitlab", feature_setting=CHAT)])
def test_one_of_several_defaults_is_drawn(wanted: ModelMetadata | None) -> None:
    drawn = [pick(models(*BOTH, roll=roll), wanted, CHAT).choice.id for roll in (0.0, 0.49, 0.5)]
    assert drawn == ["claude_sonnet_4_6_vertex", "claude_sonnet_4_6_vertex", "claude_sonnet_4_6"]


def test_a12_64_the_text_of_a_drawn_model_gives_the_same_one_whatever_is_drawn() -> None:
    first = pick(models(*BOTH, roll=0.9), None, CHAT)
    assert json.loads(first.text) == {
        "name": "claude_sonnet_4_6",
        "provider": "gitlab",
        "endpoint": None,
        "identifier": None,
    }
    again = pick(models(*BOTH, roll=0.0), lenient(first.text), CHAT)
    assert again == first


@pytest.mark.parametrize("custom", [OPEN, KEYED])
def test_a12_49_a_server_of_the_operators_is_kept_without_its_key(custom: CustomModels) -> None:
    first = pick(models(custom=custom), OWN, CHAT)
    assert first.choice.target == Target("https://models.example/v1", "k")
    assert json.loads(first.text) == {
        "name": "mixtral",
        "provider": "openai",
        "endpoint": "https://models.example/v1",
        "identifier": "custom_openai/own-model",
    }
    again = pick(models(custom=custom), lenient(first.text), CHAT)
    assert (again.choice.upstream, again.text, again.gone) == ("own-model", first.text, "")
    key = "operators-key" if custom.keys else "dummy_key"
    assert again.choice.target == Target("https://models.example/v1", key)


def test_a_key_is_given_to_its_own_address_alone() -> None:
    elsewhere = replace(OWN, endpoint="https://models.example/v1x", api_key="")
    found = pick(models(custom=KEYED), elsewhere, CHAT)
    assert found.choice.target == Target("https://models.example/v1x", "dummy_key")


def test_keys_are_not_shown() -> None:
    assert "operators-key" not in repr(KEYED)


@pytest.mark.parametrize(
    "wanted",
    [
        ModelMetadata("gitlab", name="model_of_last_year"),
        ModelMetadata("gitlab", name="gpt_5_2"),
        ModelMetadata("openai", name="family_of_last_year", endpoint="https://models.example/v1"),
        ModelMetadata("openai", name="mixtral", endpoint="https://models.example/v1"),
        ModelMetadata("amazon_q", name="amazon_q", role_arn="arn"),
        ModelMetadata("mistral", name="model_of_last_year"),
    ],
)
def test_what_is_gone_is_replaced_and_named(wanted: ModelMetadata) -> None:
    found = pick(models("vertex"), wanted, CHAT)
    assert found.gone == wanted.name
    assert found.choice.id == "claude_sonnet_4_6_vertex"
    assert json.loads(found.text)["name"] == "claude_sonnet_4_6_vertex"


def test_i7_62_an_unknown_choice_of_the_user_is_the_default() -> None:
    wanted = ModelMetadata("gitlab", identifier="duo-chat-sonnet-4-5")
    found = pick(models("vertex"), wanted, CHAT)
    assert (found.choice.id, found.gone) == ("claude_sonnet_4_6_vertex", "")
    of_feature = replace(wanted, feature_setting="review_merge_request_dap")
    assert pick(models("vertex"), of_feature, CHAT).choice.id == "claude_sonnet_5_vertex"


def test_a_choice_of_the_user_that_nobody_serves_is_named() -> None:
    found = pick(models("vertex"), ModelMetadata("gitlab", identifier="gpt_5_2"), CHAT)
    assert (found.choice.id, found.gone) == ("claude_sonnet_4_6_vertex", "gpt_5_2")


@pytest.mark.parametrize(
    "endpoint", ["https://user:secret@models.example/v1", "https://models.example/v1?key=secret"]
)
def test_an_address_that_may_hold_a_secret_is_not_kept(endpoint: str) -> None:
    assert pick(models(custom=OPEN), replace(OWN, endpoint=endpoint), CHAT).text == ""


def test_a_text_is_never_longer_than_a_record_takes() -> None:
    long = pick(models(custom=OPEN), replace(OWN, identifier="x" * 1000), CHAT)
    assert long.text == ""
    fits = pick(models(custom=OPEN), replace(OWN, identifier="x" * 800), CHAT)
    assert 800 < len(fits.text) <= MAX_TEXT_CHARS


def test_nothing_to_serve_with_is_told() -> None:
    with pytest.raises(Unavailable):
        pick(models(), None, CHAT)
    with pytest.raises(NotFound):
        pick(models("vertex"), None, "no_such_feature")
