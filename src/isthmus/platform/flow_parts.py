"""One component of a flow, from what its file says. Pure.

Source: agent-platform contract, sections 7.3 to 7.7 and 7.10.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from isthmus.platform import address
from isthmus.platform.address import Input, Written
from isthmus.platform.flow import (
    DELEGATE,
    Agent,
    Compaction,
    Component,
    Cycles,
    Delegation,
    FixedStep,
    OneOff,
    Question,
    Shape,
)
from isthmus.platform.flow_file import (
    AgentPart,
    CompactionPart,
    CyclesPart,
    DelegationEvent,
    OneOffPart,
    Part,
    QuestionPart,
    StepPart,
)
from isthmus.platform.flow_prompt import Book
from isthmus.platform.flow_schema import checked
from isthmus.platform.flow_stock import parameters

_WARNED = 10
"""Turns before the last one, where nothing else is said."""
_DELEGATION: frozenset[str] = frozenset(get_args(DelegationEvent))
_HEARD = {"on_user_response"}
_ASKED = {"on_user_input_prompt", "on_user_response"}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a component stands in: prompts, inline schemas, and the flow's own switches.

    `spared` are tools that may be missing; `newest`: the file's schema is the experimental one.
    """

    book: Book
    schemas: Mapping[str, object]
    environment: str
    spared: frozenset[str] = frozenset()
    newest: bool = False


def component(part: Part, setting: Setting) -> Component:
    """The component. Raises ValueError that begins with the key at fault."""
    match part:
        case AgentPart():
            return _agent(part, setting)
        case OneOffPart():
            return _one_off(part, setting)
        case StepPart():
            return _step(part, setting)
        case QuestionPart():
            return _question(part, setting)


def _agent(part: AgentPart, setting: Setting) -> Agent:
    persona = setting.book.persona
    inputs = _inputs(part.inputs)
    if part.enable_web_search and not setting.newest:
        raise ValueError("enable_web_search: only the experimental schema has it")
    toolset, fixed = _toolset(part.toolset, setting)
    _present(part.pre_approved_tools, setting, "pre_approved_tools")
    shape, delegation = _shape(part, setting), _delegation(part)
    own = {DELEGATE} if delegation else set[str]()
    if clash := set(toolset) & (own | ({shape.tool} if shape else set())):
        raise ValueError(f"toolset: {min(clash)!r} is a tool of the component's own")
    tags = part.model_tags or part.model_size_preference or ()
    return Agent(
        name=part.name,
        prompt=setting.book.prompt(part, inputs),
        toolset=toolset,
        inputs=inputs,
        fixed=fixed,
        asks=part.require_tool_approval or persona,
        preapproved=part.pre_approved_tools,
        events=None if persona else frozenset(part.ui_log_events),
        shown_as=part.ui_role_as,
        cycles=_cycles(part),
        tags=(tags,) if isinstance(tags, str) else tags,
        compaction=_compaction(part.compaction),
        shape=shape,
        delegation=delegation,
        description=part.description or "",
        searches=part.enable_web_search,
    )


def _one_off(part: OneOffPart, setting: Setting) -> OneOff:
    inputs = _inputs(part.inputs)
    toolset, fixed = _toolset(part.toolset, setting)
    if not toolset:
        raise ValueError("toolset: it must hold a tool")
    tags = part.model_tags or part.model_size_preference or ()
    agent = Agent(
        name=part.name,
        prompt=setting.book.prompt(part, inputs),
        toolset=toolset,
        inputs=inputs,
        fixed=fixed,
        events=frozenset(part.ui_log_events),
        shown_as=part.ui_role_as,
        tags=(tags,) if isinstance(tags, str) else tags,
        compaction=_compaction(part.compaction),
    )
    return OneOff(agent, part.max_correction_attempts)


def _step(part: StepPart, setting: Setting) -> FixedStep:
    toolset, fixed = _toolset(part.toolset, setting)
    name = part.tool_name
    if toolset and name not in toolset:
        raise ValueError(f"toolset: it does not hold {name!r}")
    inputs, given = _inputs(part.inputs), fixed.get(name, {})
    tool = setting.book.stock.tools.get(name)
    if tool is None and name not in setting.spared:
        raise ValueError(f"tool_name: there is no tool {name!r}")
    for taken in parameters(tool) if tool else ():
        names = {one.name for one in inputs} | set(given)
        if unknown := names - taken.known:
            raise ValueError(f"inputs: the tool {name!r} has no parameter {min(unknown)!r}")
        if missing := taken.needed - names:
            raise ValueError(f"inputs: the tool {name!r} needs the parameter {min(missing)!r}")
    return FixedStep(part.name, name, inputs, given, frozenset(part.ui_log_events), part.ui_role_as)


