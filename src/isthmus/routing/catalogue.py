"""What `library/models.yml` says: models, their limits and prices, and each feature's defaults."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct

from isthmus.core.errors import Forbidden
from isthmus.core.messages import ModelChoice
from isthmus.core.notation import decode
from isthmus.routing.region import ANYWHERE, Bounds
from isthmus.settings import DeploymentSettings, ModelsSettings, OpenAISettings

Kind: TypeAlias = Literal["chat", "infill", "embedding"]
ProviderName: TypeAlias = Literal[
    "anthropic",
    "openai",
    "azure",
    "vertex",
    "bedrock",
    "mistral",
    "fireworks",
    "custom",
    "amazon_q",
    "local",
    "scripted",
]
COMPATIBLE = "openai_compatible"
"""The entry whose upstream name is the `providers.openai` setting's."""

PROXIED = {
    "vertex": frozenset(
        (
            "code-bison",
            "code-bison@002",
            "text-bison",
            "text-bison@002",
            "chat-bison",
            "codechat-bison",
            "text-embedding-005",
            "codestral-2501",
            "codestral-2508",
            "gemini-2.5-flash",
            "claude-sonnet-4-5@20250929",
        )
    )
}
"""Names that a proxy route may carry besides the entries': many of them are served no more.

Source: HTTP gateway contract, section 7.3.
"""

NO_DEPLOYMENTS: Mapping[str, DeploymentSettings] = {}
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


class Deprecation(Struct, frozen=True, forbid_unknown_fields=True):
    """When a model goes; the version is GitLab's."""

    deprecation_date: date
    removal_version: str


class FeatureDeprecation(Struct, frozen=True, forbid_unknown_fields=True):
    """When a model goes from one feature."""

    identifier: Identifier
    deprecation_date: date
    removal_version: str


class CompletionStyle(Struct, frozen=True, forbid_unknown_fields=True):
    """How a model that fills in code is asked: with prefix and suffix apart, or as one text."""

    type: Literal["fim", "text"]
    fim_format: str = ""


class Reasoning(Struct, frozen=True, forbid_unknown_fields=True):
    """Reasoning settings of OpenAI models."""

    effort: str | int | None = None
    summary: str | None = None


class Params(Struct, frozen=True, forbid_unknown_fields=True):
    """What every call to a model says; settings may lay more over it, a key of its own included."""

    model: str = ""
    identifier: str = ""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: Annotated[int, Meta(gt=0)] | None = None
    verbosity: str | None = None
    reasoning: Reasoning = Reasoning()
    thinking_level: str | None = None
    extra_headers: dict[str, str] = {}
    api_key: str = ""

    def __repr__(self) -> str:
        return f"Params({self.model!r})"


