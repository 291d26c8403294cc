"""Does what a user commands in place of asking the model; then the turn is the user's again."""

from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from isthmus.core.workflow import Status
from isthmus.platform import commands, compaction, entries
from isthmus.platform.commands import COMPACT
from isthmus.platform.engine.components.compaction_step import CompactionStep
from isthmus.platform.engine.components.model_step import ModelStep
from isthmus.platform.engine.state import Scene, State, past_of
from isthmus.platform.flow import Compaction

SUMMED_UP: Final = "The older part of this conversation is now a summary, which I go on from."
TOO_LITTLE: Final = "There is too little in this conversation to sum up yet."
FAILED: Final = "The conversation could not be summed up; it stays as it is. Try again later."


@dataclass(frozen=True, slots=True)
class CommandStep:
    """The step of a conversation's agent; `model` is what it does without a command."""

    model: ModelStep

    async def run(self, state: State, scene: Scene) -> State:
        """Carry out the state's command, or go on with the model. Raises as `ModelStep.run`."""
        kept = state.get("command")
        if not kept:
            return await self.model.run(state, scene)
        name = kept.get("name", "")
        if name == COMPACT:
            result = await self._compacted(kept.get("text", ""), state, scene)
        else:
            result = self._line(commands.unknown(name, scene.commands), scene, failed=True)
        await scene.stage.wait(Status.INPUT_REQUIRED)
        return {**result, "status": Status.INPUT_REQUIRED.value, "command": None}

    async def _compacted(self, hint: str, state: State, scene: Scene) -> State:
        step, agent = self.model, self.model.agent
        rules, past = agent.compaction or Compaction(), past_of(state, agent.key)
        room = scene.turn.choice(agent.name).max_context_tokens
        plan = compaction.parts(past, rules, room)
        if plan is None:
            return self._line(TOO_LITTLE, scene)
        scene.purse.check(state.get("spent") or {})
        await scene.stage.announce()
        compacts = CompactionStep(step.models, step.telemetry, agent)
        wish = compaction.wish(scene.frame.safe(hint))
        ask = step.ask(state, scene, 1)
        result = await compacts.summed(ask, step.head(state, scene), plan, scene, wish)
        if result is None:
            return self._line(FAILED, scene, failed=True)
        line = self._line(SUMMED_UP, scene)
        log = [*result.get("ui_chat_log", []), *line.get("ui_chat_log", [])]
        return {**result, "ui_chat_log": log}

    def _line(self, text: str, scene: Scene, *, failed: bool = False) -> State:
        """One line of the agent's."""
        at, name = scene.stage.utc().isoformat(), self.model.agent.name
        entry = entries.agent(text, f"agent-{uuid4()}", at, name)
        if failed:
            entry["status"] = "failure"
        return {"ui_chat_log": [entry]}
