"""A flow as a LangGraph graph: model, tools and approval in a loop."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from isthmus.core.workflow import Status
from isthmus.platform import history
from isthmus.platform.engine.components.human_step import HumanStep
from isthmus.platform.engine.components.model_step import ModelStep
from isthmus.platform.engine.components.tool_step import ToolStep
from isthmus.platform.engine.state import Scene, State
from isthmus.platform.flow import Flow

Graph: TypeAlias = CompiledStateGraph[State, Scene, State, State]
_Step: TypeAlias = Callable[[State, Scene], Awaitable[State]]


@dataclass(frozen=True, slots=True)
class Steps:
    """The components of a graph."""

    model: ModelStep
    tool: ToolStep
    human: HumanStep


def compile_flow(flow: Flow, steps: Steps) -> Graph:
    """The graph of a flow, without a checkpointer; it holds no state, so sessions share it."""
    name = flow.agent.name
    model, tools, approval = f"{name}#model", f"{name}#tools", f"{name}#approval"

    # Plain functions would each cost a hop to a thread.
    async def after_model(state: State) -> str:
        match state.get("status"):
            case Status.INPUT_REQUIRED.value:
                return END
            case Status.TOOL_CALL_APPROVAL_REQUIRED.value:
                return approval
            case _:
                return tools

    async def after_approval(state: State) -> str:
        past = state.get("conversation_history", {}).get(name, [])
        return tools if history.open_uses(past) else model

    graph: StateGraph[State, Scene, State, State] = StateGraph(State, context_schema=Scene)
    graph.add_node(model, _node(steps.model.run))
    graph.add_node(tools, _node(steps.tool.run))
    graph.add_node(approval, _node(steps.human.run))
    graph.add_edge(START, model)
    graph.add_conditional_edges(model, after_model, [END, approval, tools])
    graph.add_conditional_edges(approval, after_approval, [tools, model])
    graph.add_edge(tools, model)
    return graph.compile()


def _node(step: _Step) -> Any:
    async def run(state: State, runtime: Runtime[Scene]) -> State:
        return await step(state, runtime.context)

    return run
