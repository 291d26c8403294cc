"""A flow as a LangGraph graph: its components as nodes, and the ways between them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime, get_runtime

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
from isthmus.platform.engine.state import BROKEN, COMPLETED, EXECUTION, Scene, State, past_of
from isthmus.platform.flow import Agent, Component, FixedStep, Flow, OneOff, Question
from isthmus.platform.history import Stored
from isthmus.routing.models import Models

Graph: TypeAlias = CompiledStateGraph[State, Scene, State, State]
_Open: TypeAlias = StateGraph[State, Scene, State, State]
_Step: TypeAlias = Callable[[State, Scene], Awaitable[State]]
_Choice: TypeAlias = Callable[[State], Awaitable[str]]
TERMINATE, ABORTED = "terminate_flow", "abort_flow"
INVALID = "invalid_route"
"""What metrics call a value that no way is named by. Source: agent-platform contract, 10.1."""


def compile_flow(flow: Flow, models: Models, bench: Bench) -> Graph:
    """The graph of a flow, without a checkpointer; it holds no state, so sessions share it."""
    graph: _Open = StateGraph(State, context_schema=Scene)
    entries = {part.name: _entry(part) for part in flow.components}
    if not flow.talks:
        _ends(graph)
    for part in flow.components:
        if part.name in flow.supervisors:
            continue
        leave, ways = (
            (_stay, [END]) if flow.talks else _way(flow, part.name, entries, bench.telemetry)
        )
        match part:
            case Agent():
                _agent(graph, (part, flow.talks), (models, bench), (leave, ways))
            case Question():
                step = QuestionStep(part)
                graph.add_node(f"{part.name}#request", _node(step.ask))
                graph.add_node(f"{part.name}#fetch", _node(step.hear))
                graph.add_edge(f"{part.name}#request", f"{part.name}#fetch")
                graph.add_conditional_edges(f"{part.name}#fetch", leave, ways)
            case OneOff():
                _one_off(graph, part, (models, bench), (leave, ways))
            case FixedStep():
                node = _entry(part)
                graph.add_node(node, _node(CallStep(bench, part).run))
                graph.add_conditional_edges(node, leave, ways)
    graph.add_edge(START, entries[flow.entry])
    return graph.compile()


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
    graph: _Open,
    what: tuple[Agent, bool],
    means: tuple[Models, Bench],
    out: tuple[_Choice, list[str]],
) -> None:
    (agent, talks), (models, bench), (leave, ways) = what, means, out
    name = agent.name
    model, tools, approval = f"{name}#agent", f"{name}#tools", f"{name}#tool_approval_fetch"
    delegates = f"{name}#subagents"
    further = [delegates] if agent.delegation is not None else []

    # Plain functions would each cost a hop to a thread.
    async def after_model(state: State) -> str:
        if _asks(state):
            return approval
        past = past_of(state, name)
        if state.get("status") == EXECUTION and past and past[-1]["role"] != "assistant":
            # What was said is summed up, or was no answer: that is still to come.
            return model
        return await after_approval(state) if _goes_on(state, past) else await leave(state)

    async def after_approval(state: State) -> str:
        uses = history.open_uses(past_of(state, name))
        if any(use["name"] == flows.DELEGATE for use in uses) and agent.delegation is not None:
            return delegates
        return tools if uses else model

    async def after_tools(state: State) -> str:
        return approval if _asks(state) else model

    graph.add_node(model, _node(_asking(agent, models, bench, talks=talks)))
    graph.add_node(tools, _node(ToolStep(bench, agent).run))
    graph.add_node(approval, _node(ApprovalStep(agent).run))
    graph.add_conditional_edges(model, after_model, [approval, tools, model, *further, *ways])
    graph.add_conditional_edges(approval, after_approval, [tools, model, *further])
    graph.add_conditional_edges(tools, after_tools, [model, approval])
    if agent.delegation is not None:
        graph.add_node(delegates, _node(DelegateStep(SubagentStep(agent, models, bench)).run))
        graph.add_conditional_edges(delegates, after_approval, [tools, model, delegates])


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


def _one_off(
    graph: _Open,
    part: OneOff,
    means: tuple[Models, Bench],
    out: tuple[_Choice, list[str]],
) -> None:
    models, bench = means
    leave, ways = out
    model, tools = f"{part.name}#llm", f"{part.name}#tools"
    asks = ModelStep(
        models, part.agent, talks=False, vaults=bench.vaults, telemetry=bench.telemetry
    )
    step = OneOffStep(part, asks, ToolStep(bench, part.agent))

    async def after_tools(state: State) -> str:
        return await leave(state) if step.over(state) else model

    async def after_model(state: State) -> str:
        return tools if history.open_uses(past_of(state, part.name)) else await after_tools(state)

    graph.add_node(model, _node(step.ask))
    graph.add_node(tools, _node(step.run))
    graph.add_conditional_edges(model, after_model, [tools, model, *ways])
    graph.add_conditional_edges(tools, after_tools, [model, *ways])


async def _stay(_: State) -> str:
    return END


def _way(
    flow: Flow, name: str, entries: dict[str, str], telemetry: Telemetry
) -> tuple[_Choice, list[str]]:
    """Where a component's router leads, and all the places that it may lead to."""
    route = flow.routes[name]
    places = entries | {flows.END: TERMINATE, flows.ABORT: ABORTED}

    async def leave(state: State) -> str:
        found, text = route.next(state)
        if route.by is not None:
            turn = get_runtime(Scene).context.turn
            names = (turn.start.workflow_id, turn.definition, name)
            default = text is None and found is not None
            telemetry.emit(RouteTaken(*names, text if text is not None else INVALID, default))
        if found is None:
            raise Invalid(f"The router of {name!r} has no way for the value at hand.")
        return places[found]

    return leave, [places[target] for target in dict.fromkeys(route.to.values())]


def _ends(graph: _Open) -> None:
    for name, status in ((TERMINATE, COMPLETED), (ABORTED, BROKEN)):
        graph.add_node(name, _node(_ending(status)))
        graph.add_edge(name, END)


def _ending(status: str) -> _Step:
    async def end(_: State, __: Scene) -> State:
        return {"status": status}

    return end


def _node(step: _Step) -> Any:
    async def run(state: State, runtime: Runtime[Scene]) -> State:
        changed = await step(state, runtime.context)
        # Whatever the step is made of: what its models used goes with it.
        used = runtime.context.purse.take()
        return {**changed, "spent": used} if used else changed

    return run
