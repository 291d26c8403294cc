"""What a flow's file, or an inline configuration, says. Checked as far as one part goes. Pure.

Source: agent-platform contract, sections 7.2 to 7.9.
"""

from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct

from isthmus.platform.address import Written
from isthmus.prompts.schema import ProviderParams, TemplateKey

MAX_DEPTH = 40
Name: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_./@ -]+$")
]
_Text = Annotated[str, Meta(max_length=8_192)]
_Inputs = Annotated[tuple[Written, ...], Meta(max_length=100)]
_Names = Annotated[tuple[Name, ...], Meta(max_length=500)]
_Version = Annotated[str, Meta(min_length=1, max_length=100)]
_Role = Literal["agent", "tool"]
_Tags = Name | _Names | None
Toolset: TypeAlias = Annotated[
    tuple[Name | dict[str, dict[str, str | int | float | bool | None]], ...],
    Meta(max_length=500),
]
_TurnEvent = Literal[
    "on_agent_final_answer",
    "on_agent_reasoning",
    "on_tool_execution_success",
    "on_tool_execution_failed",
]
DelegationEvent = Literal["on_delegation", "on_delegation_returns", "on_delegation_error"]


class CompactionPart(Struct, frozen=True, forbid_unknown_fields=True):
    """When an agent's history is summed up, and what stays as it was."""

    max_recent_messages: Annotated[int, Meta(ge=1, le=10_000)] = 10
    recent_messages_token_budget: Annotated[int, Meta(ge=1, le=10_000_000)] = 40_000
    trim_threshold: Annotated[float, Meta(gt=0, le=1)] = 0.7


class CyclesPart(Struct, frozen=True, forbid_unknown_fields=True):
    """Turns of a model, and how many before the last one it is warned; 0 stands for the usual."""

    threshold: Annotated[int, Meta(ge=1, le=10_000)] = 280
    iteration_warning_offset: Annotated[int, Meta(ge=0, le=10_000)] | None = 10


class SubagentPart(Struct, frozen=True, forbid_unknown_fields=True):
    """An agent that another one may hand work to."""

    name: Name


class AgentPart(Struct, frozen=True, forbid_unknown_fields=True, tag="AgentComponent"):
    """A model with tools; with `subagents`, a supervisor."""

    name: Name
    prompt_id: Name
    toolset: Toolset
    prompt_version: _Version | None = None
    inputs: _Inputs = ("context:goal",)
    compaction: bool | CompactionPart = True
    response_schema_id: Name | None = None
    response_schema_version: _Version | None = None
    response_schema_tracking: bool = False
    response_schema_tracking_context: Annotated[dict[Name, Written], Meta(max_length=20)] = {}
    require_tool_approval: bool = False
    pre_approved_tools: _Names = ()
    max_cycles: Annotated[int, Meta(ge=1, le=10_000)] | CyclesPart = 280
    max_wrap_up_retries: Annotated[int, Meta(ge=0, le=100)] = 3
    description: _Text | None = None
    ui_log_events: tuple[
        _TurnEvent | Literal["on_tool_approval_request"] | DelegationEvent, ...
    ] = ()
    ui_role_as: _Role = "agent"
    subagents: Annotated[tuple[SubagentPart, ...], Meta(min_length=1, max_length=50)] | None = None
    max_delegations: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    parallel_subagents: bool = False
    enable_web_search: bool = False
    model_tags: _Tags = None
    model_size_preference: _Tags = None
    environment: str | None = None


class OneOffPart(Struct, frozen=True, forbid_unknown_fields=True, tag="OneOffComponent"):
    """One turn of a model, which has to call tools."""

    name: Name
    prompt_id: Name
    toolset: Toolset
    prompt_version: _Version | None = None
    inputs: _Inputs = ("context:goal",)
    compaction: bool | CompactionPart = True
    max_correction_attempts: Annotated[int, Meta(ge=0, le=100)] = 3
    ui_log_events: tuple[_TurnEvent | Literal["on_tool_call_input"], ...] = ()
    ui_role_as: _Role = "tool"
    model_tags: _Tags = None
    model_size_preference: _Tags = None
    environment: str | None = None


class StepPart(Struct, frozen=True, forbid_unknown_fields=True, tag="DeterministicStepComponent"):
    """One call of one tool."""

    name: Name
    tool_name: Name
    inputs: _Inputs = ()
    toolset: Toolset = ()
    ui_log_events: tuple[Literal["on_tool_execution_success", "on_tool_execution_failed"], ...] = ()
    ui_role_as: _Role = "tool"
    environment: str | None = None


class QuestionPart(Struct, frozen=True, forbid_unknown_fields=True, tag="HumanInputComponent"):
    """A pause for the user."""

    name: Name
    sends_response_to: Name
    interaction_type: Literal["approval", "input"] = "input"
    message_template: Annotated[str, Meta(max_length=65_536)] | None = None
    inputs: _Inputs = ()
    ui_log_events: tuple[Literal["on_user_input_prompt", "on_user_response"], ...] = ()
    environment: str | None = None


Part: TypeAlias = AgentPart | OneOffPart | StepPart | QuestionPart


class Condition(Struct, frozen=True, forbid_unknown_fields=True):
    """A choice by a value's text."""

    input: Written
    routes: Annotated[dict[str, Name], Meta(min_length=1, max_length=100)]


