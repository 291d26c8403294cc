"""Several agents that were handed work at once: one step of each, side by side, and then the next.

What the steps gave is stored together. The agents that ask the user wait until nobody else works,
and are decided on together. One that fails is told to the supervisor, and the others go on.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, TypeAlias

from langgraph.types import interrupt

from isthmus.core.errors import (
    Failure,
    Invalid,
    LimitExceeded,
    Rejected,
    TooLarge,
    ToolRefused,
    UpstreamFailed,
    UpstreamTimeout,
    Withheld,
)
from isthmus.core.workflow import Status
from isthmus.platform import ending, history, structured
from isthmus.platform.delegation import Order
from isthmus.platform.engine.components.human_step import ApprovalStep
from isthmus.platform.engine.components.subagent_step import At, SubagentStep
from isthmus.platform.engine.state import EXECUTION, Scene, State, joined, past_of
from isthmus.platform.entries import Entry

AT_ONCE: Final = 8
"""Agents of one supervisor that work at the same moment; a message may hand work to more."""
ASKS: Final = Status.TOOL_CALL_APPROVAL_REQUIRED
OWN: Final = (
    *(Invalid, LimitExceeded, Rejected, TooLarge, ToolRefused),
    *(UpstreamFailed, UpstreamTimeout, Withheld),
)
"""What may be the failure of one agent; any other one is the session's."""
_Stepped: TypeAlias = "tuple[State, structured.Answered | str | None] | Failure"


@dataclass(frozen=True, slots=True)
class Running:
    """A delegation that is under way: its call, and its conversation.

    `requests` are the entries of the log that ask the user, held back until nobody works.
    """

    id: str
    subagent: str
    subsession: int
    requests: list[Entry] = field(default_factory=list[Entry])

    @property
    def at(self) -> At:
        """The conversation."""
        return At(self.subagent, self.subsession)


@dataclass(frozen=True, slots=True)
class ParallelStep:
    """The step of one supervisor."""

    below: SubagentStep

    def begun(self, orders: Sequence[Order], ids: Sequence[str], count: int, scene: Scene) -> State:
        """A conversation for each order; `ids` are its call's, `count` tells of earlier orders."""
        running = [
            Running(use_id, order.subagent, order.subsession)
            for use_id, order in zip(ids, orders, strict=True)
        ]
        kept = {
            "delegations": count + len(orders),
            "subsessions": {order.subagent: order.subsession for order in orders},
        }
        begun = joined(self.below.begun(order, scene) for order in orders)
        return {**joined([begun, self._keep(running, kept)]), "status": EXECUTION}

    async def run(self, state: State, scene: Scene) -> State:
        """One step of all that work; where nobody works, the user's word on those that ask."""
        running = [Running(**one) for one in self.below.kept(state)["running"]]
        working = [one for one in running if not one.requests]
        if not working:
            return await self._decided(running, state, scene)
        due = list(self._due(working, state, scene))
        stepped = await self._all(due, state, scene)
        failures = [found for found in stepped.values() if isinstance(found, Failure)]
        past = past_of(state, self.below.supervisor.name)
        if len(failures) == len(running) and past[-1]["role"] == "assistant":
            # Nobody got anywhere: the session goes on from here when it is asked again.
            raise failures[0]
        whole, left = self._settled(running, stepped, scene)
        if not left or not all(one.requests for one in left):
            return {**whole, "status": EXECUTION}
        await scene.stage.wait(ASKS)
        asked: State = {"ui_chat_log": [entry for one in left for entry in one.requests]}
        return {**joined([whole, asked]), "status": ASKS.value}

    def _settled(
        self, running: Sequence[Running], stepped: Mapping[str, _Stepped], scene: Scene
    ) -> tuple[State, list[Running]]:
        """What the steps changed, in the order of the calls, and who is not at an end."""
        changes: list[State] = []
        left: list[Running] = []
        for one in running:
            found = stepped.get(one.id)
            if found is None:
                left.append(one)
            elif isinstance(found, Failure):
                why = f"{one.subagent} failed: {ending.told(found)}"
                changes.append(self.below.refused([one.id], why, scene, one.subsession))
            else:
                changed, answer = found
                requests, log = _parted(changed)
                changes.append({**changed, "ui_chat_log": log})
                if answer is None:
                    left.append(replace(one, requests=requests))
                else:
                    changes.append(self.below.returned(one.at, one.id, answer, scene))
        return joined([*changes, self._keep(left)]), left

    def _due(self, working: Sequence[Running], state: State, scene: Scene) -> Iterator[Running]:
        """Those whose turn it is: of calls that change the plan, one agent's at a time."""
        plans = False
        for one in working:
            agent = self.below.agent(one.at, scene)
            tools = scene.turn.kits[agent.name].tools
            uses = history.open_uses(past_of(state, agent.key))
            planning = any(tools[u["name"]].plans is not None for u in uses if u["name"] in tools)
            if planning and plans:
                continue
            plans = plans or planning
            yield one

    async def _all(self, due: Sequence[Running], state: State, scene: Scene) -> dict[str, _Stepped]:
        """A step of each, by the id of its call."""
        gate, beside = asyncio.Semaphore(AT_ONCE), replace(scene, beside=True)

        async def step(one: Running) -> _Stepped:
            async with gate:
                try:
                    return await self.below.step(one.at, state, beside)
                except OWN as failure:
                    return failure

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step(one)) for one in due]
        return {one.id: task.result() for one, task in zip(due, tasks, strict=True)}

    async def _decided(self, running: Sequence[Running], state: State, scene: Scene) -> State:
        """Wait for the decision on all calls that the agents ask about, and hand it to each."""
        if not scene.resuming:
            await scene.stage.wait(ASKS)
        agents = [self.below.agent(one.at, scene) for one in running]
        uses = [use for agent in agents for use in history.open_uses(past_of(state, agent.key))]
        answer: dict[str, Any] = interrupt({"tool_calls": [use["id"] for use in uses]})
        changes: list[State] = []
        for one, agent in zip(running, agents, strict=True):
            result = ApprovalStep(agent).decided(answer, self.below.within(one.at, state), scene)
            changed, _ = self.below.outside(one.at, result)
            if changes:
                # The user spoke once.
                log = [e for e in changed.get("ui_chat_log", []) if e["message_type"] != "user"]
                changed["ui_chat_log"] = log
            changes.append(changed)
        left = [replace(one, requests=[]) for one in running]
        return {**joined([*changes, self._keep(left)]), "status": EXECUTION}

    def _keep(self, running: Sequence[Running], more: dict[str, Any] | None = None) -> State:
        kept = {"running": [asdict(one) for one in running], **(more or {})}
        return {"context": {self.below.supervisor.name: kept}}


def _parted(changed: State) -> tuple[list[Entry], list[Entry]]:
    """The entries that ask the user, and the others."""
    log = changed.get("ui_chat_log", [])
    asks = changed.get("status") == ASKS.value
    requests = [entry for entry in log if asks and entry["message_type"] == "request"]
    return requests, [entry for entry in log if entry not in requests]
