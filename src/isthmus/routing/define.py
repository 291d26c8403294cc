"""Tells which models there are and which a feature offers: the body of the definitions route.

Source: HTTP gateway contract, section 8.3.
"""

from collections.abc import Collection

from msgspec import Struct

from isthmus.routing.catalogue import (
    Catalogue,
    Deprecation,
    Dev,
    Feature,
    FeatureDeprecation,
)
from isthmus.routing.plan import equals

DRAWN = "__default__"
"""Before a feature's name: one of its defaults, whichever is drawn."""


class ModelDefinition(Struct, frozen=True):
    """A model that callers may name."""

    name: str
    identifier: str
    provider: str | None
    deprecation: Deprecation | None
    description: str | None
    cost_indicator: str | None


class FeatureDefinition(Struct, frozen=True):
    """What a feature setting offers."""

    feature_setting: str
    default_model: str
    default_models: tuple[str, ...]
    models_for_tags: dict[str, str]
    models_for_size_preference: dict[str, str]
    selectable_models: tuple[str, ...]
    beta_models: tuple[str, ...]
    deprecated_models: tuple[FeatureDeprecation, ...]
    dev: Dev | None
    unit_primitives: tuple[str, ...]


class Definitions(Struct, frozen=True):
    """Every model and every feature setting."""

    models: tuple[ModelDefinition, ...]
    unit_primitives: tuple[FeatureDefinition, ...]


def define(catalogue: Catalogue, configured: Collection[str], *, several: bool) -> Definitions:
    """The catalogue as callers see it.

    A feature's defaults are those that can serve here, if there are any. With `several`, a feature
    with more than one gets an entry that stands for whichever is drawn.
    """
    models = [
        ModelDefinition(
            name=f"{model.name} - {model.vendor}" if model.vendor else model.name,
            identifier=model.id,
            provider=model.vendor,
            deprecation=model.deprecation,
            description=model.description,
            cost_indicator=model.cost_indicator,
        )
        for model in catalogue.models.values()
    ]
    features: list[FeatureDefinition] = []
    for feature in catalogue.features.values():
        able = tuple(choice.id for choice in equals(catalogue, feature, configured))
        defaults: tuple[str, ...] = able or feature.default_models
        first, *others = defaults
        drawn = several and bool(others)
        features.append(_feature(feature, defaults, drawn=drawn))
        if drawn:
            name, identifier = catalogue.models[first].name, features[-1].default_model
            models.append(ModelDefinition(name, identifier, None, None, None, None))
    return Definitions(tuple(models), tuple(features))


def _feature(feature: Feature, defaults: tuple[str, ...], *, drawn: bool) -> FeatureDefinition:
    default = f"{DRAWN}{feature.feature}" if drawn else defaults[0]
    return FeatureDefinition(
        feature_setting=feature.feature,
        default_model=default,
        default_models=defaults,
        models_for_tags=feature.models_for_tags,
        models_for_size_preference=feature.models_for_tags,
        selectable_models=((default,) if drawn else ()) + feature.selectable_models,
        beta_models=feature.beta_models,
        deprecated_models=feature.deprecated_models,
        dev=feature.dev,
        unit_primitives=feature.unit_primitives,
    )
