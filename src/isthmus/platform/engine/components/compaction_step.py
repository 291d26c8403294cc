"""Sums up the older part of a conversation by the model that it is with: a step of its own."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from uuid import uuid4

from msgspec import structs

from isthmus.core.errors import Failure
from isthmus.core.events import Noted
from isthmus.core.messages import Chat, Message, collect
from isthmus.core.ports import Telemetry
from isthmus.core.session_facts import Compacted
from isthmus.platform import compaction, entries, history
from isthmus.platform.compaction import AUTOMATIC, Plan, Wish
from isthmus.platform.engine.answering import account
from isthmus.platform.engine.state import EXECUTION, Scene, State
from isthmus.platform.flow import Agent
from isthmus.platform.history import Stored
from isthmus.prompts.shape import shaped
from isthmus.routing.ask import Ask
from isthmus.routing.models import Models

MAX_CHARS = 40_000


@dataclass(frozen=True, slots=True)
class CompactionStep:
    """The step of one agent; what fails here is told to the log alone, and history is trimmed."""

    models: Models
    telemetry: Telemetry
    agent: Agent

    async def run(
        self, ask: Ask, head: Sequence[Message], past: Sequence[Stored], scene: Scene
    ) -> State | None:
        """The conversation replaced, or None where it stays. `ask` is what would be asked next."""
        if self.agent.compaction is None:
            return None
        room = scene.turn.choice(self.agent.name).max_context_tokens
        plan = compaction.plan(past, self.agent.compaction, room)
        if plan is None or self.agent.key in scene.tried:
            return None
        # One failure a turn: the conversation is long, and each try costs as much as a step.
        scene.tried.add(self.agent.key)
        summed = await self.summed(ask, head, plan, scene, AUTOMATIC)
        if summed is not None:
            scene.tried.discard(self.agent.key)
        return summed

    async def summed(
        self, ask: Ask, head: Sequence[Message], plan: Plan, scene: Scene, wish: Wish
    ) -> State | None:
        """The conversation with a summary in it; None when there was none, which the log is told.

        The summary is asked for behind the very prompt that the model knows, so that what a
        provider keeps of it serves once more.
        """
        if not isinstance(ask.prompt, Chat):
            return None
        choice = scene.turn.choice(self.agent.name)
        room = choice.max_context_tokens
        said: Stored = {"role": "user", "text": wish.text}
        sent = history.prompt(head, [*plan.lead, *plan.old, said], room, scene.frame)
        chat = Chat(shaped(sent, choice), ask.prompt.tools)
        asked = structs.replace(ask, prompt=chat, streaming=False)
        summary = await self._summary(asked, scene, wish.operation)
        if not summary:
            return None
        card = entries.compacted(
            compaction.DONE, f"compaction-{uuid4()}", scene.stage.utc().isoformat(), self.agent.name
        )
        return {
            "status": EXECUTION,
            "conversation_history": {
                self.agent.key: {"instead": plan.compacted(summary, scene.frame)}
            },
            "ui_chat_log": [card],
        }

    async def _summary(self, asked: Ask, scene: Scene, operation: str) -> str:
        """What the model made of it; nothing when it failed, or had nothing to say."""
        turn, clock_s = scene.turn, asyncio.get_running_loop().time
        names = (turn.start.workflow_id, turn.definition, self.agent.name)
        began_s = clock_s()
        choice = turn.choice(self.agent.name)
        try:
            async with aclosing(self.models.stream(asked, choice, turn.caller)) as deltas:
                answer = await collect(deltas)
        except Failure as error:
            details = (("workflow_id", turn.start.workflow_id), ("agent", self.agent.name))
            name = f"compaction failed: {type(error).__name__}"
            self.telemetry.emit(Noted("warning", name, details))
            self.telemetry.emit(Compacted(*names, "failed", clock_s() - began_s))
            return ""
        account(asked, answer, self.agent, scene, operation)
        summary = answer.text.strip()[:MAX_CHARS]
        status = "success" if summary else "empty"
        self.telemetry.emit(Compacted(*names, status, clock_s() - began_s))
        return summary
