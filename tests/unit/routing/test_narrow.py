"""What one instance may use of the catalogue: models, defaults, places."""

from pathlib import Path
from typing import Any

import pytest

from isthmus.app.library import LIBRARY
from isthmus.core.errors import Forbidden, NotFound, Rejected, Unavailable
from isthmus.core.identity import Who
from isthmus.core.messages import ModelChoice, ModelMetadata, Target
from isthmus.routing.calls import Governance
from isthmus.routing.catalogue import Catalogue, CatalogueError, parse_catalogue
from isthmus.routing.models import Models
from isthmus.routing.narrow import narrowed
from isthmus.routing.region import Bounds
from isthmus.settings import (
    DeploymentSettings,
    ListedInstance,
    ModelsSettings,
    OpenAISettings,
    OutboundSettings,
    RoutingSettings,
)
from tests.support.clock import HandClock
from tests.support.sink import MemorySink

LISTED = (Path(LIBRARY) / "models.yml").read_bytes()
SONNET, HAIKU = "claude_sonnet_4_6", "claude_haiku_4_5_20251001"
CHAT = "duo_chat"
HOMES = {"vertex": "europe-west1", "bedrock": "us-east-1"}
PLACES = {
    "eu": DeploymentSettings(model=SONNET, base_url="http://eu", region="eu-west-1"),
    "us": DeploymentSettings(model=SONNET, base_url="http://us", region="us-east-1"),
}


def whole() -> Catalogue:
    models = ModelsSettings(defaults={CHAT: (SONNET, HAIKU)})
    return parse_catalogue(LISTED, models, OpenAISettings(), PLACES)


def narrow(**changes: Any) -> Catalogue:
    one = ListedInstance.model_validate({"url": "http://acme.test", **changes})
    return narrowed(whole(), "acme", one, HOMES)


@pytest.mark.parametrize(
    ("regions", "provider", "region", "upstream", "inside"),
    [
        ((), "openai", "", "m", True),
        (("eu*",), "vertex", "", "m", True),
        (("eu-west-1",), "vertex", "", "m", False),
        (("eu-west-1",), "anthropic", "eu-west-1", "m", True),
        (("eu*",), "anthropic", "", "m", False),
        (("eu*",), "local", "", "m", True),
        (("eu*", "us-east-1"), "bedrock", "", "anthropic.m", True),
        (("us-east-1",), "bedrock", "", "us.anthropic.m", False),
        (("us*",), "bedrock", "", "us.anthropic.m", True),
        (("us*",), "bedrock", "", "global.anthropic.m", False),
        (("eu*",), "bedrock", "eu-west-1", "eu.anthropic.m", True),
    ],
)
def test_a_place_is_inside_when_all_that_is_known_of_it_is(
    regions: tuple[str, ...], provider: str, region: str, upstream: str, *, inside: bool
) -> None:
    assert Bounds(regions, HOMES).covers(provider, region, upstream) is inside


def test_what_is_denied_is_gone_everywhere_and_told_why() -> None:
    left = narrow(models={"deny": [SONNET]})
    assert SONNET not in left.models
    assert left.features[CHAT].default_models == (HAIKU,)
    for feature in left.features.values():
        listed = (*feature.candidates, *feature.selectable_models, *feature.beta_models)
        assert SONNET not in (*listed, *feature.models_for_tags.values())
    assert left.barred == {SONNET: f"The model `{SONNET}` is not for the instance `acme`."}
    assert set(left.closed) == {("anthropic", "claude-sonnet-4-6")}


def test_what_is_allowed_is_all_that_is_left_but_for_models_in_this_process() -> None:
    left = narrow(models={"allow": [SONNET]})
    assert {model.provider for model in left.models.values()} == {"anthropic", "local", "scripted"}
    assert left.proxied("anthropic") == {"claude-sonnet-4-6"}
    assert left.proxied("vertex") == frozenset()


def test_a_region_leaves_the_places_that_are_inside() -> None:
    left = narrow(region="eu*")
    assert [entry.name for entry in left.models[SONNET].deployments] == ["eu"]
    assert HAIKU not in left.models  # nobody knows where it is
    assert "claude_sonnet_4_6_vertex" in left.models
    assert not any(model.provider == "bedrock" for model in left.models.values())
    assert "text-embedding-005" in left.proxied("vertex")
    assert narrow(region="us-east-1").proxied("vertex") == frozenset()


def test_servers_of_callers_stay_where_they_are() -> None:
    left = narrow(region="eu*")
    assert "llama3" in left.models


