"""What `library/models.yml` says: models, their limits and prices, and each feature's defaults."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, cast

import msgspec
import yaml
from msgspec import Meta, Struct

from isthmus.settings import ModelsSettings, OpenAISettings

Kind: TypeAlias = Literal["chat", "infill"]
COMPATIBLE = "openai_compatible"
"""The entry whose upstream name is the `providers.openai` setting's."""

Identifier = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,64}$")]
Price = Annotated[float, Meta(ge=0)]


class CatalogueError(ValueError):
    """The model list, or a setting that refers to it, is wrong; names the model and the key."""


class Prices(Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens, as the vendor lists them."""

    input: Price
    output: Price
    cache_read: Price | None = None
    cache_write: Price | None = None


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry. An empty `upstream` is filled from settings, or by the provider."""

    id: Identifier
    name: str
    provider: Literal["anthropic", "openai", "local", "scripted"]
    max_context_tokens: Annotated[int, Meta(gt=0)]
    max_output_tokens: Annotated[int, Meta(gt=0)]
    kinds: Annotated[tuple[Kind, ...], Meta(min_length=1)]
    upstream: str = ""
    engine: str = ""
    family: tuple[str, ...] = ()
    proxy_provider: Literal["anthropic", "openai"] | None = None
    prices: Prices | None = None


class Feature(Struct, frozen=True, forbid_unknown_fields=True):
    """A feature setting: what kind of call it makes and which models serve it, best first."""

    feature: Identifier
    kind: Kind
    default_models: Annotated[tuple[Identifier, ...], Meta(min_length=1)]
    unit_primitives: tuple[Identifier, ...] = ()


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[Model, ...]
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True)
class Compatible:
    """The upstream names behind `openai_compatible`.

    None: settings name none, so it serves no feature. "": the provider asks the server.
    """

    chat: str | None = None
    infill: str | None = None

    def upstream(self, kind: Kind) -> str | None:
        return self.chat if kind == "chat" else self.infill


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Models and features, checked when loaded."""

    models: Mapping[str, Model]
    features: Mapping[str, Feature]
    compatible: Compatible = Compatible()

    def proxied(self, provider: str) -> frozenset[str]:
        """Upstream names that the proxy route of a provider may name."""
        listed = {
            model.upstream for model in self.models.values() if model.proxy_provider == provider
        }
        if provider == "openai":
            listed |= {self.compatible.chat or "", self.compatible.infill or ""}
        return frozenset(listed - {""})


def parse_catalogue(data: bytes, models: ModelsSettings, openai: OpenAISettings) -> Catalogue:
    """Read the model list and lay the settings over it. Raises CatalogueError."""
    listed = _decode(data)
    _unique("models", (model.id for model in listed.models))
    _unique("features", (feature.feature for feature in listed.features))
    by_id = {model.id: model for model in listed.models}
    features = {feature.feature: feature for feature in listed.features}
    for feature in listed.features:
        _check(feature, f"models.yml: features.{feature.feature}.default_models", by_id)
    for name, defaults in models.defaults.items():
        features[name] = _overridden(name, defaults, features, by_id)
    return Catalogue(by_id, features, _compatible(openai))


def _decode(data: bytes) -> _File:
    try:
        # By msgspec, because it takes the loader in C: the other one costs 60 ms of every start.
        raw = cast("object", msgspec.yaml.decode(data))
    except (yaml.YAMLError, msgspec.DecodeError) as error:
        raise CatalogueError(f"models.yml is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise CatalogueError("models.yml must be a mapping with `models` and `features`")
    tree = cast("dict[str, object]", raw)
    for key, name, kind in (("models", "id", Model), ("features", "feature", Feature)):
        entries = tree.get(key)
        if isinstance(entries, list):
            for index, entry in enumerate(cast("list[object]", entries)):
                _entry(entry, f"{key}[{index}]", name, kind)
    try:
        return msgspec.convert(tree, _File)
    except msgspec.ValidationError as error:
        raise CatalogueError(f"models.yml: {error}") from error


def _entry(entry: object, place: str, name: str, kind: type[Struct]) -> None:
    if isinstance(entry, dict):
        place = f"{place} ({cast('dict[str, object]', entry).get(name)})"
    try:
        msgspec.convert(entry, kind)
    except msgspec.ValidationError as error:
        raise CatalogueError(f"models.yml: {place}: {error}") from error


def _unique(key: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise CatalogueError(f"models.yml: {key}: `{twice[0]}` is listed twice")


def _check(feature: Feature, place: str, models: Mapping[str, Model]) -> None:
    for model_id in feature.default_models:
        model = models.get(model_id)
        if model is None:
            raise CatalogueError(f"{place}: unknown model `{model_id}`")
        if feature.kind not in model.kinds:
            raise CatalogueError(f"{place}: `{model_id}` does not serve {feature.kind}")


def _overridden(
    name: str,
    defaults: tuple[str, ...],
    features: Mapping[str, Feature],
    models: Mapping[str, Model],
) -> Feature:
    place = f"models.defaults.{name}"
    if name not in features:
        raise CatalogueError(f"{place}: unknown feature `{name}`")
    if not defaults:
        raise CatalogueError(f"{place}: name at least one model")
    feature = msgspec.structs.replace(features[name], default_models=defaults)
    _check(feature, place, models)
    return feature


def _compatible(openai: OpenAISettings) -> Compatible:
    if openai.base_url.rstrip("/") != OpenAISettings.model_fields["base_url"].default:
        return Compatible(openai.model, openai.completion_model or openai.model)
    return Compatible(openai.model or None, openai.completion_model or openai.model or None)
