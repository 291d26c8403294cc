"""Runs the agent that work was delegated to, one step of its loop at a time.

Every step is stored, so that a session goes on inside of a delegation. The state of the supervisor
says which conversation runs (`delegation`: agent, number), how many an agent had (`subsessions`),
and how often work was delegated (`delegations`).
"""

from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import uuid4

from isthmus.core.workflow import Status
from isthmus.platform import delegation, entries, history, structured
from isthmus.platform.delegation import Order
from isthmus.platform.engine.components.human_step import ApprovalStep
from isthmus.platform.engine.components.model_step import ModelStep
from isthmus.platform.engine.components.tool_step import Bench, ToolStep
from isthmus.platform.engine.state import EXECUTION, Scene, State, past_of
from isthmus.platform.flow import Agent, Delegation
from isthmus.platform.history import Stored, StoredUse
from isthmus.platform.truncate import shown, truncated
from isthmus.routing.models import Models


@dataclass(frozen=True, slots=True)
class DelegateStep:
    """The step of one supervisor."""

    supervisor: Agent
    models: Models
    bench: Bench

    async def run(self, state: State, scene: Scene) -> State:
        """Begin a delegation, or go on with the one that runs."""
        kept = self._kept(state)
        uses = history.open_uses(past_of(state, self.supervisor.name))
        if kept.get("delegation"):
            return await self._step(state, scene, uses[0])
        to = self.supervisor.delegation or Delegation(())
        begun: dict[str, int] = kept.get("subsessions") or {}
        count = int(kept.get("delegations") or 0)
        order = delegation.read(uses, to, begun, count)
        if isinstance(order, str):
            return self._refused(uses, order, scene)
        return self._begun(order, count, scene)

    def _refused(self, uses: list[StoredUse], why: str, scene: Scene) -> State:
        said: list[Stored] = [
            {"role": "tool", "id": use["id"], "text": why, "failed": True} for use in uses
        ]
        return {
            "status": EXECUTION,
            "conversation_history": {self.supervisor.name: said},
            "ui_chat_log": self._told("on_delegation_error", why, 0, scene),
        }

    def _begun(self, order: Order, count: int, scene: Scene) -> State:
        name, number = order.subagent, order.subsession
        kept: dict[str, Any] = {
            "delegation": {"subagent": name, "subsession": number},
            "delegations": count + 1,
        }
        if order.new:
            kept["subsessions"] = {name: number}
        asked: Stored = {"role": "user", "text": order.prompt}
        text = f"{name}: {order.prompt}"
        return {
            "status": EXECUTION,
            "conversation_history": {f"{name}#{number}": [asked]},
            "ui_chat_log": self._told("on_delegation", text, number, scene),
            "context": {self.supervisor.name: kept},
        }

    async def _step(self, state: State, scene: Scene, use: StoredUse) -> State:
        """One step of the agent; its answer is the supervisor's result."""
        running = self._kept(state)["delegation"]
        name, number = str(running["subagent"]), int(running["subsession"])
        agent = replace(scene.turn.flow.agents[name], subsession=number)
        context = state.get("context", {})
        conversations: dict[str, dict[str, Any]] = context.get(name) or {}
        own = conversations.get(str(number), {})
        within: State = {**state, "context": {**context, agent.key: own}}
        result = await self._one(agent, within, scene)
        made = dict(result.get("context") or {})
        output: dict[str, Any] = made.pop(agent.key, {})
        log = [
            {**entry, "subsession_id": str(number)}
            if entry.get("component_name") == name
            else entry
            for entry in result.get("ui_chat_log", [])
        ]
        changed: State = {**result, "ui_chat_log": log}
        if output:
            made[name] = {str(number): output}
        if "final_answer" in output:
            answer: structured.Answered | str = output["final_answer"]
            text = answer if isinstance(answer, str) else structured.text_of(answer)
            told = delegation.wrapped(name, number, scene.frame.safe(truncated(text)))
            said: Stored = {"role": "tool", "id": use["id"], "text": told, "failed": False}
            pasts = result.get("conversation_history") or {}
            changed["conversation_history"] = {**pasts, self.supervisor.name: [said]}
            log += self._told("on_delegation_returns", f"{name}: {shown(text)}", number, scene)
            made[self.supervisor.name] = {"delegation": None}
        if made:
            changed["context"] = made
        return changed

    async def _one(self, agent: Agent, state: State, scene: Scene) -> State:
        bench = self.bench
        if state.get("status") == Status.TOOL_CALL_APPROVAL_REQUIRED.value:
            return await ApprovalStep(agent).run(state, scene)
        if history.open_uses(past_of(state, agent.key)):
            return await ToolStep(bench, agent).run(state, scene)
        model = ModelStep(
            self.models, agent, talks=False, vaults=bench.vaults, telemetry=bench.telemetry
        )
        return await model.run(state, scene)

    def _kept(self, state: State) -> dict[str, Any]:
        return state.get("context", {}).get(self.supervisor.name) or {}

    def _told(
        self,
        event: Literal["on_delegation", "on_delegation_returns", "on_delegation_error"],
        text: str,
        number: int,
        scene: Scene,
    ) -> list[entries.Entry]:
        if not self.supervisor.shows(event):
            return []
        at = scene.stage.utc().isoformat()
        entry = entries.agent(text, f"agent-{uuid4()}", at, self.supervisor.name)
        entry["message_sub_type"] = event.removeprefix("on_")
        if event == "on_delegation_error":
            entry["status"] = "failure"
        if number:
            entry["subsession_id"] = str(number)
        return [entry]
