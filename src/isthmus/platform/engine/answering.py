"""Gets a model's answer for a step: shown while it is written, and waited for in bad times."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from isthmus.core.errors import Failure, Interrupted, Unavailable
from isthmus.core.events import Noted
from isthmus.core.messages import Answer, Delta, Finish, ToolUse, Usage
from isthmus.core.ports import Telemetry
from isthmus.platform import patience
from isthmus.platform.bill import used
from isthmus.platform.engine.state import Scene
from isthmus.platform.flow import Agent
from isthmus.routing.ask import Ask
from isthmus.routing.models import Models

TICK_S = 0.1
"""How soon a wait sees that its session is to go on elsewhere."""


@dataclass(frozen=True, slots=True)
class Answering:
    """Of one agent."""

    models: Models
    telemetry: Telemetry
    agent: Agent

    async def answer(self, ask: Ask, message_id: str, scene: Scene) -> Answer:
        """The whole answer. Raises what models raise, and Interrupted when the session leaves.

        One that broke off is begun anew under the same id: a client sees one message, whose text
        stays until there is a new one.
        """
        spoken = _Spoken(self._show(message_id, scene), self.agent.streams)
        choice, caller = scene.turn.choice(self.agent.name), scene.turn.caller
        attempt, before = 1, None
        while True:
            try:
                async with aclosing(self.models.stream(ask, choice, caller)) as deltas:
                    async for delta in deltas:
                        spoken.hear(delta)
            except Failure as failure:
                # That nobody may be asked now tells less than why.
                known = before if before is not None and isinstance(failure, Unavailable) else None
                before = known or failure
                wait_s = patience.wait_s(failure, attempt, scene.retries)
                if wait_s is None:
                    raise before from None
                self._note(before, wait_s, scene)
            else:
                return spoken.answer()
            await _waited(wait_s, scene)
            attempt += 1
            spoken.again()

    def _show(self, message_id: str, scene: Scene) -> Callable[[str], None]:
        return lambda text: scene.stage.say(message_id, text, self.agent.name)

    def _note(self, failure: Failure, wait_s: float, scene: Scene) -> None:
        details = (
            ("workflow_id", scene.turn.start.workflow_id),
            ("agent", self.agent.name),
            ("wait_s", f"{wait_s:g}"),
        )
        name = f"the model is asked again: {type(failure).__name__}"
        self.telemetry.emit(Noted("warning", name, details))


def account(ask: Ask, answer: Answer, agent: Agent, scene: Scene, operation: str = "") -> None:
    """Tell of an answer: to the bill, and to the purse what routing could not tell it."""
    choice = scene.turn.choice(agent.name)
    scene.stage.answered(used(agent.name, choice, answer.usage, operation))
    if scene.purse.counts and answer.usage is None:
        said = len(answer.text) + sum(len(use.arguments) for use in answer.tool_uses)
        scene.purse.estimate(choice.upstream, ask.size(), said)


async def _waited(wait_s: float, scene: Scene) -> None:
    """Wait by the scene's clock. Raises Interrupted when the session is to go on elsewhere."""
    now_s = scene.clock.now_s
    until_s = now_s() + wait_s
    while (left_s := until_s - now_s()) > 0:
        if scene.stage.leaving:
            raise Interrupted("workflow execution interrupted: RUNNING")
        await asyncio.sleep(min(left_s, TICK_S))


def clean(text: str) -> str:
    """The text without lone surrogates, which no wire can carry."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class _Spoken:
    """Collects an answer while it is shown."""

    def __init__(self, show: Callable[[str], None], streams: bool) -> None:
        self._show = show
        self._streams = streams
        self._shown = False
        self.again()

    def again(self) -> None:
        """Begin anew; what was shown of it so far is replaced by the first new text."""
        self._began, self._held = False, ""
        self._texts: list[str] = []
        self._uses: list[ToolUse] = []
        self._finish: Finish = "stop"
        self._usage: Usage | None = None

    def hear(self, delta: Delta) -> None:
        if delta.text:
            text = clean(delta.text)
            self._texts.append(text)
            self._hold(text)
        if delta.tool_use is not None:
            self._uses.append(delta.tool_use)
        self._finish = delta.finish or self._finish
        self._usage = delta.usage or self._usage

    def _hold(self, text: str) -> None:
        """Show text from its first letter on: an answer of blanks is never an entry of the log."""
        self._held += text
        if self._streams and (self._began or not self._held.isspace()):
            if self._shown and not self._began:
                self._show("")
            self._show(self._held)
            self._began, self._held, self._shown = True, "", True

    def answer(self) -> Answer:
        return Answer("".join(self._texts), tuple(self._uses), self._finish, self._usage)
