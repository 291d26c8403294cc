"""One call of a model: its answer, or the tools it asks for."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import msgspec

from isthmus.core.messages import Answer, Chat, Delta, Finish, ToolSpec, ToolUse, Usage
from isthmus.core.workflow import Status
from isthmus.platform import calls, entries, history
from isthmus.platform.engine.state import EXECUTION, Scene, State
from isthmus.platform.history import Stored, StoredUse
from isthmus.platform.policy import patterns
from isthmus.platform.tool import Tool
from isthmus.routing.models import Ask, Models

MAX_USES = 32
NO_ANSWER = "The model gave no answer. Ask again, perhaps in other words."
DECLINED = "The model declined to answer this."


@dataclass(frozen=True, slots=True)
class ModelStep:
    """The step. `models` is the door to every model."""

    models: Models

    async def run(self, state: State, scene: Scene) -> State:
        """Ask the model; the state says whether tools, an approval or the user come next."""
        turn, stage = scene.turn, scene.stage
        agent = turn.flow.agent
        past = state.get("conversation_history", {}).get(agent.name, [])
        message_id = f"agent-{uuid4()}"
        spoken = _Spoken(lambda text: stage.say(message_id, text, agent.name))
        ask = Ask(
            feature=agent.feature,
            unit_primitive=agent.unit_primitive,
            prompt=Chat(
                history.prompt(turn.flow.system, past, turn.model.choice.max_context_tokens),
                tuple(spec(tool) for tool in turn.tools.values()),
            ),
            streaming=True,
        )
        async with aclosing(self.models.stream(ask, turn.model.choice, turn.caller)) as deltas:
            async for delta in deltas:
                spoken.hear(delta)
        outcome = await _outcome(spoken.answer(), past, message_id, scene)
        if turn.model.gone:
            # Behind the answer: what was streamed must not move.
            outcome["ui_chat_log"] = [*outcome.get("ui_chat_log", []), *_gone(state, scene)]
        return outcome


def _gone(state: State, scene: Scene) -> list[entries.Entry]:
    """One warning that the session's model is gone, unless the log has it already."""
    model, at = scene.turn.model, scene.stage.utc().isoformat()
    entry = entries.model_gone(model.gone[:64], model.choice.id, at)
    known = {one["message_id"] for one in state.get("ui_chat_log", [])}
    return [] if entry["message_id"] in known else [entry]


async def _outcome(answer: Answer, past: list[Stored], message_id: str, scene: Scene) -> State:
    turn, stage = scene.turn, scene.stage
    name, at = turn.flow.agent.name, stage.utc().isoformat()
    uses = _uses(answer.tool_uses, past)
    text = answer.text
    if not uses and not text.strip():
        text = DECLINED if answer.finish == "refused" else NO_ANSWER
    said: Stored = {"role": "assistant", "text": text}
    if uses:
        said["tools"] = uses
    if answer.usage is not None:
        said["tokens"] = answer.usage.input_tokens + answer.usage.output_tokens
    log = [entries.agent(text, message_id, at, name)] if text.strip() else []
    status = EXECUTION
    if not uses:
        status = Status.INPUT_REQUIRED.value
    elif asked := calls.must_ask([calls.read(use, turn.tools, turn.policy) for use in uses]):
        status = Status.TOOL_CALL_APPROVAL_REQUIRED.value
        log += [
            entries.request(call.called, at, patterns(call.called.name, call.called.args))
            for call in asked
        ]
    if status != EXECUTION:
        await stage.wait(Status(status))
    return {"status": status, "conversation_history": {name: [said]}, "ui_chat_log": log}


def _uses(asked: tuple[ToolUse, ...], past: list[Stored]) -> list[StoredUse]:
    """The calls as they are kept: their ids are unique in the conversation, whoever made them."""
    taken = {use["id"] for message in past for use in message.get("tools", [])}
    uses: list[StoredUse] = []
    for use in asked[:MAX_USES]:
        use_id = clean(use.id)[:128]
        if not use_id or use_id in taken:
            use_id = f"tool-{uuid4()}"
        taken.add(use_id)
        uses.append(calls.stored_use(use_id, use.name, use.arguments))
    return uses


def clean(text: str) -> str:
    """The text without lone surrogates, which no wire can carry."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class _Spoken:
    """Collects an answer while it is shown."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._texts: list[str] = []
        self._uses: list[ToolUse] = []
        self._finish: Finish = "stop"
        self._usage: Usage | None = None

    def hear(self, delta: Delta) -> None:
        if delta.text:
            text = clean(delta.text)
            self._texts.append(text)
            self._show(text)
        if delta.tool_use is not None:
            self._uses.append(delta.tool_use)
        self._finish = delta.finish or self._finish
        self._usage = delta.usage or self._usage

    def answer(self) -> Answer:
        return Answer("".join(self._texts), tuple(self._uses), self._finish, self._usage)


_SPECS: dict[type[Any], ToolSpec] = {}


def spec(tool: Tool) -> ToolSpec:
    """The tool as a model sees it; made once for each arguments struct."""
    if tool.schema is not None:
        return ToolSpec(tool.name, tool.description, tool.schema)
    found = _SPECS.get(tool.args)
    if found is None:
        _, parts = msgspec.json.schema_components([tool.args])
        schema = {key: value for key, value in parts[tool.args.__name__].items() if key != "title"}
        schema.pop("description", None)
        found = _SPECS[tool.args] = ToolSpec(tool.name, tool.description, schema)
    return found
