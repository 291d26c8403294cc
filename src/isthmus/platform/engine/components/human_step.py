"""Pauses for the user: a word on tool calls, and the questions of flows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from langgraph.types import interrupt

from isthmus.core.messages import Text
from isthmus.core.workflow import Status
from isthmus.platform import address, calls, commands, entries, history
from isthmus.platform.attach import user_text
from isthmus.platform.cancelled import cancelled_text
from isthmus.platform.engine.state import EXECUTION, Scene, State, past_of
from isthmus.platform.flow import Agent, Question
from isthmus.platform.history import Stored, StoredUse
from isthmus.platform.mode import Mode

REJECTED = "The user rejected this call. Do not repeat it."
CANCELLED = "The user went on without deciding on this call; it did not run."
REJECTED_AGAIN = "The user did not let this call run again. Whether it was done before is unknown."
DECLINED = "The user rejected this."


@dataclass(frozen=True, slots=True)
class ApprovalStep:
    """The word on an agent's tool calls."""

    agent: Agent

    async def run(self, state: State, scene: Scene) -> State:
        """Wait for a decision; later turns come back here with it."""
        uses = history.open_uses(past_of(state, self.agent.key))
        if not scene.resuming:
            await scene.stage.wait(Status.TOOL_CALL_APPROVAL_REQUIRED)
        answer: dict[str, Any] = interrupt({"tool_calls": [use["id"] for use in uses]})
        return self.decided(answer, state, scene)

    def decided(self, answer: Mapping[str, Any], state: State, scene: Scene) -> State:
        """The state behind a decision on all calls that are open."""
        uses = history.open_uses(past_of(state, self.agent.key))
        kind, message = str(answer.get("kind")), str(answer.get("message", ""))
        book = scene.turn.book
        if kind == "approve":
            book.agree(use["id"] for use in uses)
            return _on(scene, {})
        why = CANCELLED if kind == "response" else REJECTED
        if any(book.doubts(use["id"]) for use in uses):
            why = REJECTED_AGAIN
        book.close(use["id"] for use in uses)
        added: list[Stored] = [
            {"role": "tool", "id": use["id"], "text": why, "failed": True} for use in uses
        ]
        log = self._closed(uses, why, scene)
        heard: State = {}
        if kind == "response":
            said, entry, heard = spoken(message, state, scene)
            added += said
            log.append(entry)
        elif kind == "modify":
            said, entry = user_turn(message, scene)
            added.append(said)
            log.append(entry)
        heard |= {"conversation_history": {self.agent.key: added}, "ui_chat_log": log}
        return _on(scene, heard)

    def _closed(self, uses: Sequence[StoredUse], why: str, scene: Scene) -> list[entries.Entry]:
        at, kit = scene.stage.utc().isoformat(), scene.turn.kits[self.agent.name]
        found = [calls.read(use, kit.tools, kit.policy) for use in uses]
        return [entries.tool(call.called, why, at, self.agent.name, "cancelled") for call in found]


@dataclass(frozen=True, slots=True)
class QuestionStep:
    """A flow's question: one step asks it, the next one waits for the answer."""

    question: Question

    async def ask(self, state: State, scene: Scene) -> State:
        """Put the question into the log, and let the record wait for the user."""
        question, at = self.question, scene.stage.utc().isoformat()
        status = Status.PLAN_APPROVAL_REQUIRED if question.approval else Status.INPUT_REQUIRED
        log: list[entries.Entry] = []
        if question.template is not None and question.shows("on_user_input_prompt"):
            given = address.read_all(question.inputs, state)
            messages = question.template.render(given)
            parts = (part for message in messages for part in message.parts)
            text = "\n".join(part.text for part in parts if isinstance(part, Text))
            kind = "approval" if question.approval else "input"
            log = [entries.question(text, f"request-{uuid4()}", at, (question.name, kind))]
        await scene.stage.wait(status)
        return {"status": status.value, "ui_chat_log": log}

    async def hear(self, state: State, scene: Scene) -> State:
        """Wait for the answer, and hand it to the agent that it is for."""
        del state
        question = self.question
        answer: dict[str, Any] = interrupt({"question": question.name})
        kind, message = str(answer.get("kind")), str(answer.get("message", ""))
        said, entry = user_turn(message if kind in ("modify", "response") else DECLINED, scene)
        if kind == "response" and question.approval:
            # Words instead of a decision ask for something else than what was proposed.
            kind = "modify"
        heard: State = {"context": {question.name: {"approval": kind}}}
        if kind != "approve":
            heard["conversation_history"] = {question.answers_to: [said]}
            if question.shows("on_user_response"):
                heard["ui_chat_log"] = [entry]
        return _on(scene, heard)


def spoken(
    text: str, state: Mapping[str, Any], scene: Scene
) -> tuple[list[Stored], entries.Entry, State]:
    """The user's words in a conversation: for the model, for the log, and what else they change.

    A command is kept until it is done; the words of the next turn take its place.
    """
    order = commands.read(text, scene.commands)
    if isinstance(order, commands.Order):
        _, entry = user_turn(text, scene)
        return [], entry, {"command": {"name": order.name, "text": order.text}}
    said, _ = user_turn(order.text, scene)
    _, entry = user_turn(text, scene)
    return [said], entry, {"command": None} if state.get("command") else {}


def user_turn(text: str, scene: Scene) -> tuple[Stored, entries.Entry]:
    """The user's words for the model, and for the log.

    Some clients send the whole conversation along with each turn: what was said here is known.
    """
    known = ("conversation", "system_prompt") if scene.turn.mode is not Mode.START else ()
    attached = scene.turn.start.contexts
    contexts = [context for context in attached if context.category not in known]
    at = scene.stage.utc().isoformat()
    told = scene.frame.safe(cancelled_text(scene.cancelled) + user_text(text, contexts))
    said: Stored = {"role": "user", "text": told}
    return said, entries.user(text, f"user-{uuid4()}", at, contexts)


def _on(scene: Scene, heard: State) -> State:
    """The state behind a pause: what was heard, and the inputs that came with it."""
    inputs = dict(cast("Mapping[str, object]", scene.turn.context.get("inputs") or {}))
    if scene.cancelled:
        inputs["cancelled_turn"] = list(scene.cancelled)
    heard["status"] = EXECUTION
    if inputs:
        heard["context"] = {"inputs": inputs, **heard.get("context", {})}
    return heard
