"""One step of an agent that work was delegated to, in a conversation of its own."""

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
from isthmus.platform.flow import Agent
from isthmus.platform.history import Stored
from isthmus.platform.truncate import shown, truncated
from isthmus.routing.models import Models


@dataclass(frozen=True, slots=True)
class At:
    """A conversation of an agent: its name, and the number of its conversations, from 1."""

    subagent: str
    subsession: int


@dataclass(frozen=True, slots=True)
class SubagentStep:
    """The steps of the agents below one supervisor."""

    supervisor: Agent
    models: Models
    bench: Bench

    def kept(self, state: State) -> dict[str, Any]:
        """What the state holds of the supervisor's delegations."""
        return state.get("context", {}).get(self.supervisor.name) or {}

    def agent(self, at: At, scene: Scene) -> Agent:
        """The agent in this conversation."""
        return replace(scene.turn.flow.agents[at.subagent], subsession=at.subsession)

    def within(self, at: At, state: State) -> State:
        """The state as the agent sees it: its outputs are those of this conversation."""
        context = state.get("context", {})
        conversations: dict[str, Any] = context.get(at.subagent) or {}
        own = conversations.get(str(at.subsession), {})
        return {**state, "context": {**context, f"{at.subagent}#{at.subsession}": own}}

    def begun(self, order: Order, scene: Scene) -> State:
        """The first message of a conversation, or a further one."""
        name, number = order.subagent, order.subsession
        asked: Stored = {"role": "user", "text": order.prompt}
        return {
            "conversation_history": {f"{name}#{number}": [asked]},
            "ui_chat_log": self.told("on_delegation", f"{name}: {order.about}", number, scene),
        }

    async def step(
        self, at: At, state: State, scene: Scene
    ) -> tuple[State, structured.Answered | str | None]:
        """What a step changes, and the answer where it ended the conversation."""
        agent = self.agent(at, scene)
        result = await self._one(agent, self.within(at, state), scene)
        return self.outside(at, result)

    def outside(self, at: At, result: State) -> tuple[State, structured.Answered | str | None]:
        """A step's change as the session keeps it, and the answer where there is one."""
        name, number = at.subagent, str(at.subsession)
        made = dict(result.get("context") or {})
        output: dict[str, Any] = made.pop(f"{name}#{number}", {})
        if output:
            made[name] = {number: output}
        log = [
            {**entry, "subsession_id": number} if entry.get("component_name") == name else entry
            for entry in result.get("ui_chat_log", [])
        ]
        changed: State = {**result, "ui_chat_log": log}
        if made:
            changed["context"] = made
        return changed, output.get("final_answer")

    def returned(
        self, at: At, use_id: str, answer: structured.Answered | str, scene: Scene
    ) -> State:
        """The answer as the supervisor's result."""
        text = answer if isinstance(answer, str) else structured.text_of(answer)
        told = delegation.wrapped(at.subagent, at.subsession, scene.frame.safe(truncated(text)))
        said: Stored = {"role": "tool", "id": use_id, "text": told, "failed": False}
        text = f"{at.subagent}: {shown(text)}"
        return {
            "conversation_history": {self.supervisor.name: [said]},
            "ui_chat_log": self.told("on_delegation_returns", text, at.subsession, scene),
        }

    def refused(self, use_ids: list[str], why: str, scene: Scene, number: int = 0) -> State:
        """The supervisor is told why a delegation came to nothing."""
        said: list[Stored] = [
            {"role": "tool", "id": use_id, "text": why, "failed": True} for use_id in use_ids
        ]
        return {
            "status": EXECUTION,
            "conversation_history": {self.supervisor.name: said},
            "ui_chat_log": self.told("on_delegation_error", why, number, scene),
        }

    async def _one(self, agent: Agent, state: State, scene: Scene) -> State:
        bench = self.bench
        if state.get("status") == Status.TOOL_CALL_APPROVAL_REQUIRED.value and not scene.beside:
            return await ApprovalStep(agent).run(state, scene)
        if history.open_uses(past_of(state, agent.key)):
            return await ToolStep(bench, agent).run(state, scene)
        model = ModelStep(
            self.models, agent, talks=False, vaults=bench.vaults, telemetry=bench.telemetry
        )
        return await model.run(state, scene)

    def told(
        self,
        event: Literal["on_delegation", "on_delegation_returns", "on_delegation_error"],
        text: str,
        number: int,
        scene: Scene,
    ) -> list[entries.Entry]:
        """The log's entry of an event, where the flow shows it."""
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
