"""From what a flow's file says to a flow that can run, stage by stage. Pure.

Source: agent-platform contract, section 7.8 (the order of the checks).
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from isthmus.core.errors import Invalid
from isthmus.platform import address
from isthmus.platform.flow import (
    ABORT,
    DEFAULT_ROUTE,
    END,
    Agent,
    Component,
    Flow,
    OneOff,
    Question,
    Route,
)
from isthmus.platform.flow_file import AgentPart, Faults, FlowFile, RouterPart, convert
from isthmus.platform.flow_parts import Setting, component
from isthmus.platform.flow_prompt import Book, unsafe
from isthmus.platform.flow_states import unwritten
from isthmus.platform.flow_stock import SESSION, Rigour, Stock
from isthmus.platform.inputs import Declared

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_EMPTY = Stock()


def flow_of(value: object, key: str = "", stock: Stock = _EMPTY, rigour: Rigour = SESSION) -> Flow:
    """The flow that a file's value stands for. Raises Invalid that names what is at fault."""
    try:
        return _flow(value, key, stock, rigour)
    except ValueError as error:
        raise Invalid(str(error)) from error


def faults(value: object, stock: Stock, rigour: Rigour) -> tuple[str, ...]:
    """What is wrong with a configuration: all that one stage of the checks finds, with paths."""
    try:
        _flow(value, "checked", stock, rigour)
    except Faults as error:
        return error.lines
    except ValueError as error:
        return (str(error),)
    return ()


def parse(text: bytes, source: str, stock: Stock = _EMPTY, rigour: Rigour = SESSION) -> Flow:
    """A flow from YAML. Raises Invalid, naming `source` and the field at fault."""
    try:
        return flow_of(msgspec.yaml.decode(text), source, stock, rigour)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"Failed to load flow {source}: {error}") from error
    except Invalid as error:
        raise Invalid(f"Failed to load flow {source}: {error.detail}") from error


