"""The catalogue as one instance may use it: fewer models, other defaults, fewer places. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from msgspec import structs

from isthmus.routing.catalogue import (
    COMPATIBLE,
    Catalogue,
    CatalogueError,
    Dev,
    Feature,
    Model,
    overridden,
)
from isthmus.routing.region import IN_PROCESS, Bounds
from isthmus.settings import InstanceModels, ListedInstance

PROXIES = ("anthropic", "openai", "vertex")
"""Providers whose own wire is forwarded."""


def narrowed(
    catalogue: Catalogue, name: str, one: ListedInstance, homes: Mapping[str, str]
) -> Catalogue:
    """What is left of a catalogue for an instance. `homes` is as in `Bounds`.

    Raises CatalogueError for models that there are not, and defaults that are not allowed.
    """
    place, bounds = f"instances.{name}.models", Bounds(one.region, homes)
    _known(catalogue, place, one.models)
    kept: dict[str, Model] = {}
    barred: dict[str, str] = {}
    for model in catalogue.models.values():
        there = _within(model, bounds)
        if not _permitted(model, one.models):
            barred[model.id] = f"The model `{model.id}` is not for the instance `{name}`."
        elif there is None:
            barred[model.id] = (
                f"The model `{model.id}` is served in no region of the instance `{name}`."
            )
        else:
            kept[model.id] = there
    features = dict(catalogue.features)
    for feature, defaults in one.models.defaults.items():
        where = f"{place}.defaults.{feature}"
        features[feature] = overridden(where, feature, defaults, features, catalogue.models)
        wrong = next((each for each in defaults if each in barred), None)
        if wrong is not None:
            raise CatalogueError(f"{where}: {barred[wrong]}")
    left = replace(
        catalogue,
        models=kept,
        features={key: _left(feature, kept) for key, feature in features.items()},
        barred=barred,
        bounds=bounds,
        selected=bool(one.models.allow or one.models.deny),
        extras=_extras(catalogue, one, bounds, barred),
    )
    return replace(left, closed=_closed(catalogue, left, name))


def _closed(whole: Catalogue, left: Catalogue, name: str) -> dict[tuple[str, str], str]:
    return {
        (provider, upstream): f"The model `{upstream}` is not for the instance `{name}`."
        for provider in PROXIES
        for upstream in whole.proxied(provider) - left.proxied(provider)
    }


def _known(catalogue: Catalogue, place: str, models: InstanceModels) -> None:
    for key, listed in (("allow", models.allow), ("deny", models.deny)):
        wrong = next((each for each in listed if each not in catalogue.models), None)
        if wrong is not None:
            raise CatalogueError(f"{place}.{key}: unknown model `{wrong}`")


def _permitted(model: Model, models: InstanceModels) -> bool:
    if model.id in models.deny:
        return False
    return not models.allow or model.id in models.allow or model.provider in IN_PROCESS


def _within(model: Model, bounds: Bounds) -> Model | None:
    """The model with the places that are inside; None when it has none."""
    if model.self_hosted:
        # It stands for servers that callers name, wherever those are.
        return model
    if not model.deployments:
        inside = bounds.covers(model.provider, "", model.upstream)
        return model if inside else None
    left = tuple(
        entry
        for entry in model.deployments
        if bounds.covers(
            entry.provider or model.provider, entry.region, entry.upstream or model.upstream
        )
    )
    return structs.replace(model, deployments=left) if left else None


def _left(feature: Feature, kept: Mapping[str, Model]) -> Feature:
    """A feature with the models that are left; it may have no default any more."""

    def among(listed: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(each for each in listed if each in kept)

    dev = feature.dev
    return structs.replace(
        feature,
        default_models=among(feature.default_models),
        fallback_models=among(feature.fallback_models),
        selectable_models=among(feature.selectable_models),
        beta_models=among(feature.beta_models),
        models_for_tags={tag: ref for tag, ref in feature.models_for_tags.items() if ref in kept},
        dev=None if dev is None else Dev(among(dev.selectable_models)),
    )


def _extras(
    catalogue: Catalogue, one: ListedInstance, bounds: Bounds, barred: Mapping[str, str]
) -> Mapping[str, frozenset[str]]:
    """Names beside the entries' that proxies may still carry."""
    if one.models.allow:
        return {}
    gone = {catalogue.models[each].upstream for each in barred if each != COMPATIBLE}
    return {
        provider: frozenset(
            name for name in names if name not in gone and bounds.covers(provider, "", name)
        )
        for provider, names in catalogue.extras.items()
    }
