"""What a flow's file, or an inline configuration, says. Checked as far as one part goes. Pure.

Source: agent-platform contract, sections 7.2 to 7.9.
"""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from isthmus.platform.address import Written
from isthmus.prompts.schema import TemplateKey

_Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_./@ -]+$")]
_Text = Annotated[str, Meta(max_length=8_192)]
_Inputs = Annotated[tuple[Written, ...], Meta(max_length=100)]
_Names = Annotated[tuple[_Name, ...], Meta(max_length=500)]
_Toolset = Annotated[
    tuple[_Name | dict[str, dict[str, str | int | float | bool | None]], ...],
    Meta(max_length=500),
]
NotServed: TypeAlias = Any | UnsetType
"""Part of the contract, and not of this server: its presence is a fault."""


class AgentPart(Struct, frozen=True, forbid_unknown_fields=True, tag="AgentComponent"):
    """A model with tools."""

    name: _Name
    prompt_id: _Name
    toolset: _Toolset
    prompt_version: str | None = None
    inputs: _Inputs = ("context:goal",)
    compaction: bool | dict[str, float | None] = True
    require_tool_approval: bool = False
    pre_approved_tools: _Names = ()
    max_cycles: Annotated[int, Meta(ge=1, le=10_000)] | dict[str, int | None] = 280
    max_wrap_up_retries: Annotated[int, Meta(ge=0, le=100)] = 3
    description: _Text | None = None
    ui_log_events: tuple[
        Literal[
            "on_agent_final_answer",
            "on_agent_reasoning",
            "on_tool_execution_success",
            "on_tool_execution_failed",
            "on_tool_approval_request",
        ],
        ...,
    ] = ()
    ui_role_as: Literal["agent", "tool"] = "agent"
    model_tags: _Name | _Names | None = None
    model_size_preference: _Name | _Names | None = None
    environment: str | None = None
    response_schema_id: NotServed = UNSET
    response_schema_version: NotServed = UNSET
    response_schema_tracking: NotServed = UNSET
    response_schema_tracking_context: NotServed = UNSET
    subagents: NotServed = UNSET
    max_delegations: NotServed = UNSET
    parallel_subagents: NotServed = UNSET
    enable_web_search: NotServed = UNSET


class QuestionPart(Struct, frozen=True, forbid_unknown_fields=True, tag="HumanInputComponent"):
    """A pause for the user."""

    name: _Name
    sends_response_to: _Name
    interaction_type: Literal["approval", "input"] = "input"
    message_template: Annotated[str, Meta(max_length=65_536)] | None = None
    inputs: _Inputs = ()
    ui_log_events: tuple[Literal["on_user_input_prompt", "on_user_response"], ...] = ()
    environment: str | None = None


class StepPart(Struct, frozen=True, forbid_unknown_fields=True, tag="DeterministicStepComponent"):
    """One call of one tool."""

    name: _Name
    tool_name: _Name
    inputs: _Inputs = ()
    toolset: _Toolset = ()
    ui_log_events: tuple[Literal["on_tool_execution_success", "on_tool_execution_failed"], ...] = ()
    ui_role_as: Literal["agent", "tool"] = "tool"
    environment: str | None = None


class OneOffPart(Struct, frozen=True, tag="OneOffComponent"):
    """One turn of a model; not served."""

    name: str = ""


Part: TypeAlias = AgentPart | QuestionPart | StepPart | OneOffPart


class Condition(Struct, frozen=True, forbid_unknown_fields=True):
    """A choice by a value's text."""

    input: Written
    routes: Annotated[dict[str, _Name], Meta(min_length=1, max_length=100)]


class RouterPart(Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """Where to go behind a component."""

    source: _Name
    to: _Name | None = None
    condition: Condition | None = None


class ModelParams(Struct, frozen=True):
    """What a prompt asks of its model; what only some providers know is left out."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None


class ModelPart(Struct, frozen=True):
    """The model's part of a prompt."""

    params: ModelParams = ModelParams()


class CallParams(Struct, frozen=True):
    """How a prompt is sent."""

    stop: tuple[str, ...] = ()


class PromptPart(Struct, frozen=True, forbid_unknown_fields=True):
    """An inline prompt."""

    prompt_id: _Name
    prompt_template: Annotated[
        dict[TemplateKey, str | tuple[str, ...]], Meta(min_length=1, max_length=6)
    ]
    name: str = ""
    model: ModelPart | None = None
    unit_primitives: tuple[_Name, ...] = ()
    params: CallParams | None = None
    operation_type: str = "standard"


class FieldPart(Struct, frozen=True):
    """A field of an input's schema."""

    type: Literal["string", "integer", "number", "boolean", "array", "object", "null"]
    optional: bool = False


class InputPart(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that the client is to attach."""

    category: _Name
    input_schema: Annotated[dict[str, FieldPart], Meta(max_length=100)] = {}
    version_constraint: Annotated[str, Meta(max_length=100)] = "^1.0.0"


class EntryPart(Struct, frozen=True):
    """Where a flow begins, and what it asks for."""

    entry_point: _Name | None = None
    inputs: Annotated[tuple[InputPart, ...], Meta(max_length=50)] = ()


class FlowFile(Struct, frozen=True):
    """The whole; what it does not know at the top is ignored."""

    version: Literal["v1"]
    environment: Literal["ambient", "chat", "chat-partial"]
    components: Annotated[tuple[Part, ...], Meta(min_length=1, max_length=50)]
    routers: Annotated[tuple[RouterPart, ...], Meta(max_length=200)] = ()
    flow: EntryPart = EntryPart()
    prompts: Annotated[tuple[PromptPart, ...], Meta(max_length=50)] = ()
    response_schemas: Annotated[tuple[object, ...], Meta(max_length=0)] = ()


def convert(value: object) -> FlowFile:
    """The file as values. Raises ValueError that names the path at fault."""
    try:
        return msgspec.convert(_whole(value, 0), FlowFile)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())[:500]) from error


def _whole(value: Any, depth: int) -> Any:
    """The value with numbers such as 10.0 as 10: protobuf's structs know no other ones."""
    if depth > 40:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        return {str(key): _whole(item, depth + 1) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - any JSON
    if isinstance(value, list):
        return [_whole(item, depth + 1) for item in value]  # pyright: ignore[reportUnknownVariableType] - any JSON
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
