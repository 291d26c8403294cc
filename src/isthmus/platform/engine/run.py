"""Prepares and drives turns on LangGraph: where to go on, what goes in, what came out."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.types import INTERRUPT
from langgraph.errors import GraphRecursionError
from langgraph.types import Command
from langsmith import tracing_context  # pyright: ignore[reportUnknownVariableType] - half typed

from isthmus.core.errors import Conflict, Interrupted, Invalid, LimitExceeded
from isthmus.core.ports import CheckpointStore, Clock, Telemetry
from isthmus.core.workflow import WAITING, Status
from isthmus.platform.engine.compile import Graph, Steps, compile_flow
from isthmus.platform.engine.components.human_step import HumanStep, user_turn
from isthmus.platform.engine.components.model_step import ModelStep
from isthmus.platform.engine.components.tool_step import ToolStep
from isthmus.platform.engine.saver import Habits, Saver
from isthmus.platform.engine.state import EXECUTION, Scene, State, snapshot, status_of
from isthmus.platform.flow import Flow
from isthmus.platform.mode import Mode
from isthmus.platform.start import Decision
from isthmus.platform.turn import Run, Stage, Turn, Written
from isthmus.routing.models import Models


@dataclass(frozen=True, slots=True)
class Goal:
    """The user's words go in as a new message."""

    text: str


@dataclass(frozen=True, slots=True)
class GoOn:
    """Nothing goes in: the last checkpoint's next step runs."""


Entrance: TypeAlias = Goal | Decision | GoOn


@dataclass(frozen=True, slots=True)
class Equipment:
    """What the engine works with. `redact` takes secrets out of what tools return."""

    models: Models
    checkpoints: CheckpointStore
    telemetry: Telemetry
    clock: Clock
    redact: Callable[[str], str]
    max_steps: int = 600


class GraphEngine:
    """Runs turns on LangGraph; graphs are compiled once a flow."""

    def __init__(self, equipment: Equipment) -> None:
        self._checkpoints = equipment.checkpoints
        self._max_steps = equipment.max_steps
        self._steps = Steps(
            model=ModelStep(equipment.models),
            tool=ToolStep(equipment.telemetry, equipment.clock, equipment.redact),
            human=HumanStep(),
        )
        self._graphs: dict[Flow, Graph] = {}

    async def prepare(self, turn: Turn) -> Run:
        """Read the last checkpoint and decide where to go on; changes nothing. Raises Invalid."""
        # A retry may follow a server that is not quite dead: only a resume, which the record lets
        # happen once, knows that it is the thread's only writer.
        habits = Habits(continues=turn.mode is Mode.RESUME, pauses_only=True)
        saver = Saver(self._checkpoints, habits)
        fork = turn.start.fork_id or None
        head = await saver.head(turn.start.workflow_id, fork)
        if fork is not None and head is None:
            raise Invalid(f"Unknown resume_checkpoint_ts: {fork[:64]}")
        if turn.mode is Mode.START and head is not None:
            raise Conflict("A workflow that was never started already has checkpoints.")
        entered = entrance(turn, head)
        graph = self._graphs.get(turn.flow)
        if graph is None:
            graph = self._graphs[turn.flow] = compile_flow(turn.flow, self._steps)
        return GraphRun(graph, saver, turn, entered, self._max_steps)


def entrance(turn: Turn, head: CheckpointTuple | None) -> Entrance:
    """What goes into the graph. Raises Invalid when the turn does not fit the session's state.

    Source: agent-platform contract, section 4.9.
    """
    start = turn.start
    if head is None:
        goal = start.goal or turn.record_goal
        if not goal.strip():
            raise Invalid("A goal is needed to start a session.")
        return Goal(goal)
    if any(channel == INTERRUPT for _, channel, _ in head.pending_writes or ()):
        if start.decision is not None:
            return start.decision
        if start.goal.strip():
            return Decision("response", start.goal)
    elif start.decision is not None:
        raise Invalid("There is no tool call to decide on.")
    elif start.goal.strip():
        return Goal(start.goal)
    if turn.mode is Mode.RESUME:
        raise Invalid("A goal is needed to go on with this session.")
    return GoOn()


class GraphRun:
    """One turn that is ready to run."""

    def __init__(
        self, graph: Graph, saver: Saver, turn: Turn, entered: Entrance, max_steps: int
    ) -> None:
        self._graph = graph
        self._saver = saver
        self._turn = turn
        self._entered = entered
        self._max_steps = max_steps

    async def drive(self, stage: Stage) -> Status:
        """Run to the end of the turn: the status that the session is in then."""
        scene = Scene(self._turn, stage, resuming=isinstance(self._entered, Decision))
        self._saver.told = self._teller(stage)
        self._show(stage, self._values() | {"status": EXECUTION})
        try:
            await self._stream(scene)
        except GraphRecursionError as error:
            raise LimitExceeded(
                f"The session reached its limit of {self._max_steps} steps.", 0.0
            ) from error
        status = status_of(self._values())
        if status in WAITING:
            await stage.wait(status)
        self._show(stage, self._values())
        return status

    async def _stream(self, scene: Scene) -> None:
        configurable = {"thread_id": self._turn.start.workflow_id}
        if self._turn.start.fork_id:
            configurable["checkpoint_id"] = self._turn.start.fork_id
        config = RunnableConfig(configurable=configurable, recursion_limit=self._max_steps)
        graph = self._graph.copy({"checkpointer": self._saver})
        # The engine's library would report runs to its vendor if the environment asked for it.
        with tracing_context(enabled=False):
            steps = graph.astream(
                self._input(scene),
                config,
                context=scene,
                stream_mode="values",
                durability="sync",
            )
            async with aclosing(cast("AsyncGenerator[object, None]", steps)) as running:
                async for _ in running:
                    if scene.stage.leaving:
                        raise Interrupted("workflow execution interrupted: RUNNING")

    def _input(self, scene: Scene) -> State | Command[Any] | None:
        match self._entered:
            case Goal(text):
                said, entry = user_turn(text, scene)
                return {
                    "status": EXECUTION,
                    "goal": text,
                    "plan": {"steps": []},
                    "conversation_history": {self._turn.flow.agent.name: [said]},
                    "ui_chat_log": [entry],
                }
            case Decision(kind, message):
                return Command(resume={"kind": kind, "message": message})
            case GoOn():
                return None

    def _values(self) -> dict[str, Any]:
        return dict(self._saver.values(self._turn.start.workflow_id))

    def _show(self, stage: Stage, values: Mapping[str, Any]) -> None:
        stage.show(snapshot(values, self._turn.model.choice.max_context_tokens))

    def _teller(self, stage: Stage) -> Callable[[Mapping[str, Any], Written], None]:
        def told(values: Mapping[str, Any], written: Written) -> None:
            stage.stored(written)
            if "__start__" not in values:
                self._show(stage, values)

        return told
