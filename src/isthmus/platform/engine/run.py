"""Prepares and drives turns on LangGraph: where to go on, what goes in, what came out."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, get_checkpoint_id
from langgraph.checkpoint.serde.types import INTERRUPT
from langgraph.errors import GraphRecursionError
from langgraph.types import Command
from langsmith import tracing_context  # pyright: ignore[reportUnknownVariableType] - half typed

from isthmus.core.errors import Conflict, Interrupted, Invalid, LimitExceeded
from isthmus.core.ports import Clock, Telemetry
from isthmus.core.workflow import WAITING, Status
from isthmus.platform import entries
from isthmus.platform.budget import Budgets, Purse, beyond
from isthmus.platform.cancelled import cancelled
from isthmus.platform.commands import Templates
from isthmus.platform.engine.compile import Graph, compile_flow
from isthmus.platform.engine.components.human_step import spoken, user_turn
from isthmus.platform.engine.components.tool_step import Bench
from isthmus.platform.engine.saver import Habits, Saver
from isthmus.platform.engine.state import EXECUTION, Scene, State, snapshot, status_of
from isthmus.platform.mode import Mode
from isthmus.platform.scan import Guard
from isthmus.platform.start import Decision
from isthmus.platform.turn import Run, Stage, Turn, Written
from isthmus.platform.vault import Vaults
from isthmus.routing.models import Models
from isthmus.settings import PlatformSettings

MAX_GRAPHS = 64


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
    """What the engine works with.

    `vaults` take secrets out of what tools return, `guard` looks for orders to a model in it.
    `commands` are those of conversations, besides the engine's own.
    """

    models: Models
    telemetry: Telemetry
    clock: Clock
    vaults: Vaults
    guard: Guard
    settings: PlatformSettings
    commands: Templates = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Way:
    """How a turn enters its graph: with what, at which checkpoint, and what was left behind.

    `carried` is what models were used for in steps that are gone back behind.
    """

    entered: Entrance
    checkpoint_id: str | None = None
    cancelled: Sequence[entries.Entry] = ()
    carried: Mapping[str, int] = field(default_factory=dict[str, int])


class GraphEngine:
    """Runs turns on LangGraph; the graphs of the flows that ran last are kept."""

    def __init__(self, equipment: Equipment) -> None:
        self._equipment = equipment
        self._budgets = Budgets(equipment.settings.budgets, equipment.telemetry)
        self._bench = Bench(equipment.telemetry, equipment.clock, equipment.vaults, equipment.guard)
        self._graphs: OrderedDict[str, Graph] = OrderedDict()

    async def prepare(self, turn: Turn) -> Run:
        """Read the last checkpoint and decide where to go on; changes nothing. Raises Invalid."""
        # The lease makes sure that nobody else writes: the groups that are read may be continued.
        habits = Habits(continues=True, pauses_only=True, lease=turn.lease, book=turn.book)
        saver = Saver(turn.stores.checkpoints, habits)
        fork = await self._fork(saver, turn)
        head = await saver.head(turn.start.workflow_id, fork)
        if fork is not None and head is None:
            raise Invalid(f"Unknown resume_checkpoint_ts: {fork[:64]}")
        if turn.mode is Mode.START and head is not None:
            raise Conflict("A workflow that was never started already has checkpoints.")
        # Its server was lost before the client heard of it: the client is shown what there is.
        took = _took(turn, head)
        renewed = turn.stopped and not turn.flow.talks and turn.start.goal.strip()
        if head is not None and renewed and not took:
            return await self._recovered(saver, turn, head)
        way = Way(GoOn() if took else entrance(turn, head), fork)
        if head is not None:
            await turn.book.open(goes_on=fork is None and not isinstance(way.entered, Goal))
        if fork is not None:
            way = replace(way, carried=await self._carried(saver, turn, head))
        return self._run(saver, turn, way)

    async def _fork(self, saver: Saver, turn: Turn) -> str | None:
        """The old checkpoint to go on from; None also where this message did so before."""
        fork = turn.start.fork_id or None
        if fork is None:
            return None
        if not turn.flow.talks:
            raise Invalid("resume_checkpoint_ts: only conversations go on from an old checkpoint.")
        if turn.start.id and _took(turn, await saver.head(turn.start.workflow_id, None)):
            return None
        return fork

    def _run(self, saver: Saver, turn: Turn, way: Way) -> Run:
        if isinstance(way.entered, Decision):
            saver.unanswered()
        purse = Purse(self._budgets, way.carried)
        own = self._equipment
        means = Means(own.clock, purse, own.commands, own.settings)
        return GraphRun(self._graph(turn), saver, turn, way, means)

    async def _carried(
        self, saver: Saver, turn: Turn, back: CheckpointTuple | None
    ) -> Mapping[str, int]:
        """What was used behind the step that is gone back to; going back saves nothing."""
        if not self._budgets.counted:
            return {}
        newest = await saver.latest(turn.start.workflow_id, lambda _: True)
        return beyond(_spent(newest), _spent(back))

    async def _recovered(self, saver: Saver, turn: Turn, head: CheckpointTuple) -> Run:
        """Go back to the last pause with the new goal; without a pause, to the very beginning."""
        thread_id, goal = turn.start.workflow_id, turn.start.goal
        await turn.book.open(goes_on=False)
        pause = await saver.latest(thread_id, _asks_for_input)
        if pause is not None:
            left = cancelled(_log(head), _log(pause))
            back = await saver.head(thread_id, get_checkpoint_id(pause.config))
            carried = beyond(_spent(head), _spent(back))
            way = Way(entrance(turn, back), get_checkpoint_id(pause.config), left, carried)
            return self._run(saver, turn, way)
        first = await saver.first(thread_id)
        carried = beyond(_spent(head), _spent(await saver.head(thread_id, first)))
        return self._run(saver, turn, Way(Goal(goal), first, (), carried))

    def _graph(self, turn: Turn) -> Graph:
        graph = self._graphs.pop(turn.flow.key, None)
        if graph is None:
            graph = compile_flow(turn.flow, self._equipment.models, self._bench)
        self._graphs[turn.flow.key] = graph
        if len(self._graphs) > MAX_GRAPHS:
            self._graphs.popitem(last=False)
        return graph


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
    status = status_of(head.checkpoint["channel_values"])
    # The status tells of a pause whose own write was lost with its server.
    pauses = WAITING - ({Status.INPUT_REQUIRED} if turn.flow.talks else set())
    if status in pauses or any(name == INTERRUPT for _, name, _ in head.pending_writes or ()):
        if start.decision is not None:
            return start.decision
        if start.goal.strip():
            if status is Status.TOOL_CALL_APPROVAL_REQUIRED and not turn.flow.talks:
                raise Invalid("A decision on the tool calls is needed, and not a goal.")
            return Decision("response", start.goal)
    elif start.decision is not None:
        raise Invalid("There is no tool call to decide on.")
    elif start.goal.strip() and turn.flow.talks:
        return Goal(start.goal)
    # A client that remembers may have missed the end of a turn.
    if turn.mode is Mode.RESUME and not start.memory:
        raise Invalid("A goal is needed to go on with this session.")
    return GoOn()


def _took(turn: Turn, head: CheckpointTuple | None) -> bool:
    """Whether this very message went in before."""
    if head is None or not turn.start.id:
        return False
    return bool(turn.start.id == head.checkpoint["channel_values"].get("start_id"))


def _asks_for_input(found: CheckpointTuple) -> bool:
    return status_of(found.checkpoint["channel_values"]) is Status.INPUT_REQUIRED and any(
        channel == INTERRUPT for _, channel, _ in found.pending_writes or ()
    )


def _log(found: CheckpointTuple) -> list[entries.Entry]:
    return found.checkpoint["channel_values"].get("ui_chat_log") or []


def _spent(found: CheckpointTuple | None) -> Mapping[str, int]:
    return {} if found is None else found.checkpoint["channel_values"].get("spent") or {}


@dataclass(frozen=True, slots=True)
class Means:
    """What a turn is driven by, and how far."""

    clock: Clock
    purse: Purse
    commands: Templates
    settings: PlatformSettings


class GraphRun:
    """One turn that is ready to run."""

    def __init__(self, graph: Graph, saver: Saver, turn: Turn, way: Way, means: Means) -> None:
        self._graph = graph
        self._saver = saver
        self._turn = turn
        self._entered, self._way = way.entered, way
        self._means, self._max_steps = means, means.settings.max_steps

    async def drive(self, stage: Stage) -> Status:
        """Run to the end of the turn: the status that the session is in then."""
        means = self._means
        scene = Scene(
            self._turn,
            stage,
            means.clock,
            means.purse,
            means.commands,
            retries=means.settings.model_retries,
            start_id="" if isinstance(self._entered, GoOn) else self._turn.start.id,
            resuming=isinstance(self._entered, Decision),
            cancelled=self._way.cancelled,
        )
        self._saver.told = self._teller(stage)
        self._show(stage, self._values() | {"status": EXECUTION})
        # Clients take the first state of a stream as what they know already.
        await stage.shown()
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
        if self._way.checkpoint_id:
            configurable["checkpoint_id"] = self._way.checkpoint_id
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
                return self._goal(text, scene)
            case Decision(kind, message):
                return Command(resume={"kind": kind, "message": message})
            case GoOn():
                return None

    def _goal(self, text: str, scene: Scene) -> State:
        """A conversation gets the words as a message, another flow as a part of its context."""
        flow = self._turn.flow
        begun: State = {"status": EXECUTION, "goal": text, "plan": {"steps": []}}
        if flow.talks:
            said, entry, heard = spoken(text, self._values(), scene)
            begun |= heard
            if said:
                begun["conversation_history"] = {flow.agent.name: said}
        else:
            _, entry = user_turn(text, scene)
            begun["context"] = {**self._turn.context, "goal": text}
        if flow.environment == "ambient":
            entry = entries.begun(text, str(entry["message_id"]), scene.stage.utc().isoformat())
        begun["ui_chat_log"] = [entry]
        if scene.start_id:
            begun["start_id"] = scene.start_id
        # At once: a turn that is stopped before its first answer must not lose it.
        if carried := scene.purse.take():
            begun["spent"] = carried
        return begun

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
