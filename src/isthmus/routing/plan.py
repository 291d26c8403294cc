"""Which model serves a call: the one asked for, else a feature's first default at hand."""

from collections.abc import Collection, Iterator

from isthmus.core.errors import NotFound, Unavailable
from isthmus.core.messages import ModelChoice
from isthmus.routing.catalogue import COMPATIBLE, Catalogue, Feature, Kind, Model


def candidates(
    catalogue: Catalogue, feature: str, asked: str | None, configured: Collection[str]
) -> tuple[ModelChoice, ...]:
    """Models that can serve a feature, best first; at least one.

    A model that was asked for stands alone: nobody is given another one silently. `configured` are
    the providers at hand. Raises NotFound for an unknown feature or model, or one of another kind;
    Unavailable when nothing is left.
    """
    wanted = catalogue.features.get(feature)
    if wanted is None:
        raise NotFound(f"There is no feature setting `{feature}`.")
    if asked:
        return (_asked(catalogue, wanted, asked, configured),)
    found = tuple(_defaults(catalogue, wanted, configured))
    if not found:
        raise Unavailable(f"No model is configured for `{feature}`.")
    return found


def choice_of(catalogue: Catalogue, model: Model, kind: Kind) -> ModelChoice:
    """The choice that an entry stands for, its upstream name filled in."""
    upstream = model.upstream
    if model.id == COMPATIBLE:
        upstream = catalogue.compatible.upstream(kind) or ""
    return ModelChoice(
        id=model.id,
        provider=model.provider,
        engine=model.engine or model.provider,
        upstream=upstream,
        max_context_tokens=model.max_context_tokens,
        max_output_tokens=model.max_output_tokens,
        labels=model.family,
    )


def _asked(
    catalogue: Catalogue, feature: Feature, asked: str, configured: Collection[str]
) -> ModelChoice:
    model = catalogue.models.get(asked)
    if model is None:
        raise NotFound("There is no such model.")
    if feature.kind not in model.kinds:
        raise NotFound(f"`{model.id}` does not serve `{feature.feature}`.")
    if model.provider not in configured or not _named(catalogue, model, feature.kind):
        raise Unavailable(f"The provider of `{model.id}` is not configured.")
    return choice_of(catalogue, model, feature.kind)


def _defaults(
    catalogue: Catalogue, feature: Feature, configured: Collection[str]
) -> Iterator[ModelChoice]:
    compatible = catalogue.compatible.upstream(feature.kind) is not None
    for model_id in feature.default_models:
        model = catalogue.models[model_id]
        # Settings that name a model or a server of the operator's own win over OpenAI's own names.
        shadowed = compatible and model.provider == "openai" and model.id != COMPATIBLE
        if model.provider in configured and not shadowed and _named(catalogue, model, feature.kind):
            yield choice_of(catalogue, model, feature.kind)


def _named(catalogue: Catalogue, model: Model, kind: Kind) -> bool:
    return model.id != COMPATIBLE or catalogue.compatible.upstream(kind) is not None
