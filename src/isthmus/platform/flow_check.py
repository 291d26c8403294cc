"""From what a flow's file says to a flow that can run: names, templates, inputs, ways. Pure.

Source: agent-platform contract, sections 7.3 to 7.8.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from msgspec import UNSET

from isthmus.auth.scopes import UNIT_PRIMITIVES
from isthmus.core.errors import Invalid
from isthmus.platform import address
from isthmus.platform.address import Input, Written
from isthmus.platform.flow import (
    ABORT,
    DEFAULT_ROUTE,
    END,
    Agent,
    Component,
    Cycles,
    FixedStep,
    Flow,
    Prompt,
    Question,
    Route,
)
from isthmus.platform.flow_file import (
    AgentPart,
    FlowFile,
    OneOffPart,
    Part,
    PromptPart,
    QuestionPart,
    RouterPart,
    StepPart,
    convert,
)
from isthmus.platform.inputs import Declared
from isthmus.prompts.render import Script
from isthmus.prompts.sandbox import Sandbox
from isthmus.prompts.schema import TemplateKey

TEXT_CHARS = 400_000
"""All templates of a flow together."""
UNSAFE = "Flow configuration failed security validation"
_NOT_SERVED = tuple(f.name for f in msgspec.structs.fields(AgentPart) if f.default is UNSET)
_ORDER: tuple[TemplateKey, ...] = (
    *("system", "system_static", "system_dynamic", "user", "assistant"),
)
_HIDDEN = re.compile(
    "[\U000e0000-\U000e007f\U000e0100-\U000e01ef]|<!--|<!\\[CDATA\\["
    r"|<\s*/?\s*(?:goal|system|truncated_output|kept_output)\s*>"
    r"|^\s*\[[^\]\n]*\]:\s*(?:#|<>)",
    re.IGNORECASE | re.MULTILINE,
)
"""What a person who reads a prompt may not see, or what poses as a frame of ours."""


@dataclass(frozen=True, slots=True)
class _Book:
    """The prompts of one flow. `any_name`: a lone one serves whatever it is called."""

    prompts: Mapping[str, PromptPart]
    sandbox: Sandbox
    any_name: bool

    def find(self, part: AgentPart) -> PromptPart:
        found = self.prompts.get(part.prompt_id)
        if found is None and self.any_name and len(self.prompts) == 1:
            found = next(iter(self.prompts.values()))
        if found is None:
            raise ValueError(f"there is no inline prompt {part.prompt_id!r}; others are not served")
        return found


def flow_of(value: object, key: str = "") -> Flow:
    """The flow that a file's value stands for. Raises Invalid that names what is at fault."""
    try:
        said = convert(value)
        return _checked(said, key or digest(value))
    except ValueError as error:
        raise Invalid(str(error)) from error


def parse(text: bytes, source: str) -> Flow:
    """A flow from YAML. Raises Invalid, naming `source` and the field at fault."""
    try:
        return flow_of(msgspec.yaml.decode(text), source)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"Failed to load flow {source}: {error}") from error
    except Invalid as error:
        raise Invalid(f"Failed to load flow {source}: {error.detail}") from error


