"""Runs the tools that a model asked for, all at once, and keeps what they answered."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from isthmus.core.errors import ToolRefused
from isthmus.core.events import ToolCalled
from isthmus.core.ports import Clock, Telemetry
from isthmus.platform import calls, entries, history
from isthmus.platform.engine.components.model_step import clean
from isthmus.platform.engine.state import EXECUTION, Scene, State
from isthmus.platform.history import Stored
from isthmus.platform.tool import Tool
from isthmus.platform.truncate import shown, truncated

INLINE_CHARS = 32_768
"""Longer texts are searched for secrets on a thread, so that the loop goes on."""


@dataclass(frozen=True, slots=True)
class ToolStep:
    """The step. `redact` takes secrets out of a tool's answer, before anything else sees it."""

    telemetry: Telemetry
    clock: Clock
    redact: Callable[[str], str]

    async def run(self, state: State, scene: Scene) -> State:
        """Run every call that has no result yet; whoever had to agree has agreed."""
        agent = scene.turn.flow.agent.name
        turn = scene.turn
        uses = history.open_uses(state.get("conversation_history", {}).get(agent, []))
        found = [calls.read(use, turn.tools, turn.policy) for use in uses]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._call(call, scene)) for call in found]
        results = [task.result() for task in tasks]
        return {
            "status": EXECUTION,
            "conversation_history": {agent: [message for message, _ in results]},
            "ui_chat_log": [entry for _, entry in results],
        }

    async def _call(self, call: calls.Call, scene: Scene) -> tuple[Stored, entries.Entry]:
        began = self.clock.now_s()
        text, failed = await self._result(call, scene)
        text = await self._redacted(clean(text))
        self.telemetry.emit(
            ToolCalled(
                workflow_id=scene.turn.start.workflow_id,
                definition=scene.turn.definition,
                tool=_label(call.tool),
                duration_s=self.clock.now_s() - began,
                failure="refused" if failed else "",
            )
        )
        said: Stored = {"role": "tool", "id": call.id, "text": truncated(text), "failed": failed}
        status = "failure" if failed else "success"
        at, agent = scene.stage.utc().isoformat(), scene.turn.flow.agent.name
        return said, entries.tool(call.called, shown(text), at, agent, status)

    async def _redacted(self, text: str) -> str:
        if len(text) <= INLINE_CHARS:
            return self.redact(text)
        return await asyncio.to_thread(self.redact, text)

    async def _result(self, call: calls.Call, scene: Scene) -> tuple[str, bool]:
        refused = calls.refusal(call)
        if refused or call.tool is None:
            return refused, True
        try:
            return await call.tool.run(call.args, scene.stage.client), False
        except ToolRefused as refusal:
            return refusal.detail, True


def _label(tool: Tool | None) -> str:
    """The tool's name for facts; what clients and models make up is not told one by one."""
    if tool is None:
        return "unknown"
    return tool.effect if tool.original else tool.name
