"""What a prompt file says, checked when it is loaded."""

from typing import Annotated, Literal

import msgspec

from isthmus.core.notation import decode

TemplateKey = Literal[
    "system", "system_static", "system_dynamic", "user", "assistant", "placeholder"
]
OperationType = Literal["standard", "compaction_auto", "compaction_manual"]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_ModelId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,64}$")]
_TEMPLATE_CHARS = 200_000


class Reasoning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Reasoning settings of OpenAI models."""

    effort: str | int | None = None
    summary: str | None = None


class OpenAIParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings that only OpenAI models take; at least one is given."""

    verbosity: str | None = None
    reasoning: Reasoning | None = None

    def __post_init__(self) -> None:
        if self.verbosity is None and self.reasoning in (None, Reasoning()):
            raise ValueError("`openai` must set `verbosity` or `reasoning`")


class ProviderParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings for one kind of provider."""

    openai: OpenAIParams | None = None


class ModelParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a prompt asks of whichever model runs it."""

    model: str | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 1
    extra_headers: dict[str, str] = {}


class ModelPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model's part of a prompt file."""

    params: ModelParams = ModelParams()
    provider_params: ProviderParams = ProviderParams()


class CallParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the prompt is sent."""

    stop: tuple[str, ...] = ()
    timeout: Annotated[float, msgspec.Meta(gt=0)] | None = None
    vertex_location: str | None = None
    cache_control_injection_points: tuple[dict[str, object], ...] = ()
    context_management: dict[str, object] | None = None
    model_id: str | None = None


class PromptFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `<semver>.yml`. Template keys become messages, in the file's order.

    `serves` names other versions, older ones as a rule, that this text answers for as well. Its
    values, and `pin` for the file's own version, are the models that a caller gets who asks for
    exactly that version and names no model. `preamble` says whether the security preamble stands
    before the system message.
    """

    name: _Name
    unit_primitive: _Name
    prompt_template: dict[TemplateKey, str | tuple[str, ...]]
    model: ModelPart = ModelPart()
    params: CallParams = CallParams()
    operation_type: OperationType = "standard"
    serves: dict[str, _ModelId | None] = {}
    pin: _ModelId | None = None
    preamble: bool = True

    def __post_init__(self) -> None:
        if not self.prompt_template:
            raise ValueError("`prompt_template` must hold at least one message")
        for key, text in self.templates.items():
            if len(text) > _TEMPLATE_CHARS:
                raise ValueError(f"`prompt_template.{key}` is too long")

    @property
    def templates(self) -> dict[TemplateKey, str]:
        """The templates, each as one text."""
        return {
            key: text if isinstance(text, str) else "\n".join(text)
            for key, text in self.prompt_template.items()
        }


def parse_prompt(text: str) -> PromptFile:
    """The file's content. Raises ValueError that names the key at fault."""
    try:
        return decode(text, PromptFile)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ValueError(" ".join(str(error).split())) from error
