"""Which models can serve a call: the one asked for, else a feature's defaults and fallbacks."""

from collections.abc import Collection, Iterator

from isthmus.core.errors import Forbidden, NotFound, Unavailable
from isthmus.core.messages import ModelChoice, Target, Tuning
from isthmus.routing.catalogue import COMPATIBLE, Catalogue, Feature, Kind, Model
from isthmus.routing.deployment import door_of

ENGINES = {"vertex": "vertex-ai", "fireworks": "fireworks_ai"}
"""Provider -> the name that replies and metrics show, where it is another one."""


def candidates(
    catalogue: Catalogue, feature: str, asked: str | None, configured: Collection[str]
) -> tuple[ModelChoice, ...]:
    """Models that can serve a feature, best first; at least one.

    A model that was asked for stands alone: nobody is given another one silently. `configured` are
    the providers at hand. Raises NotFound for an unknown feature or model, or one of another kind;
    Forbidden for one that the instance may not use; Unavailable when nothing is left.
    """
    wanted = catalogue.features.get(feature)
    if wanted is None:
        raise NotFound(f"There is no feature setting `{feature}`.")
    if asked:
        return (_asked(catalogue, wanted, asked, configured),)
    found = tuple(_at_hand(catalogue, wanted, wanted.candidates, configured))
    if not found:
        raise Unavailable(f"No model is configured for `{feature}`.")
    return found


def equals(
    catalogue: Catalogue, feature: Feature, configured: Collection[str]
) -> tuple[ModelChoice, ...]:
    """The feature's defaults that can serve, any of which may be chosen; maybe none."""
    return tuple(_at_hand(catalogue, feature, feature.default_models, configured))


def others(
    catalogue: Catalogue, feature: str, configured: Collection[str]
) -> tuple[ModelChoice, ...]:
    """Models that may stand in for one of a feature, best first; no scripted one ever does."""
    wanted = catalogue.features.get(feature)
    if wanted is None:
        return ()
    found = _at_hand(catalogue, wanted, wanted.candidates, configured)
    return tuple(choice for choice in found if choice.provider != "scripted")


def choice_of(catalogue: Catalogue, model: Model, kind: Kind) -> ModelChoice:
    """The choice that an entry stands for, its upstream name filled in."""
    upstream, params = model.upstream, model.params
    if model.id == COMPATIBLE:
        upstream = catalogue.compatible.upstream(kind) or ""
    limit = model.max_output_tokens
    return ModelChoice(
        id=model.id,
        provider=model.provider,
        engine=model.engine or ENGINES.get(model.provider, model.provider),
        upstream=upstream,
        max_context_tokens=model.max_context_tokens,
        max_output_tokens=min(limit, params.max_tokens or limit),
        labels=model.family,
        temperature=params.temperature,
        tuning=tuning_of(model),
        target=Target(api_key=params.api_key) if params.api_key else None,
        vendor=model.vendor or "",
        fills=fills(model),
        prefill=model.prefill,
        single_system=model.single_system,
        reasoning_hidden=model.strip_reasoning,
    )


def fills(model: Model) -> bool:
    """Whether a model completes text around a cursor, rather than being asked to in a chat."""
    return model.completion is not None or model.provider == "local" or model.id == COMPATIBLE


def tuning_of(model: Model, headers: tuple[tuple[str, str], ...] = ()) -> Tuning:
    """What the entry says that every call must say; `headers` are added to its own."""
    params = model.params
    return Tuning(
        top_p=params.top_p,
        top_k=params.top_k,
        effort=params.reasoning.effort,
        summary=params.reasoning.summary,
        verbosity=params.verbosity,
        thinking_level=params.thinking_level,
        fim_format=model.completion.fim_format if model.completion else "",
        headers=(*((name.lower(), text) for name, text in params.extra_headers.items()), *headers),
    )


def _asked(
    catalogue: Catalogue, feature: Feature, asked: str, configured: Collection[str]
) -> ModelChoice:
    model = catalogue.models.get(asked)
    if asked in catalogue.barred:
        raise Forbidden(catalogue.barred[asked])
    if model is None:
        raise NotFound("There is no such model.")
    if feature.kind not in model.kinds:
        raise NotFound(f"`{model.id}` does not serve `{feature.feature}`.")
    if not _can_serve(catalogue, model, feature.kind, configured):
        raise Unavailable(f"The provider of `{model.id}` is not configured.")
    return choice_of(catalogue, model, feature.kind)


def _at_hand(
    catalogue: Catalogue, feature: Feature, listed: tuple[str, ...], configured: Collection[str]
) -> Iterator[ModelChoice]:
    compatible = catalogue.compatible.upstream(feature.kind) is not None
    for model_id in listed:
        model = catalogue.models[model_id]
        # Settings that name a model or a server of the operator's own win over OpenAI's own names.
        shadowed = compatible and model.provider == "openai" and model.id != COMPATIBLE
        if not shadowed and _can_serve(catalogue, model, feature.kind, configured):
            yield choice_of(catalogue, model, feature.kind)


def _can_serve(catalogue: Catalogue, model: Model, kind: Kind, configured: Collection[str]) -> bool:
    if model.deployments:
        return any(
            door_of(entry, model) in configured or entry.api_key or entry.base_url
            for entry in model.deployments
        )
    if model.provider not in configured and not model.params.api_key:
        return False
    return model.id != COMPATIBLE or catalogue.compatible.upstream(kind) is not None