@pytest.mark.parametrize(
    ("models", "fault"),
    [
        ({"allow": ["nobody"]}, "instances.acme.models.allow: unknown model `nobody`"),
        ({"deny": ["nobody"]}, "instances.acme.models.deny: unknown model `nobody`"),
        ({"defaults": {"x": [SONNET]}}, "instances.acme.models.defaults.x: unknown feature `x`"),
        ({"defaults": {CHAT: []}}, f"instances.acme.models.defaults.{CHAT}: name at least one"),
        (
            {"deny": [HAIKU], "defaults": {CHAT: [HAIKU]}},
            f"instances.acme.models.defaults.{CHAT}: The model `{HAIKU}` is not for",
        ),
    ],
)
def test_what_does_not_fit_is_told_at_the_start(models: object, fault: str) -> None:
    with pytest.raises(CatalogueError, match=fault.replace(".", r"\.")):
        narrow(models=models)


def models_of(left: Catalogue) -> Models:
    """The models for everybody, and for acme."""
    governance = Governance(RoutingSettings(), instances={"acme": left})
    sink, clock = MemorySink(), HandClock()
    return Models({}, whole(), OutboundSettings(), sink, clock, governance)


ACME, OTHER = Who(listed="acme"), Who(instance="acme")


def test_only_a_proven_instance_has_its_own_models() -> None:
    models = models_of(narrow(models={"deny": [SONNET]}))
    assert models.of(OTHER) is models
    assert models.choose(CHAT).id == SONNET
    own = models.of(ACME)
    with pytest.raises(Forbidden, match="not for the instance `acme`"):
        own.choose(CHAT, SONNET)
    with pytest.raises(Forbidden, match="not for the instance `acme`"):
        own.resolve(ModelMetadata(provider="gitlab", name=SONNET), CHAT)
    with pytest.raises(Forbidden, match="not for the instance `acme`"):
        own.resolve(ModelMetadata(provider="custom_openai", name=SONNET), CHAT)
    with pytest.raises(NotFound):
        own.choose(CHAT, "nobody")
    with pytest.raises(Unavailable):
        own.choose(CHAT)
    default = models.choose(CHAT)
    own_tags = own.tagged("duo_agent_platform", ("small", "large"), default)
    assert own_tags is default


def test_a_choice_made_for_everybody_is_not_served_to_an_instance() -> None:
    models = models_of(narrow(models={"deny": [SONNET]}))
    seats = models.of(ACME)._calls.seats  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(Forbidden):
        seats.tiers(CHAT, models.choose(CHAT), "any")
    with pytest.raises(Forbidden):
        seats.proxied("anthropic", "claude-sonnet-4-6")
    with pytest.raises(Rejected):
        seats.proxied("anthropic", "nobody")


def test_a_place_fails_for_all_who_use_it() -> None:
    models = models_of(narrow(region="eu*"))
    choice = models.choose(CHAT)
    (everybody, *_), (own, *_) = (
        each._calls.seats.tiers(CHAT, choice, "model")  # pyright: ignore[reportPrivateUsage]
        for each in (models, models.of(ACME))
    )
    assert [seat.name for seat in everybody] == ["eu", "us"]
    assert [seat.name for seat in own] == ["eu"]
    assert own[0].breaker is everybody[0].breaker


def test_of_a_server_that_a_caller_names_no_region_is_asked() -> None:
    left = narrow(region="eu*")
    choice = ModelChoice("llama3", "custom", "custom_openai", "x", brought=True)
    with pytest.raises(Forbidden, match="no region"):
        left.admit(choice)
    left.admit(ModelChoice("llama3", "vertex", "vertex-ai", "x", brought=True))
    there = Target("http://theirs.test/v1")
    left.admit(ModelChoice("llama3", "custom", "custom_openai", "x", target=there, brought=True))


@pytest.mark.parametrize("models", [{"deny": [SONNET]}, {"allow": [HAIKU, "general"]}])
def test_no_other_name_leads_to_a_model_that_is_not_for_an_instance(
    models: dict[str, list[str]],
) -> None:
    own = models_of(narrow(models=models)).of(ACME)
    seats = own._calls.seats  # pyright: ignore[reportPrivateUsage]

    def brought(upstream: str, url: str = "") -> ModelChoice:
        there = Target(url, "key")
        return ModelChoice("general", "anthropic", "x", upstream, target=there, brought=True)

    with pytest.raises(Forbidden, match="`claude-sonnet-4-6` is not for this instance"):
        seats.tiers(CHAT, brought("claude-sonnet-4-6"), "model")
    seats.tiers(CHAT, brought("claude-haiku-4-5-20251001"), "model")
    seats.tiers(CHAT, brought("claude-sonnet-4-6", "http://theirs.test"), "model")