class DeploymentEntry(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One place where a model is served; what is empty is the model's own."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@/-]{0,63}$")]
    provider: ProviderName | Literal[""] = ""
    upstream: str = ""
    region: str = ""
    base_url: str = ""
    api_key: str = ""
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    concurrency: Annotated[int, Meta(gt=0)] | None = None

    def __repr__(self) -> str:
        return f"DeploymentEntry({self.name!r})"


class Model(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry. An empty `upstream` is filled from settings, by the provider, or by the caller.

    A `self_hosted` one stands for a family: only a request that names a server can use it.
    Source of the fields: HTTP gateway contract, section 9.4.
    """

    id: Identifier
    name: str
    provider: ProviderName
    max_context_tokens: Annotated[int, Meta(gt=0)]
    max_output_tokens: Annotated[int, Meta(gt=0)]
    kinds: Annotated[tuple[Kind, ...], Meta(min_length=1)]
    upstream: str = ""
    engine: str = ""
    vendor: str | None = None
    family: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    params: Params = Params()
    description: str | None = None
    cost_indicator: Literal["$", "$$", "$$$", "$$$$"] | None = None
    deprecation: Deprecation | None = None
    proxy_provider: Literal["anthropic", "openai"] | None = None
    completion: CompletionStyle | None = None
    prefill: bool = False
    strip_reasoning: bool = False
    single_system: bool = False
    self_hosted: bool = False
    prices: Prices | None = None
    deployments: tuple[DeploymentEntry, ...] = ()
    """Where it is served; none: by its provider, as that is set."""


class Dev(Struct, frozen=True, forbid_unknown_fields=True):
    """What developers may choose besides."""

    selectable_models: tuple[Identifier, ...] = ()


class Feature(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A feature setting: what kind of call it makes and which models serve it, best first.

    `fallback_models` serve when the provider of no default is configured.
    Source of the fields: HTTP gateway contract, section 9.5.
    """

    feature: Identifier
    kind: Kind
    default_models: Annotated[tuple[Identifier, ...], Meta(min_length=1)]
    fallback_models: tuple[Identifier, ...] = ()
    unit_primitives: tuple[Identifier, ...] = ()
    models_for_tags: dict[str, Identifier] = {}
    selectable_models: tuple[Identifier, ...] = ()
    beta_models: tuple[Identifier, ...] = ()
    deprecated_models: tuple[FeatureDeprecation, ...] = ()
    dev: Dev | None = None

    @property
    def candidates(self) -> tuple[str, ...]:
        """Every model that may serve without being asked for, best first."""
        return self.default_models + self.fallback_models


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[Model, ...]
    features: tuple[Feature, ...]
    lists: dict[str, tuple[Identifier, ...]] = {}
    cache_life_s: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Compatible:
    """The upstream names behind `openai_compatible`.

    None: settings name none, so it serves no feature. "": the provider asks the server.
    """

    chat: str | None = None
    infill: str | None = None

    def upstream(self, kind: Kind) -> str | None:
        """The name for a kind of call; None when it cannot serve it."""
        return {"chat": self.chat, "infill": self.infill}.get(kind)


@dataclass(frozen=True, slots=True)
class CustomModels:
    """What callers may say of servers of their own. `headers` go with every call to one.

    `keys` are the operator's own, by the address that they belong to.
    """

    enabled: bool = False
    fireworks_url: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Models and features, checked when loaded."""

    models: Mapping[str, Model]
    features: Mapping[str, Feature]
    compatible: Compatible = Compatible()
    custom: CustomModels = CustomModels()
    cache_life_s: Mapping[str, float] = field(default_factory=dict[str, float])
    """Provider -> how long it keeps the beginning of a prompt after its last use, in seconds."""
    barred: Mapping[str, str] = field(default_factory=dict[str, str])
    """Models that are left out for an instance, and why."""
    closed: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """The same for providers' own wires, by provider and the model's name there."""
    bounds: Bounds = ANYWHERE
    selected: bool = False
    """Whether an instance may have the listed models alone, and no other one of a vendor's."""
    extras: Mapping[str, frozenset[str]] = field(default_factory=lambda: PROXIED)

    def admit(self, choice: ModelChoice) -> None:
        """Raises Forbidden for a model, or a place, that is not for this instance."""
        if choice.id in self.barred:
            raise Forbidden(self.barred[choice.id])
        target = choice.target
        elsewhere = target is not None and target.base_url
        # Unless the caller names the server, it is one of ours.
        if not choice.brought or elsewhere:
            return
        if not self.bounds.covers(choice.provider, "", choice.upstream):
            raise Forbidden(f"`{choice.id}` is served in no region of this instance.")
        if self.selected and not self._has(choice):
            raise Forbidden(f"`{choice.upstream}` is not for this instance.")

    def _has(self, choice: ModelChoice) -> bool:
        """Whether an entry is this model, by whatever name it was asked for."""
        return any(
            (model.provider, model.upstream) == (choice.provider, choice.upstream)
            for model in self.models.values()
        )

    def proxied(self, provider: str) -> frozenset[str]:
        """Upstream names that the proxy route of a provider may name."""
        listed = {
            model.upstream for model in self.models.values() if model.proxy_provider == provider
        }
        listed |= self.extras.get(provider, frozenset())
        if provider == "openai" and COMPATIBLE not in self.barred:
            listed |= {self.compatible.chat or "", self.compatible.infill or ""}
        return frozenset(listed - {""})


def parse_catalogue(
    data: bytes,
    models: ModelsSettings,
    openai: OpenAISettings,
    deployments: Mapping[str, DeploymentSettings] = NO_DEPLOYMENTS,
) -> Catalogue:
    """Read the model list and lay the settings over it. Raises CatalogueError."""
    listed = _decode(data)
    _unique("models", (model.id for model in listed.models))
    _unique("features", (feature.feature for feature in listed.features))
    by_id = {model.id: model for model in listed.models}
    features = {feature.feature: feature for feature in listed.features}
    for feature in listed.features:
        check_feature(feature, by_id)
    for model_id, changes in models.params.items():
        by_id[model_id] = _adjusted(model_id, changes, by_id)
    for name, defaults in models.defaults.items():
        place = f"models.defaults.{name}"
        features[name] = overridden(place, name, defaults, features, by_id)
    by_id |= deployed(deployments, by_id)
    return Catalogue(by_id, features, _compatible(openai), cache_life_s=listed.cache_life_s)


def check_feature(feature: Feature, models: Mapping[str, Model]) -> None:
    """Raises CatalogueError unless the models of a feature exist, fit it and are described."""
    place = f"models.yml: features.{feature.feature}"
    _serving(feature.candidates, feature.kind, f"{place}.default_models", models)
    chosen = feature.selectable_models + feature.beta_models
    _serving(chosen, feature.kind, f"{place}.selectable_models", models)
    _serving(tuple(feature.models_for_tags.values()), "chat", f"{place}.models_for_tags", models)
    for model_id in feature.selectable_models:
        if models[model_id].description is None or models[model_id].cost_indicator is None:
            raise CatalogueError(f"{place}: `{model_id}` needs a description and a cost_indicator")
    for wanted, key in (
        (feature.default_models, "default_models"),
        (tuple(each.identifier for each in feature.deprecated_models), "deprecated_models"),
    ):
        missing = [each for each in wanted if each not in feature.selectable_models]
        if feature.selectable_models and missing:
            raise CatalogueError(f"{place}.{key}: `{missing[0]}` is not selectable")


def _decode(data: bytes) -> _File:
    try:
        raw = decode(data, object)
    except msgspec.DecodeError as error:
        raise CatalogueError(f"models.yml is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise CatalogueError("models.yml must be a mapping with `models` and `features`")
    tree = cast("dict[str, object]", raw)
    try:
        return msgspec.convert(tree, _File)
    except msgspec.ValidationError as error:
        # Only now is it worth the time to find out which entry is wrong.
        for key, name, kind in (("models", "id", Model), ("features", "feature", Feature)):
            entries = tree.get(key)
            if isinstance(entries, list):
                for index, entry in enumerate(cast("list[object]", entries)):
                    _entry(entry, f"{key}[{index}]", name, kind)
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


def _serving(listed: tuple[str, ...], kind: Kind, place: str, models: Mapping[str, Model]) -> None:
    for model_id in listed:
        model = models.get(model_id)
        if model is None:
            raise CatalogueError(f"{place}: unknown model `{model_id}`")
        if kind not in model.kinds:
            raise CatalogueError(f"{place}: `{model_id}` does not serve {kind}")


def _adjusted(model_id: str, changes: Mapping[str, object], models: Mapping[str, Model]) -> Model:
    """A model with a setting's parameters laid over its own. No value is named: it may be a key."""
    place = f"models.params.{model_id}"
    model = models.get(model_id)
    if model is None:
        raise CatalogueError(f"{place}: unknown model `{model_id}`")
    own = {name: getattr(model.params, name) for name in model.params.__struct_fields__}
    try:
        params = msgspec.convert(own | dict(changes), Params, from_attributes=True)
    except msgspec.ValidationError as error:
        raise CatalogueError(f"{place}: {error}") from error
    upstream = params.identifier or params.model or model.upstream
    return msgspec.structs.replace(model, params=params, upstream=upstream)


def overridden(
    place: str,
    name: str,
    defaults: tuple[str, ...],
    features: Mapping[str, Feature],
    models: Mapping[str, Model],
) -> Feature:
    """A feature with other defaults. Raises CatalogueError; `place` is the setting's path."""
    if name not in features:
        raise CatalogueError(f"{place}: unknown feature `{name}`")
    if not defaults:
        raise CatalogueError(f"{place}: name at least one model")
    _serving(defaults, features[name].kind, place, models)
    return msgspec.structs.replace(features[name], default_models=defaults, fallback_models=())


def deployed(
    deployments: Mapping[str, DeploymentSettings], models: Mapping[str, Model]
) -> dict[str, Model]:
    """The models for which settings say where they are served. Raises CatalogueError."""
    found: dict[str, list[DeploymentEntry]] = {}
    for name, one in deployments.items():
        place = f"routing.deployments.{name}"
        if one.model not in models:
            raise CatalogueError(f"{place}.model: unknown model `{one.model}`")
        fields = one.model_dump(exclude={"model", "api_key"})
        try:
            entry = msgspec.convert(
                {"name": name, "api_key": one.api_key.get_secret_value(), **fields}, DeploymentEntry
            )
        except msgspec.ValidationError as error:
            raise CatalogueError(f"{place}: {error}") from error
        found.setdefault(one.model, []).append(entry)
    return {
        model_id: msgspec.structs.replace(models[model_id], deployments=tuple(entries))
        for model_id, entries in found.items()
    }


def _compatible(openai: OpenAISettings) -> Compatible:
    if openai.base_url.rstrip("/") != OpenAISettings.model_fields["base_url"].default:
        return Compatible(openai.model, openai.completion_model or openai.model)
    return Compatible(openai.model or None, openai.completion_model or openai.model or None)
