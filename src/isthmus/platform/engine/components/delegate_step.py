"""Hands work to other agents, one after another or several at once, one step of each at a time.

Every step is stored, so that a session goes on inside of a delegation. The state of the supervisor
says which conversation runs (`delegation`: agent, number) or which ones (`running`), how many an
agent had (`subsessions`), and how often work was delegated (`delegations`).
"""

from dataclasses import dataclass
from typing import Any

from isthmus.platform import delegation, history
from isthmus.platform.delegation import Order
from isthmus.platform.engine.components.parallel_step import ParallelStep
from isthmus.platform.engine.components.subagent_step import At, SubagentStep
from isthmus.platform.engine.state import EXECUTION, Scene, State, joined, past_of
from isthmus.platform.flow import Delegation


@dataclass(frozen=True, slots=True)
class DelegateStep:
    """The step of one supervisor."""

    below: SubagentStep

    async def run(self, state: State, scene: Scene) -> State:
        """Begin to delegate, or go on with what runs."""
        below, kept = self.below, self.below.kept(state)
        uses = history.open_uses(past_of(state, below.supervisor.name))
        if kept.get("running"):
            return await ParallelStep(below).run(state, scene)
        if kept.get("delegation"):
            return await self._step(state, scene, uses[0]["id"])
        to = below.supervisor.delegation or Delegation(())
        begun: dict[str, int] = kept.get("subsessions") or {}
        count = int(kept.get("delegations") or 0)
        if to.parallel and scene.turn.parallel:
            orders = delegation.read_all(uses, to, begun, count)
            if not isinstance(orders, str):
                ids = [use["id"] for use in uses]
                return ParallelStep(below).begun(orders, ids, count, scene)
            return below.refused([use["id"] for use in uses], orders, scene)
        order = delegation.read(uses, to, begun, count)
        if isinstance(order, str):
            return below.refused([use["id"] for use in uses], order, scene)
        return self._begun(order, count, scene)

    def _begun(self, order: Order, count: int, scene: Scene) -> State:
        name, number = order.subagent, order.subsession
        kept: dict[str, Any] = {
            "delegation": {"subagent": name, "subsession": number},
            "delegations": count + 1,
        }
        if order.new:
            kept["subsessions"] = {name: number}
        begun = self.below.begun(order, scene)
        return {**begun, "status": EXECUTION, "context": {self.below.supervisor.name: kept}}

    async def _step(self, state: State, scene: Scene, use_id: str) -> State:
        """One step of the agent; its answer is the supervisor's result."""
        running = self.below.kept(state)["delegation"]
        at = At(str(running["subagent"]), int(running["subsession"]))
        changed, answer = await self.below.step(at, state, scene)
        if answer is None:
            return changed
        over: State = {"context": {self.below.supervisor.name: {"delegation": None}}}
        returned = self.below.returned(at, use_id, answer, scene)
        return {**joined([changed, returned, over]), "status": EXECUTION}
