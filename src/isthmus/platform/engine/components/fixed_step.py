"""One call of one tool, without a model."""

import json
from dataclasses import dataclass

from langgraph.config import get_config

from isthmus.platform import address, calls, entries
from isthmus.platform.engine.components.tool_step import Bench, doubted, event, status
from isthmus.platform.engine.state import EXECUTION, Scene, State
from isthmus.platform.flow import FixedStep
from isthmus.platform.history import Stored
from isthmus.platform.truncate import shown


@dataclass(frozen=True, slots=True)
class CallStep:
    """The step."""

    bench: Bench
    step: FixedStep

    async def run(self, state: State, scene: Scene) -> State:
        """Call the tool; its failure is an output like another one."""
        step, kit = self.step, scene.turn.kits[self.step.name]
        args = {k: v for k, v in address.read_all(step.inputs, state).items() if v is not None}
        use = calls.stored_use(_call_id(step.name), step.tool, json.dumps(args))
        (call,), _ = doubted([self.bench.read(use, kit, scene)], kit, scene)
        said, text = await self.bench.call(call, scene)
        scene.turn.book.close([call.id])
        at = scene.stage.utc().isoformat()
        log = [entries.tool(call.called, shown(text), at, step.name, status(said))]
        return {
            "status": EXECUTION,
            "context": {step.name: _output(said)},
            "ui_chat_log": log if step.shows(event(said)) else [],
        }


def _call_id(name: str) -> str:
    """The same one when the step runs again after a crash."""
    return f"tool-{name}-{get_config().get('metadata', {})['langgraph_step']}"


def _output(said: Stored) -> dict[str, object]:
    if said.get("failed"):
        return {"tool_responses": None, "error": said["text"], "execution_result": "failed"}
    return {"tool_responses": said["text"], "error": None, "execution_result": "success"}