def digest(value: object) -> str:
    """What stands for a configuration's content."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _checked(said: FlowFile, key: str) -> Flow:
    _safe(said)
    names = [part.name for part in said.components]
    twice = [name for name in names if names.count(name) > 1 or name in (END, ABORT)]
    if twice:
        raise ValueError(f"components: {twice[0]!r} is taken")
    prompts = {prompt.prompt_id: prompt for prompt in said.prompts}
    book = _Book(prompts, Sandbox({}), said.environment == "chat-partial")
    components = tuple(
        _at(f"components[{place}]", _component, part, book)
        for place, part in enumerate(said.components)
    )
    wanted = tuple(
        Declared(
            one.category,
            {name: field.type for name, field in one.input_schema.items()},
            frozenset(name for name, field in one.input_schema.items() if field.optional),
            one.version_constraint,
        )
        for one in said.flow.inputs
    )
    if said.environment == "chat-partial":
        return _partial(said, Flow(key, said.environment, components, names[0], {}, wanted))
    routes = _routes(said.routers, names)
    entry = said.flow.entry_point or ""
    if entry not in names:
        raise ValueError(f"flow.entry_point: there is no component {entry!r}")
    _questions(components, names)
    return Flow(key, said.environment, components, entry, routes, wanted)


def _partial(said: FlowFile, flow: Flow) -> Flow:
    if len(flow.components) != 1 or len(flow.agents) != 1:
        raise ValueError("components: chat-partial takes exactly one AgentComponent")
    if len(said.prompts) > 1:
        raise ValueError("prompts: chat-partial takes at most one")
    if said.prompts and cast("AgentPart", said.components[0]).prompt_version:
        raise ValueError("components[0].prompt_version: there is an inline prompt already")
    return flow


def _safe(said: FlowFile) -> None:
    texts = [
        text
        for prompt in said.prompts
        for lines in prompt.prompt_template.values()
        for text in ([lines] if isinstance(lines, str) else lines)
    ]
    asked = (part for part in said.components if isinstance(part, QuestionPart))
    texts += [part.message_template or "" for part in asked]
    if sum(map(len, texts)) > TEXT_CHARS:
        raise ValueError("prompts: they are too long")
    if any(_HIDDEN.search(text) for text in texts):
        raise ValueError(UNSAFE)


def _at(place: str, make: Any, part: Part, book: _Book) -> Component:
    try:
        return make(part, book)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _component(part: Part, book: _Book) -> Component:
    match part:
        case AgentPart():
            return _agent(part, book)
        case QuestionPart():
            return _question(part, book)
        case StepPart():
            toolset, fixed = _toolset(part.toolset)
            if toolset and part.tool_name not in toolset:
                raise ValueError(f"toolset: it does not hold {part.tool_name!r}")
            events = frozenset(part.ui_log_events)
            given = fixed.get(part.tool_name, {})
            return FixedStep(part.name, part.tool_name, _inputs(part.inputs), given, events)
        case OneOffPart():
            raise ValueError("type: OneOffComponent is not served here")


def _agent(part: AgentPart, book: _Book) -> Agent:
    extra = [name for name in _NOT_SERVED if getattr(part, name) not in (UNSET, None, False, {})]
    if extra:
        raise ValueError(f"{extra[0]}: it is not served here")
    if part.prompt_version:
        raise ValueError("prompt_version: prompts of a registry are not served here")
    toolset, fixed = _toolset(part.toolset)
    inputs = _inputs(part.inputs)
    tags = part.model_tags or part.model_size_preference or ()
    return Agent(
        name=part.name,
        prompt=_prompt(book.find(part), inputs, book),
        toolset=toolset,
        inputs=inputs,
        fixed=fixed,
        asks=part.require_tool_approval or book.any_name,
        preapproved=part.pre_approved_tools,
        events=None if book.any_name else frozenset(part.ui_log_events),
        shown_as=part.ui_role_as,
        cycles=_cycles(part),
        tags=(tags,) if isinstance(tags, str) else tags,
    )


def _prompt(part: PromptPart, inputs: tuple[Input, ...], book: _Book) -> Prompt:
    # A configuration on the wire has lost the order of its keys. The history comes last.
    templates: dict[TemplateKey, str] = {}
    for key in _ORDER:
        text = part.prompt_template.get(key)
        if text is not None:
            templates[key] = text if isinstance(text, str) else "\n\n".join(text)
    script = _script(book, templates, f"prompt {part.prompt_id}")
    _supplied(script, inputs)
    params = part.model.params if part.model is not None else None
    pays = part.unit_primitives[0] if part.unit_primitives else ""
    return Prompt(
        script,
        pays if pays in UNIT_PRIMITIVES else "duo_agent_platform",
        params.max_tokens if params else None,
        params.temperature if params else None,
        part.params.stop if part.params else (),
    )


def _script(book: _Book, templates: Mapping[TemplateKey, str], source: str) -> Script:
    script = Script(book.sandbox, templates, source)
    script.check()
    return script


def _supplied(script: Script, inputs: tuple[Input, ...]) -> None:
    missing = script.inputs - {one.name for one in inputs} - script.optional
    if missing:
        raise ValueError(f"inputs: {min(missing)!r} is used by a template and not given")


def _question(part: QuestionPart, book: _Book) -> Question:
    inputs = _inputs(part.inputs)
    template = None
    if part.message_template is not None:
        template = _script(book, {"user": part.message_template}, "message_template")
        _supplied(template, inputs)
    approval = part.interaction_type == "approval"
    events = frozenset(part.ui_log_events)
    return Question(part.name, part.sends_response_to, approval, template, inputs, events)


def _questions(components: tuple[Component, ...], names: list[str]) -> None:
    agents = {part.name for part in components if isinstance(part, Agent)}
    for part in components:
        if isinstance(part, Question) and part.answers_to not in agents:
            raise ValueError(f"{part.name}.sends_response_to: no agent {part.answers_to!r}")
        heard = [one.path[0] for one in part.inputs if one.target == "conversation_history"]
        if unknown := [name for name in heard if name not in names]:
            raise ValueError(f"{part.name}.inputs: there is no component {unknown[0]!r}")


def _inputs(written: tuple[Written, ...]) -> tuple[Input, ...]:
    inputs = tuple(address.parse(one) for one in written)
    if any(one.target == "conversation_history" and not one.path for one in inputs):
        raise ValueError("inputs: conversation_history needs a component")
    return inputs


def _toolset(
    listed: tuple[Any, ...],
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
    return tuple(dict.fromkeys(names)), fixed


def _cycles(part: AgentPart) -> Cycles:
    if isinstance(part.max_cycles, int):
        return Cycles(part.max_cycles, max(part.max_cycles - 10, 1), part.max_wrap_up_retries)
    if set(part.max_cycles) - {"threshold", "iteration_warning_offset"}:
        raise ValueError("max_cycles: it takes threshold and iteration_warning_offset")
    most = part.max_cycles.get("threshold") or 280
    offset = part.max_cycles.get("iteration_warning_offset", 10)
    if most < 1 or (offset is not None and not 0 <= offset < most):
        raise ValueError("max_cycles.iteration_warning_offset: it must be below threshold")
    return Cycles(most, most if offset is None else most - offset, part.max_wrap_up_retries)


def _routes(routers: tuple[RouterPart, ...], names: list[str]) -> dict[str, Route]:
    routes: dict[str, Route] = {}
    for place, one in enumerate(routers):
        where = f"routers[{place}]"
        if one.source not in names or one.source in routes:
            raise ValueError(f"{where}.from: {one.source!r} is no component without a router")
        if (one.to is None) == (one.condition is None):
            raise ValueError(f"{where}: give either to or condition")
        by = None
        to = {DEFAULT_ROUTE: one.to or ""}
        if one.condition is not None:
            by, to = address.parse(one.condition.input), one.condition.routes
            if by.target not in ("context", "status"):
                raise ValueError(f"{where}.condition.input: only context and status route")
        unknown = [name for name in to.values() if name not in (*names, END, ABORT)]
        if unknown:
            raise ValueError(f"{where}: there is no component {unknown[0]!r}")
        routes[one.source] = Route(to, by)
    missing = [name for name in names if name not in routes]
    if missing:
        raise ValueError(f"routers: none leads on from {missing[0]!r}")
    return routes
