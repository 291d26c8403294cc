"""What a caller's model metadata means: a model of the catalogue, or one on a server it names.

Source: HTTP gateway contract, sections 6.3 and 6.4.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from isthmus.core.errors import Forbidden, NotBuilt, Rejected
from isthmus.core.messages import ModelChoice, ModelMetadata, Target
from isthmus.routing.catalogue import Catalogue, CustomModels, Kind, Model
from isthmus.routing.plan import choice_of, tuning_of

AMAZON_Q = "amazon_q"
OURS = "gitlab"
PLACEHOLDER_KEY = "dummy_key"
"""Sent to servers that want some key and get none."""

PROVIDERS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "bedrock",
    "codestral": "mistral",
    "custom_openai": "custom",
    "fireworks_ai": "fireworks",
    "hosted_vllm": "custom",
    "mistral": "mistral",
    "ollama": "custom",
    "openai": "custom",
    "text-completion-openai": "custom",
    "vertex_ai": "vertex",
}
"""What stands before the first `/` of an identifier -> our provider."""

_ADDRESSED_BY_US = frozenset({"bedrock", "vertex"})
"""Providers whose address is never the caller's."""
_NAMED_BY_CALLERS: Mapping[str, str] = {"fireworks_ai": "fireworks", "mistral": "mistral"}


@dataclass(frozen=True, slots=True)
class Pointed:
    """A model of the catalogue that metadata points at; with another feature's defaults, none."""

    model_id: str = ""
    feature: str = ""


def pointed(metadata: ModelMetadata, catalogue: Catalogue) -> Pointed | None:
    """The catalogue's model, or the feature, that metadata names; None when it names none.

    Raises NotBuilt for Amazon Q.
    """
    if metadata.provider == AMAZON_Q:
        raise NotBuilt("Amazon Q is not served here.")
    if metadata.provider == OURS:
        wanted = metadata.name or metadata.identifier
        if wanted in catalogue.models or wanted in catalogue.barred:
            return Pointed(model_id=wanted)
        if not metadata.name and metadata.feature_setting in catalogue.features:
            return Pointed(feature=metadata.feature_setting)
        return None
    if metadata.provider in _NAMED_BY_CALLERS and not metadata.endpoint:
        model = catalogue.models.get(metadata.name)
        if model is not None and model.provider == _NAMED_BY_CALLERS[metadata.provider]:
            return Pointed(model_id=metadata.name)
    return None


def brought(metadata: ModelMetadata, catalogue: Catalogue, kind: Kind) -> ModelChoice | None:
    """The model on a server that the caller names; None when the catalogue knows no such family.

    Raises Rejected when callers may not name servers or keys, Forbidden for a model that their
    instance may not use.
    """
    if metadata.name in catalogue.barred:
        raise Forbidden(catalogue.barred[metadata.name])
    model = catalogue.models.get(metadata.name)
    if model is None or kind not in model.kinds:
        return None
    _admit(metadata, catalogue.custom)
    provider, upstream = _placed(metadata, model)
    url = "" if provider in _ADDRESSED_BY_US else metadata.endpoint.rstrip("/")
    key = metadata.api_key
    if provider == "custom" and not key and not metadata.identifier.startswith("openai/"):
        key = PLACEHOLDER_KEY
    return replace(
        choice_of(catalogue, model, kind),
        provider=provider,
        engine=metadata.provider,
        upstream=upstream,
        tuning=tuning_of(model, catalogue.custom.headers),
        target=Target(url, key) if url or key else None,
        # A server of the caller's own is asked in the way that its family wants.
        fills=model.completion is not None,
        brought=True,
    )


def needs_target(choice: ModelChoice, configured: Collection[str]) -> bool:
    """Whether nothing says where this choice is to be called."""
    if choice.provider == "custom":
        return choice.target is None or not choice.target.base_url
    return choice.target is None and choice.provider not in configured


def _placed(metadata: ModelMetadata, model: Model) -> tuple[str, str]:
    """Our provider, and the model's name there."""
    prefix, slash, rest = metadata.identifier.partition("/")
    if slash and prefix in PROVIDERS:
        return PROVIDERS[prefix], rest
    if metadata.identifier:
        return "custom", metadata.identifier
    return ("custom" if model.self_hosted else model.provider), model.upstream


def _admit(metadata: ModelMetadata, rules: CustomModels) -> None:
    if rules.enabled:
        return
    listed = metadata.endpoint.rstrip("/") == rules.fireworks_url.rstrip("/")
    if metadata.endpoint and not listed:
        raise Rejected("specifying custom models endpoint is disabled: api_base is not allowed")
    if metadata.api_key and not (metadata.endpoint and listed):
        raise Rejected("specifying custom models endpoint is disabled: api_key is not allowed")
