"""Which model a caller's hints mean: the provider and model names that the wire knows, as data.

Source: HTTP gateway contract, sections 4.2.1, 4.3, 4.4 and 4.8.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from isthmus.core.errors import FieldError, Invalid
from isthmus.core.messages import ModelMetadata

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

_FIREWORKS_DEFAULT = "codestral_2501_fireworks"
_BY_PROVIDER: Mapping[tuple[Kind, str], str] = {
    ("completion", "anthropic"): _SONNET,
    ("completion", "vertex-ai"): "codestral_2508_vertex",
    ("generation", "anthropic"): _SONNET,
    ("generation", "vertex-ai"): f"{_SONNET}_vertex",
}
"""The model of a component that names a provider alone."""
_SELF_HOSTING: Mapping[Kind, frozenset[str]] = {
    "completion": frozenset({"litellm", "codestral"}),
    "generation": frozenset({"litellm"}),
}
_DEFAULTED = frozenset({"", "vertex-ai"})
"""Providers that the contract puts in one row with no hint at all: the default may serve."""
_MADE_FOR_ANTHROPIC = frozenset({"^1.0.0", "1.0.0", "1.1.0-dev", "3.0.2-dev"})


class ModelHint(Struct, frozen=True):
    """What a request of the second version says of the model. Empty fields were not given."""

    provider: str = ""
    name: str = ""
    endpoint: str = ""
    api_key: str = ""
    identifier: str = ""

    def __repr__(self) -> str:
        return f"ModelHint({self.provider!r}, {self.name!r})"

    def metadata(self, provider: str) -> ModelMetadata:
        """The same as model metadata that names this provider."""
        url = self.endpoint.rstrip("/")
        return ModelMetadata(provider, self.name, self.identifier, url, self.api_key)


class Wish(Struct, frozen=True):
    """Which model a caller wants: the catalogue's `model_id`, or what `metadata` means.

    Neither is the feature's default. With `or_default`, that one serves when the other cannot.
    """

    model_id: str = ""
    metadata: ModelMetadata | None = None
    or_default: bool = True
    amazon_q: bool = False


ANY = Wish()
_QUICK_ACTIONS = Wish(amazon_q=True)


def check_name(kind: Kind, provider: str, name: str | None) -> None:
    """Raises Invalid when this provider takes no such model name; no provider, no check."""
    allowed = ALLOWED[kind].get(provider)
    if allowed is not None and name not in allowed:
        reason = f"not a model of {provider} for code {kind}s"
        raise Invalid("Validation error", (FieldError("model_name", reason),))


def wished(kind: Kind, hint: ModelHint) -> Wish:
    """The model that the hints of the second version mean."""
    if hint.provider == AMAZON_Q:
        return _QUICK_ACTIONS
    if hint.provider in _SELF_HOSTING[kind]:
        return Wish(metadata=hint.metadata(hint.provider), or_default=False)
    if kind == "generation" and hint.provider != "anthropic":
        return ANY
    model_id = _IDS.get((hint.provider, hint.name), hint.name)
    if hint.provider == "fireworks_ai" and (hint.provider, hint.name) not in _IDS:
        model_id = _FIREWORKS_DEFAULT
    return Wish(model_id, or_default=hint.provider in _DEFAULTED or not model_id)


def wished_for_prompt(hint: ModelHint, metadata: ModelMetadata | None) -> Wish:
    """The model for a registered prompt: on a server that the hints name, else by metadata."""
    if hint.provider == AMAZON_Q:
        return _QUICK_ACTIONS
    if hint.provider and hint.name:
        return Wish(metadata=hint.metadata("custom_openai"))
    return Wish(metadata=metadata) if metadata is not None else ANY


def wished_by_component(
    kind: Kind, provider: str, metadata: ModelMetadata | None, *, registered: bool
) -> Wish:
    """The model that one component asks for. Without metadata, its provider counts for generations.

    `registered` tells that it names a prompt, whose feature then says which model serves.
    """
    if AMAZON_Q in (provider, metadata.provider if metadata else ""):
        return _QUICK_ACTIONS
    if metadata is not None:
        return Wish(metadata=metadata)
    if kind == "completion" or registered:
        return ANY
    return Wish(_BY_PROVIDER.get((kind, provider), ""))


def wished_by_variant(kind: Kind, provider: str, name: str) -> Wish:
    """The model that one of several components asks for, and no other."""
    if provider == AMAZON_Q:
        return _QUICK_ACTIONS
    model_id = _IDS.get((provider, name), name) or _BY_PROVIDER.get((kind, provider), "")
    return Wish(model_id, or_default=not model_id)


def made_for(provider: str, prompt_id: str, version: str) -> str:
    """The provider that a component's prompt was made for; "" where it makes no difference."""
    if prompt_id:
        return "anthropic" if version in _MADE_FOR_ANTHROPIC else ""
    return "anthropic" if provider == "anthropic" else ""
