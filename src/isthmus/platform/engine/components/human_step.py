"""The pause for the user's word on tool calls, and what it leads to."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from langgraph.types import interrupt

from isthmus.core.workflow import Status
from isthmus.platform import calls, entries, history
from isthmus.platform.attach import user_text
from isthmus.platform.engine.state import EXECUTION, Scene, State
from isthmus.platform.history import Stored, StoredUse

REJECTED = "The user rejected this call. Do not repeat it."
CANCELLED = "The user went on without deciding on this call; it did not run."


class HumanStep:
    """The step."""

    async def run(self, state: State, scene: Scene) -> State:
        """Wait for a decision; later turns come back here with it."""
        agent = scene.turn.flow.agent.name
        uses = history.open_uses(state.get("conversation_history", {}).get(agent, []))
        if not scene.resuming:
            await scene.stage.wait(Status.TOOL_CALL_APPROVAL_REQUIRED)
        answer: dict[str, Any] = interrupt({"tool_calls": [use["id"] for use in uses]})
        kind, message = str(answer.get("kind")), str(answer.get("message", ""))
        if kind == "approve":
            return {"status": EXECUTION}
        why = CANCELLED if kind == "response" else REJECTED
        added: list[Stored] = [
            {"role": "tool", "id": use["id"], "text": why, "failed": True} for use in uses
        ]
        log = _closed(uses, why, scene)
        if kind in ("modify", "response"):
            said, entry = user_turn(message, scene)
            added.append(said)
            log.append(entry)
        return {
            "status": EXECUTION,
            "conversation_history": {agent: added},
            "ui_chat_log": log,
        }


def user_turn(text: str, scene: Scene) -> tuple[Stored, entries.Entry]:
    """The user's words for the model, and for the log."""
    contexts = scene.turn.start.contexts
    at = scene.stage.utc().isoformat()
    said: Stored = {"role": "user", "text": user_text(text, contexts)}
    return said, entries.user(text, f"user-{uuid4()}", at, contexts)


def _closed(uses: Sequence[StoredUse], why: str, scene: Scene) -> list[entries.Entry]:
    at, turn = scene.stage.utc().isoformat(), scene.turn
    found = [calls.read(use, turn.tools, turn.policy) for use in uses]
    return [entries.tool(call.called, why, at, turn.flow.agent.name, "cancelled") for call in found]
