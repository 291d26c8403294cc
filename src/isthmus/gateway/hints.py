"""Which model a caller's hints mean: the provider and model names that the wire knows, as data.

Source: HTTP gateway contract, sections 4.2.1, 4.3, 4.4 and 4.8.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from isthmus.core.errors import FieldError, Invalid

Kind: TypeAlias = Literal["completion", "generation"]

AMAZON_Q = "amazon_q"
_SELF_HOSTED = frozenset(
    {
        "codegemma",
        "codellama",
        "codestral",
        "deepseekcoder",
        "llama3",
        "mistral",
        "mixtral",
        "claude_3",
        "gpt",
    }
)
_FIREWORKS = _SELF_HOSTED | {"codestral-2501", "codestral-2508", "qwen2p5-coder-7b"}
_SONNET = "claude_sonnet_4_5_20250929"

ALLOWED: Mapping[Kind, Mapping[str, frozenset[str]]] = {
    "completion": {
        "anthropic": frozenset({"claude-sonnet-4-5-20250929", "claude-sonnet-4-5@20250929"}),
        "vertex-ai": frozenset({"codestral-2501", "codestral-2508"}),
        "litellm": _FIREWORKS,
        "codestral": _FIREWORKS,
        "fireworks_ai": _FIREWORKS,
        AMAZON_Q: frozenset({AMAZON_Q}),
        "gitlab": frozenset(
            {
                "",
                "codestral_2501_fireworks",
                "codestral_2508_fireworks",
                "codestral_2501_vertex",
                "codestral_2508_vertex",
                _SONNET,
                f"{_SONNET}_vertex",
            }
        ),
    },
    "generation": {
        "anthropic": frozenset(),
        "vertex-ai": frozenset({"code-bison@002", "gemini-2.5-flash"}),
        "litellm": _SELF_HOSTED,
        "codestral": _SELF_HOSTED,
        "fireworks_ai": _SELF_HOSTED,
        AMAZON_Q: frozenset({AMAZON_Q}),
        "gitlab": frozenset(),
    },
}
"""Provider -> model names that may be sent with it."""

_IDS: Mapping[tuple[str, str], str] = {
    ("vertex-ai", "codestral-2501"): "codestral_2508_vertex",
    ("vertex-ai", "codestral-2508"): "codestral_2508_vertex",
    ("fireworks_ai", "codestral-2501"): "codestral_2501_fireworks",
    ("fireworks_ai", "codestral-2508"): "codestral_2508_fireworks",
    ("fireworks_ai", ""): "codestral_2501_fireworks",
    ("anthropic", "claude-sonnet-4-5-20250929"): _SONNET,
    ("anthropic", "claude-sonnet-4-5@20250929"): _SONNET,
    ("anthropic", ""): _SONNET,
}
"""Names of the wire -> identifiers of the catalogue; any other name is one itself."""

_NAMED_FOR_GENERATION = frozenset({"anthropic", "litellm", "gitlab"})
_CUSTOM = frozenset({"litellm", "codestral"})
_DEFAULTED = frozenset({"", "vertex-ai"})
"""Providers that the contract puts in one row with no hint at all: the default may serve."""


@dataclass(frozen=True, slots=True)
class ModelHint:
    """What a caller says of the model it wants. Empty fields were not given.

    With `yielding`, the feature's default serves when the model named here cannot.
    """

    provider: str = ""
    name: str = ""
    endpoint: str = ""
    api_key: str = field(default="", repr=False)
    identifier: str = ""
    yielding: bool = False


NO_HINT = ModelHint()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model to ask the catalogue for ("" is the default); whether the default may stand in."""

    model_id: str = ""
    or_default: bool = True


_ANY = Wanted()


def check_name(kind: Kind, provider: str, name: str | None) -> None:
    """Raises Invalid when this provider takes no such model name; no provider, no check."""
    allowed = ALLOWED[kind].get(provider)
    if allowed is not None and name not in allowed:
        reason = f"not a model of {provider} for code {kind}s"
        raise Invalid("Validation error", (FieldError("model_name", reason),))


def wanted(kind: Kind, hint: ModelHint) -> Wanted:
    """The model that the hints mean."""
    if kind == "generation" and hint.provider not in _NAMED_FOR_GENERATION:
        return _ANY
    if not hint.provider and not hint.name:
        return _ANY
    model_id = _IDS.get((hint.provider, hint.name), hint.name)
    or_default = hint.yielding or hint.provider in _DEFAULTED or not model_id
    return Wanted(model_id, or_default)


def custom(hint: ModelHint) -> bool:
    """Whether the caller names a server of its own, to be called with its own key."""
    return hint.provider in _CUSTOM and bool(hint.endpoint or hint.api_key)


def component_hint(kind: Kind, provider: str, metadata: ModelHint | None) -> ModelHint:
    """The hint of a request made of components: its provider, and the body's model metadata.

    Metadata that names another provider than ours stands for a self-hosted model. The provider
    alone counts for Amazon Q, and for generations without metadata.
    """
    if AMAZON_Q in (provider, metadata.provider if metadata else ""):
        return ModelHint(provider=AMAZON_Q)
    if metadata is None:
        return ModelHint(provider=provider) if kind == "generation" else NO_HINT
    if metadata.provider == "gitlab":
        return ModelHint("gitlab", metadata.name or metadata.identifier, yielding=True)
    return replace(metadata, provider="litellm", yielding=True)
