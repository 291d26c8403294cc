"""A flow as a LangGraph graph: its components as nodes, and the ways between them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from isthmus.core.errors import Invalid
from isthmus.core.ports import Telemetry
from isthmus.core.session_facts import RouteTaken
from isthmus.core.workflow import Status
from isthmus.platform import flow as flows
from isthmus.platform import history
from isthmus.platform.engine.components.command_step import CommandStep
from isthmus.platform.engine.components.delegate_step import DelegateStep
from isthmus.platform.engine.components.fixed_step import CallStep
from isthmus.platform.engine.components.human_step import ApprovalStep, QuestionStep
from isthmus.platform.engine.components.model_step import ModelStep
from isthmus.platform.engine.components.one_off_step import OneOffStep
from isthmus.platform.engine.components.subagent_step import SubagentStep
from isthmus.platform.engine.components.tool_step import Bench, ToolStep
from isthmus.platform.engine.direct import untraced
from isthmus.platform.engine.state import (
    BROKEN,
    COMPLETED,
    EXECUTION,
    Scene,
    State,
    ahead,
    past_of,
)
from isthmus.platform.flow import Agent, Component, FixedStep, Flow, OneOff, Question
from isthmus.platform.history import Stored
from isthmus.routing.models import Models

Graph: TypeAlias = CompiledStateGraph[State, Scene, State, State]
_Open: TypeAlias = StateGraph[State, Scene, State, State]
_Step: TypeAlias = Callable[[State, Scene], Awaitable[State]]
_Choice: TypeAlias = Callable[[State, Scene], str]
TERMINATE, ABORTED = "terminate_flow", "abort_flow"
INVALID = "invalid_route"
"""What metrics call a value that no way is named by. Source: agent-platform contract, 10.1."""


def compile_flow(flow: Flow, models: Models, bench: Bench) -> Graph:
    """The graph of a flow, without a checkpointer; it holds no state, so sessions share it.

    Every node says itself where it goes on: LangGraph's conditional edges do the same, and cost a
    third more.
    """
    graph: _Open = StateGraph(State, context_schema=Scene)
    entries = {part.name: _entry(part) for part in flow.components}
    if not flow.talks:
        graph.add_node(TERMINATE, _node(_ending(COMPLETED), _stay))
        graph.add_node(ABORTED, _node(_ending(BROKEN), _stay))
    for part in flow.components:
        if part.name in flow.supervisors:
            continue
        leave = _stay if flow.talks else _way(flow, part.name, entries, bench.telemetry)
        match part:
            case Agent():
                _agent(graph, (part, flow.talks), (models, bench), leave)
            case Question():
                step, fetch = QuestionStep(part), f"{part.name}#fetch"
                graph.add_node(_entry(part), _node(step.ask, _always(fetch)))
                graph.add_node(fetch, _node(step.hear, leave))
            case OneOff():
                _one_off(graph, part, (models, bench), leave)
            case FixedStep():
                graph.add_node(_entry(part), _node(CallStep(bench, part).run, leave))
    graph.add_edge(START, entries[flow.entry])
    return untraced(graph.compile())


def _entry(part: Component) -> str:
    """The node by which a component is entered."""
    match part:
        case Agent():
            return f"{part.name}#agent"
        case Question():
            return f"{part.name}#request"
        case OneOff():
            return f"{part.name}#llm"
        case FixedStep():
            return f"{part.name}#deterministic_step"


def _agent(
    graph: _Open, what: tuple[Agent, bool], means: tuple[Models, Bench], leave: _Choice
) -> None:
    (agent, talks), (models, bench) = what, means
    name = agent.name
    model, tools, approval = f"{name}#agent", f"{name}#tools", f"{name}#tool_approval_fetch"
    delegates = f"{name}#subagents"

    def after_model(state: State, scene: Scene) -> str:
        if _asks(state):
            return approval
        past = past_of(state, name)
        if state.get("status") == EXECUTION and past and past[-1]["role"] != "assistant":
            # What was said is summed up, or was no answer: that is still to come.
            return model
        return after_approval(state, scene) if _goes_on(state, past) else leave(state, scene)

    def after_approval(state: State, _: Scene) -> str:
        uses = history.open_uses(past_of(state, name))
        if any(use["name"] == flows.DELEGATE for use in uses) and agent.delegation is not None:
            return delegates
        return tools if uses else model

    def after_tools(state: State, _: Scene) -> str:
        return approval if _asks(state) else model

    graph.add_node(model, _node(_asking(agent, models, bench, talks=talks), after_model))
    graph.add_node(tools, _node(ToolStep(bench, agent).run, after_tools))
    graph.add_node(approval, _node(ApprovalStep(agent).run, after_approval))
    if agent.delegation is not None:
        step = DelegateStep(SubagentStep(agent, models, bench))
        graph.add_node(delegates, _node(step.run, after_approval))


def _asks(state: State) -> bool:
    """Whether calls wait for the user: new ones, or some that may have been done already."""
    return state.get("status") == Status.TOOL_CALL_APPROVAL_REQUIRED.value


def _goes_on(state: State, past: Sequence[Stored]) -> bool:
    """Whether there are calls to run; a command leaves those that an earlier turn left open."""
    return state.get("status") == EXECUTION and bool(history.open_uses(past))


def _asking(agent: Agent, models: Models, bench: Bench, *, talks: bool) -> _Step:
    """The step of an agent; in a conversation, what the user commands is done in its place."""
    step = ModelStep(models, agent, talks, bench.vaults, bench.telemetry)
    return CommandStep(step).run if talks else step.run


def _one_off(graph: _Open, part: OneOff, means: tuple[Models, Bench], leave: _Choice) -> None:
    models, bench = means
    model, tools = f"{part.name}#llm", f"{part.name}#tools"
    asks = ModelStep(
        models, part.agent, talks=False, vaults=bench.vaults, telemetry=bench.telemetry
    )
    step = OneOffStep(part, asks, ToolStep(bench, part.agent))

    def after_tools(state: State, scene: Scene) -> str:
        return leave(state, scene) if step.over(state) else model

    def after_model(state: State, scene: Scene) -> str:
        return tools if history.open_uses(past_of(state, part.name)) else after_tools(state, scene)

    graph.add_node(model, _node(step.ask, after_model))
    graph.add_node(tools, _node(step.run, after_tools))


def _stay(_: State, __: Scene) -> str:
    return END


def _always(place: str) -> _Choice:
    return lambda _, __: place


def _way(flow: Flow, name: str, entries: dict[str, str], telemetry: Telemetry) -> _Choice:
    """Where a component's router leads."""
    route = flow.routes[name]
    places = entries | {flows.END: TERMINATE, flows.ABORT: ABORTED}

    def leave(state: State, scene: Scene) -> str:
        found, text = route.next(state)
        if route.by is not None:
            names = (scene.turn.start.workflow_id, scene.turn.definition, name)
            default = text is None and found is not None
            telemetry.emit(RouteTaken(*names, text if text is not None else INVALID, default))
        if found is None:
            raise Invalid(f"The router of {name!r} has no way for the value at hand.")
        return places[found]

    return leave


def _ending(status: str) -> _Step:
    async def end(_: State, __: Scene) -> State:
        return {"status": status}

    return end


def _node(step: _Step, onward: _Choice) -> Any:
    async def run(state: State, runtime: Runtime[Scene]) -> Command[str]:
        scene = runtime.context
        changed = await step(state, scene)
        # Whatever the step is made of: what its models used goes with it.
        used, more = scene.purse.take(), State()
        if used:
            more["spent"] = used
        # The first step behind a pause holds the answer to it; a goal is stored with its name.
        if scene.start_id and state.get("start_id") != scene.start_id:
            more["start_id"] = scene.start_id
        place = onward(ahead(state, changed), scene)
        return Command(update={**changed, **more} if more else changed, goto=place)

    return run
