"""One turn of a model that has to call tools, and its corrections.

Source: agent-platform contract, section 7.3 (`OneOffComponent`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from isthmus.platform import entries, history
from isthmus.platform.engine.components.model_step import ModelStep
from isthmus.platform.engine.components.tool_step import ToolStep
from isthmus.platform.engine.state import Scene, State, past_of
from isthmus.platform.flow import OneOff
from isthmus.platform.history import Stored, StoredUse

CALL: Final = "Nothing was called. Do what is asked by calling your tools."


@dataclass(frozen=True, slots=True)
class OneOffStep:
    """The steps of one component. Its `execution_result` is null until it is over."""

    part: OneOff
    model: ModelStep
    tools: ToolStep

    async def ask(self, state: State, scene: Scene) -> State:
        """Ask the model for calls; an answer without any is a failed attempt."""
        name, tried = self.part.name, self._tried(state)
        result = await self.model.run(state, scene)
        said = cast("Any", result)["conversation_history"][name]
        again = {"execution_result": None, "corrections": tried}
        if isinstance(said, dict) or said[-1]["role"] != "assistant":
            # What was said is summed up, or was cut off; the model is asked again.
            return _with(result, name, again)
        uses: list[StoredUse] = said[-1].get("tools", [])
        if uses:
            log = [*result.get("ui_chat_log", []), *self._pending(uses, scene)]
            return _with({**result, "ui_chat_log": log}, name, again)
        over = tried >= self.part.attempts
        if not over:
            said = [*said, {"role": "user", "text": CALL}]
        changed: State = {**result, "conversation_history": {name: said}}
        return _with(changed, name, self._output([], [], tried + 1, failed=True))

    async def run(self, state: State, scene: Scene) -> State:
        """Run the calls; when one fails, the model may correct them."""
        name = self.part.name
        uses = history.open_uses(past_of(state, name))
        result = await self.tools.run(state, scene)
        said: list[Stored] = cast("Any", result)["conversation_history"][name]
        failed = any(one.get("failed") for one in said)
        tried = self._tried(state) + failed
        return _with(result, name, self._output(uses, said, tried, failed=failed))

    def over(self, state: State) -> bool:
        """Whether the component is done, well or not."""
        return bool(self._kept(state).get("execution_result"))

    def _tried(self, state: State) -> int:
        """Attempts that failed since the component was last entered."""
        return 0 if self.over(state) else int(self._kept(state).get("corrections") or 0)

    def _kept(self, state: State) -> dict[str, Any]:
        return state.get("context", {}).get(self.part.name) or {}

    def _output(
        self, uses: Sequence[StoredUse], said: Sequence[Stored], tried: int, *, failed: bool
    ) -> dict[str, object]:
        texts = [one["text"] for one in said]
        outcome = "success"
        if failed:
            outcome = "failed" if tried > self.part.attempts else None
        return {
            "tool_calls": [
                {"name": use["name"], "args": _parsed(use["arguments"])} for use in uses
            ],
            "tool_responses": texts,
            "parsed_responses": [_parsed(text) for text in texts],
            "execution_result": outcome,
            "corrections": tried,
        }

    def _pending(self, uses: Sequence[StoredUse], scene: Scene) -> list[entries.Entry]:
        agent, at = self.part.agent, scene.stage.utc().isoformat()
        if not agent.shows("on_tool_call_input"):
            return []
        kit, bench = scene.turn.kits[agent.name], self.tools.bench
        found = [bench.read(use, kit, scene).called for use in uses]
        return [entries.tool(called, "", at, agent.name, "pending") for called in found]


def _with(result: State, name: str, output: Mapping[str, object]) -> State:
    """The step with this output of the component alone."""
    return {**result, "context": {name: output}}


def _parsed(text: str) -> object:
    """The JSON value of a text; null when it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