def digest(value: object) -> str:
    """What stands for a configuration's content."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _flow(value: object, key: str, stock: Stock, rigour: Rigour) -> Flow:
    said = convert(value)
    if why := unsafe(said):
        raise ValueError(why)
    setting = _setting(said, stock, rigour)
    names = [part.name for part in said.components]
    twice = [name for name in names if names.count(name) > 1 or name in (END, ABORT)]
    if twice:
        raise ValueError(f"components: {twice[0]!r} is taken")
    if said.environment == "chat-partial":
        _persona(said)
    parts = _all("components", said.components, lambda part: component(part, setting))
    wanted = _wanted(said)
    if said.environment == "chat-partial":
        return Flow(key or digest(value), said.environment, parts, names[0], {}, wanted)
    under = _subagents(parts)
    top = [name for name in names if name not in under]
    routes = _routes(said.routers, top)
    entry = said.flow.entry_point or ""
    if entry not in top:
        raise ValueError(f"flow.entry_point: there is no component {entry!r}")
    flow = Flow(key or digest(value), said.environment, parts, entry, routes, wanted)
    _linked(flow, top)
    if rigour.states and (lines := list(unwritten(flow))):
        raise Faults(lines)
    return flow


def _setting(said: FlowFile, stock: Stock, rigour: Rigour) -> Setting:
    prompts = {prompt.prompt_id: prompt for prompt in said.prompts}
    if len(prompts) < len(said.prompts):
        raise ValueError("prompts: two have the same prompt_id")
    return Setting(
        Book(prompts, stock, rigour, said.environment == "chat-partial"),
        {one.schema_id: one.definition for one in said.response_schemas},
        said.environment,
        frozenset(said.optional_tools),
        said.version == "experimental",
    )


def _all(name: str, items: Iterable[_In], make: Callable[[_In], _Out]) -> tuple[_Out, ...]:
    """What is made of each item. Raises Faults with every one that cannot be made."""
    made: list[_Out] = []
    wrong: list[str] = []
    for place, item in enumerate(items):
        try:
            made.append(make(item))
        except ValueError as error:
            wrong.append(f"{name}[{place}]: {error}")
    if wrong:
        raise Faults(wrong)
    return tuple(made)


def _wanted(said: FlowFile) -> tuple[Declared, ...]:
    return tuple(
        Declared(
            one.category,
            {name: field.type for name, field in one.input_schema.items()},
            frozenset(name for name, field in one.input_schema.items() if field.optional),
            one.version_constraint,
        )
        for one in said.flow.inputs
    )


def _persona(said: FlowFile) -> None:
    only = said.components[0]
    if len(said.components) != 1 or not isinstance(only, AgentPart) or only.subagents:
        raise ValueError(
            "components: chat-partial takes exactly one AgentComponent, which is alone"
        )
    if len(said.prompts) > 1:
        raise ValueError("prompts: chat-partial takes at most one")
    if said.prompts and only.prompt_version:
        raise ValueError("components[0].prompt_version: there is an inline prompt already")
    if only.response_schema_id is not None:
        raise ValueError("components[0].response_schema_id: a conversation has no such answer")


def _subagents(parts: tuple[Component, ...]) -> set[str]:
    """The agents that others hand work to. Raises Faults."""
    agents = {part.name: part for part in parts if isinstance(part, Agent)}
    under: set[str] = set()
    wrong: list[str] = []
    for place, part in enumerate(parts):
        if not isinstance(part, Agent) or part.delegation is None:
            continue
        for name in part.delegation.to:
            agent, at = agents.get(name), f"components[{place}]: subagents: "
            if agent is None:
                wrong.append(f"{at}there is no agent {name!r}")
            elif not agent.description.strip():
                wrong.append(f"{at}{name!r} needs a description")
            elif agent.delegation is not None or name in under:
                wrong.append(f"{at}{name!r} is a supervisor, or another one's subagent")
            under.add(name)
    if wrong:
        raise Faults(wrong)
    return under


def _linked(flow: Flow, top: list[str]) -> None:
    """Who hears an answer is there. Raises Faults."""
    agents = {part.name for part in flow.components if isinstance(part, Agent)} & set(top)
    wrong: list[str] = []
    for part in flow.components:
        if isinstance(part, Question) and part.answers_to not in agents:
            wrong.append(f"{part.name}.sends_response_to: no agent {part.answers_to!r}")
        inputs = part.agent.inputs if isinstance(part, OneOff) else part.inputs
        heard = [one.path[0] for one in inputs if one.target == "conversation_history"]
        wrong += [
            f"{part.name}.inputs: there is no component {name!r}"
            for name in heard
            if name not in {one.name for one in flow.components}
        ]
    if wrong:
        raise Faults(wrong)


def _routes(routers: tuple[RouterPart, ...], names: list[str]) -> dict[str, Route]:
    taken: set[str] = set()

    def route(one: RouterPart) -> tuple[str, Route]:
        if one.source not in names or one.source in taken:
            raise ValueError(f"from: {one.source!r} is no component without a router")
        taken.add(one.source)
        return one.source, _route(one, names)

    routes = dict(_all("routers", routers, route))
    missing = [name for name in names if name not in routes]
    if missing:
        raise ValueError(f"routers: none leads on from {missing[0]!r}")
    return routes


def _route(one: RouterPart, names: list[str]) -> Route:
    if (one.to is None) == (one.condition is None):
        raise ValueError("give either to or condition")
    by = None
    to = {DEFAULT_ROUTE: one.to or ""}
    if one.condition is not None:
        by, to = address.parse(one.condition.input), one.condition.routes
        if by.target not in ("context", "status"):
            raise ValueError("condition.input: only context and status route")
    unknown = [name for name in to.values() if name not in (*names, END, ABORT)]
    if unknown:
        raise ValueError(f"there is no component {unknown[0]!r}")
    return Route(to, by)
