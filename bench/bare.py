"""A bare LangGraph agent: what a step of a model and a tool costs before anything of ours.

It speaks to nobody and stores in memory. Machines differ and have slow hours: what a session's step
costs is told in these, measured between the others of the same run.
"""

import asyncio
import operator
import subprocess
import sys
import time
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from bench.machine import SERVER_CORE

STEPS = 20
SESSIONS = 40
ROUNDS = 3
TEXT = "# Title\n" + "A line of the README.\n" * 20


class State(TypedDict):
    """What was said."""

    messages: Annotated[list[dict[str, Any]], operator.add]


def measure() -> float:
    """CPU milliseconds a step."""
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "bench.bare"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


async def _model(state: State) -> State:
    turn = len(state["messages"]) // 2
    call: dict[str, Any] = {"id": f"call-{turn}", "name": "read_file", "arguments": "{}"}
    said = {"text": "Done."} if turn == STEPS else {"text": "", "calls": [call]}
    return {"messages": [{"role": "assistant", **said}]}


async def _tool(state: State) -> State:
    call = state["messages"][-1]["calls"][0]
    return {"messages": [{"role": "tool", "id": call["id"], "text": TEXT}]}


def _next(state: State) -> str:
    return "tool" if "calls" in state["messages"][-1] else END


async def _run() -> float:
    graph = StateGraph(State)
    graph.add_node("model", _model)
    graph.add_node("tool", _tool)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", _next)
    graph.add_edge("tool", "model")
    goal: State = {"messages": [{"role": "user", "text": "Read it."}]}

    async def rounds(count: int) -> None:
        for number in range(count):
            # A store for each round, or it would grow with them.
            agent = graph.compile(checkpointer=InMemorySaver())

            async def session(name: str, agent: Any = agent) -> None:
                config = RunnableConfig(configurable={"thread_id": name}, recursion_limit=100)
                end = await agent.ainvoke(goal, config, durability="sync")
                if len(end["messages"]) != 2 * STEPS + 2:
                    raise SystemExit("a bare session did not take its steps")

            await asyncio.gather(*(session(f"{number}-{one}") for one in range(SESSIONS)))

    await rounds(1)
    began_s = time.process_time()
    await rounds(ROUNDS)
    return (time.process_time() - began_s) * 1000 / (ROUNDS * SESSIONS * STEPS)


if __name__ == "__main__":
    print(asyncio.run(_run()))