def _question(part: QuestionPart, setting: Setting) -> Question:
    inputs = _inputs(part.inputs)
    template = None
    if part.message_template is not None:
        template = setting.book.script({"user": part.message_template}, "message_template")
        setting.book.supplied(inputs, template)
    events = frozenset(part.ui_log_events)
    if missing := (_HEARD if setting.environment == "chat" else _ASKED) - events:
        raise ValueError(f"ui_log_events: {min(missing)!r} must be among them")
    approval = part.interaction_type == "approval"
    return Question(part.name, part.sends_response_to, approval, template, inputs, events)


def _shape(part: AgentPart, setting: Setting) -> Shape | None:
    schema_id, version = part.response_schema_id, part.response_schema_version
    if schema_id is None:
        if version is not None or part.response_schema_tracking:
            raise ValueError("response_schema_id: it is missing")
        return None
    if part.response_schema_tracking_context and not part.response_schema_tracking:
        raise ValueError("response_schema_tracking_context: response_schema_tracking is off")
    tracked = None
    if part.response_schema_tracking:
        context = part.response_schema_tracking_context.items()
        tracked = tuple(address.parse(one).named(name) for name, one in context)
    try:
        found, definition = _definition(schema_id, version, setting)
    except ValueError as error:
        raise ValueError(f"response_schema_id: {error}") from error
    return Shape(schema_id, definition, found, tracked)


def _definition(
    schema_id: str, version: str | None, setting: Setting
) -> tuple[str, Mapping[str, object]]:
    if version is not None:
        return setting.book.stock.schemas.get(schema_id, version)
    if schema_id not in setting.schemas:
        raise ValueError(f"there is no inline schema {schema_id!r}")
    return "", checked(setting.schemas[schema_id])


def _delegation(part: AgentPart) -> Delegation | None:
    if part.subagents is None:
        if part.max_delegations is not None or part.parallel_subagents:
            raise ValueError("subagents: it is missing")
        if extra := _DELEGATION & set(part.ui_log_events):
            raise ValueError(f"ui_log_events: {min(extra)!r} is a supervisor's")
        return None
    names = tuple(one.name for one in part.subagents)
    if twice := [name for name in names if names.count(name) > 1 or name == part.name]:
        raise ValueError(f"subagents: {twice[0]!r} is there twice, or itself")
    return Delegation(names, part.max_delegations, part.parallel_subagents)


def _inputs(written: tuple[Written, ...]) -> tuple[Input, ...]:
    inputs = tuple(address.parse(one) for one in written)
    if any(one.target == "conversation_history" and not one.path for one in inputs):
        raise ValueError("inputs: conversation_history needs a component")
    return inputs


def _toolset(
    listed: tuple[Any, ...], setting: Setting
) -> tuple[tuple[str, ...], dict[str, Mapping[str, object]]]:
    names: list[str] = []
    fixed: dict[str, Mapping[str, object]] = {}
    for one in listed:
        if isinstance(one, str):
            names.append(one)
            continue
        if len(one) != 1:
            raise ValueError("toolset: an entry with values names exactly one tool")
        ((name, values),) = one.items()
        names.append(name)
        fixed[name] = values
        tool = setting.book.stock.tools.get(name)
        known = [taken.known for taken in parameters(tool)] if tool else [frozenset(values)]
        if unknown := set(values).difference(*known):
            raise ValueError(f"toolset: the tool {name!r} has no parameter {min(unknown)!r}")
    _present(names, setting, "toolset")
    return tuple(dict.fromkeys(names)), fixed


def _present(names: Iterable[str], setting: Setting, key: str) -> None:
    if not setting.book.rigour.tools:
        return
    known = setting.book.stock.tools.keys() | setting.spared
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{key}: there is no tool {unknown[0]!r}")


def _compaction(said: bool | CompactionPart) -> Compaction | None:
    if isinstance(said, bool):
        return Compaction() if said else None
    return Compaction(
        said.max_recent_messages, said.recent_messages_token_budget, said.trim_threshold
    )


def _cycles(part: AgentPart) -> Cycles:
    said = part.max_cycles
    if isinstance(said, int):
        said = CyclesPart(said)
    most, offset = said.threshold, said.iteration_warning_offset
    if offset is not None and offset >= most:
        if offset != _WARNED:
            raise ValueError("max_cycles.iteration_warning_offset: it must be below threshold")
        offset = most - 1
    return Cycles(most, most if offset is None else most - offset, part.max_wrap_up_retries)