class RouterPart(Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """Where to go behind a component."""

    source: Name
    to: Name | None = None
    condition: Condition | None = None


class ModelParams(Struct, frozen=True):
    """What a prompt asks of its model; what only some providers know is left out."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=1)] | None = None


class ModelPart(Struct, frozen=True):
    """The model's part of a prompt."""

    params: ModelParams = ModelParams()
    provider_params: ProviderParams = ProviderParams()


class CallParams(Struct, frozen=True):
    """How a prompt is sent."""

    stop: tuple[str, ...] = ()
    timeout: Annotated[float, Meta(gt=0)] | None = None


class PromptPart(Struct, frozen=True, forbid_unknown_fields=True):
    """An inline prompt. Its templates become messages in the order of the keys."""

    prompt_id: Name
    prompt_template: Annotated[
        dict[TemplateKey, str | tuple[str, ...]], Meta(min_length=1, max_length=6)
    ]
    name: str = ""
    model: ModelPart | None = None
    unit_primitives: tuple[Name, ...] = ()
    params: CallParams | None = None
    operation_type: str = "standard"


class SchemaPart(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON Schema of an answer."""

    schema_id: Name
    definition: dict[str, object]


class FieldPart(Struct, frozen=True):
    """A field of an input's schema."""

    type: Literal["string", "integer", "number", "boolean", "array", "object", "null"]
    optional: bool = False


class InputPart(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that the client is to attach."""

    category: Name
    input_schema: Annotated[dict[str, FieldPart], Meta(max_length=100)] = {}
    version_constraint: Annotated[str, Meta(max_length=100)] = "^1.0.0"


class EntryPart(Struct, frozen=True):
    """Where a flow begins, and what it asks for."""

    entry_point: Name | None = None
    inputs: Annotated[tuple[InputPart, ...], Meta(max_length=50)] = ()


class FlowFile(Struct, frozen=True):
    """The whole; what it does not know at the top is ignored.

    `optional_tools` may be missing where the flow runs: tools that clients bring. Ours, and not of
    the contract.
    """

    version: Literal["v1", "experimental"]
    environment: Literal["ambient", "chat", "chat-partial"]
    components: Annotated[tuple[Part, ...], Meta(min_length=1, max_length=50)]
    routers: Annotated[tuple[RouterPart, ...], Meta(max_length=200)] = ()
    flow: EntryPart = EntryPart()
    prompts: Annotated[tuple[PromptPart, ...], Meta(max_length=50)] = ()
    response_schemas: Annotated[tuple[SchemaPart, ...], Meta(max_length=50)] = ()
    optional_tools: _Names = ()
    name: _Text = ""
    description: _Text = ""
    product_group: _Text = ""


_LISTS: dict[str, Any] = {
    "components": Part,
    "routers": RouterPart,
    "prompts": PromptPart,
    "response_schemas": SchemaPart,
}


def convert(value: object) -> FlowFile:
    """The file as values. Raises Faults with the path of each part that is at fault."""
    try:
        whole = _whole(value, 0)
        if isinstance(whole, dict) and (missing := _missing(whole)):  # pyright: ignore[reportUnknownArgumentType] - any JSON
            raise Faults(missing)
        found = list(_each(whole))
        if not found:
            return msgspec.convert(whole, FlowFile)
    except msgspec.ValidationError as error:
        found = [_line(error)]
    except (ValueError, RecursionError) as error:
        if isinstance(error, Faults):
            raise
        found = [str(error)]
    raise Faults(found)


class Faults(ValueError):
    """What is wrong with a configuration, one line a fault."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines[:3])[:900])
        self.lines = tuple(line[:500] for line in lines[:50])


def in_order(value: dict[str, Any]) -> dict[str, Any]:
    """A configuration of the wire, whose keys have lost their order: the history comes last."""
    prompts: object = value.get("prompts")
    if not isinstance(prompts, list):
        return value
    return {**value, "prompts": [_ordered(prompt) for prompt in cast("list[object]", prompts)]}


_ORDER = ("system", "system_static", "system_dynamic", "user", "assistant", "placeholder")


def _ordered(prompt: object) -> object:
    said = cast("dict[str, object]", prompt) if isinstance(prompt, dict) else {}
    templates = said.get("prompt_template")
    if not isinstance(templates, dict):
        return cast("object", prompt)
    texts = cast("dict[str, object]", templates)
    known = {key: texts[key] for key in _ORDER if key in texts}
    return {**said, "prompt_template": known | texts}


def _missing(whole: dict[str, Any]) -> list[str]:
    needed = ("version", "environment")
    return [f"Missing required field: {name}" for name in needed if whole.get(name) in (None, "")]


def _each(whole: Any) -> Any:
    """The faults of every part of the lists, where the whole would tell of the first alone."""
    for name, kind in _LISTS.items():
        listed = cast("dict[str, object]", whole).get(name) if isinstance(whole, dict) else None
        items = cast("list[object]", listed) if isinstance(listed, list) else []
        for place, item in enumerate(items):
            try:
                msgspec.convert(item, kind)
            except msgspec.ValidationError as error:
                yield _line(error, f"$.{name}[{place}]")


def _line(error: Exception, at: str = "$") -> str:
    """What the library says, with the path from the top of the document."""
    text = " ".join(str(error).split())
    head, mark, path = text.rpartition(" - at `$")
    return f"{head} - at `{at}{path}" if mark else f"{text} - at `{at}`"


def _whole(value: Any, depth: int) -> Any:
    """The value with numbers such as 10.0 as 10: protobuf's structs know no other ones."""
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        return {str(key): _whole(item, depth + 1) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - any JSON
    if isinstance(value, list):
        return [_whole(item, depth + 1) for item in value]  # pyright: ignore[reportUnknownVariableType] - any JSON
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
