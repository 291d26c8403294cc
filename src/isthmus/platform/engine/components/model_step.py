"""One call of a model: its answer, or the tools it asks for."""

from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from isthmus.core.errors import LimitExceeded
from isthmus.core.ids import new_id
from isthmus.core.messages import Answer, Chat, Message, ToolSpec, ToolUse
from isthmus.core.ports import Telemetry
from isthmus.core.session_facts import AnswerShaped
from isthmus.core.workflow import Status
from isthmus.platform import address, calls, delegation, entries, faulty, history, structured
from isthmus.platform.engine.answering import Answering, account, clean
from isthmus.platform.engine.components.compaction_step import CompactionStep
from isthmus.platform.engine.state import EXECUTION, Scene, State, past_of
from isthmus.platform.flow import DELEGATE, Agent
from isthmus.platform.history import Stored, StoredUse
from isthmus.platform.policy import patterns
from isthmus.platform.presented import presented
from isthmus.platform.tool import Tool, schema_of
from isthmus.platform.vault import Vaults
from isthmus.prompts.render import Script
from isthmus.prompts.shape import shaped
from isthmus.routing.ask import Ask, Session
from isthmus.routing.models import Models

At: TypeAlias = tuple[str, int]
"""Of a turn of a model: the id of its message, and its number."""
MAX_USES = 32
NO_ANSWER = "The model gave no answer. Ask again, perhaps in other words."
DECLINED = "The model declined to answer this."
NEARLY = "Few turns are left for this task. Work towards your answer."
NOW = "No turns are left for this task. Call no more tools, and give your answer now."
NOW_BY_TOOL = "No turns are left for this task. Call nothing but the tool of the final answer now."


@dataclass(frozen=True, slots=True)
class ModelStep:
    """The step of one agent. In a flow that `talks`, an answer hands over to the user."""

    models: Models
    agent: Agent
    talks: bool
    vaults: Vaults
    telemetry: Telemetry

    async def run(self, state: State, scene: Scene) -> State:
        """Ask the model; the state says whether tools, an approval or something else comes next."""
        turn, stage, agent = scene.turn, scene.stage, self.agent
        scene.purse.check(state.get("spent") or {})
        past = past_of(state, agent.key)
        cycle = _cycle(state, agent, past)
        message_id = faulty.begun(past) or f"agent-{new_id()}"
        ask = self.ask(state, scene, cycle)
        compacts = CompactionStep(self.models, self.telemetry, agent)
        if compacted := await compacts.run(ask, self.head(state, scene), past, scene):
            return compacted
        await stage.announce()
        answering = Answering(self.models, self.telemetry, agent)
        answer = await answering.answer(ask, message_id, scene)
        account(ask, answer, agent, scene)
        outcome = await self._outcome(answer, state, (message_id, cycle), scene)
        if turn.model.gone:
            # Behind the answer: what was streamed must not move.
            outcome["ui_chat_log"] = [*outcome.get("ui_chat_log", []), *_gone(state, scene)]
        return outcome

    def ask(self, state: State, scene: Scene, cycle: int) -> Ask:
        """What the model is asked in this turn of it."""
        turn, prompt = scene.turn, self.agent.prompt
        model = turn.choice(self.agent.name).upstream
        return Ask(
            feature=turn.flow.feature,
            unit_primitive=prompt.unit_primitive,
            prompt=Chat(
                self._messages(state, scene, cycle),
                self._offered(scene),
                # The answer is a call as well. Contract, 7.3 (loop rules).
                calls=self.agent.shape is not None,
            ),
            max_tokens=prompt.max_tokens,
            temperature=prompt.temperature,
            stop=prompt.stop,
            streaming=True,
            session=Session(
                turn.start.workflow_id,
                turn.home.deployment,
                turn.home.moved,
                partial(scene.purse.spend, model) if scene.purse.counts else None,
            ),
            marks=self.vaults.of(turn.held_as),
        )

    def _offered(self, scene: Scene) -> tuple[ToolSpec, ...]:
        """The tools, and those of the engine's own; no other has the name of one of these."""
        shape, to = self.agent.shape, self.agent.delegation
        own: list[ToolSpec] = []
        if to is not None:
            agents, parallel = scene.turn.flow.agents, scene.turn.parallel
            own.append(delegation.spec(to, agents, parallel=parallel))
        if shape is not None:
            own.append(ToolSpec(shape.tool, shape.description, shape.definition))
        names = {tool.name for tool in own}
        tools = scene.turn.kits[self.agent.name].tools.items()
        return (*(spec(tool) for name, tool in tools if name not in names), *own)

    def _messages(self, state: State, scene: Scene, cycle: int) -> tuple[Message, ...]:
        agent, turn = self.agent, scene.turn
        head, behind = self.head(state, scene), agent.prompt.tail
        tail = () if behind is None else self._rendered(behind, state, scene)
        past = list(past_of(state, agent.key))
        if not past and all(message.role == "system" for message in (*head, *tail)):
            past.append({"role": "user", "text": turn.start.goal or turn.record_goal})
        limits = agent.cycles
        if not self.talks and cycle >= limits.warn_at:
            now = NOW if agent.shape is None else NOW_BY_TOOL
            past.append({"role": "user", "text": now if cycle >= limits.most else NEARLY})
        choice = turn.choice(agent.name)
        room = choice.max_context_tokens
        return shaped(history.prompt(head, past, room, scene.frame, tail), choice)

    def head(self, state: State, scene: Scene) -> tuple[Message, ...]:
        """The messages before the history."""
        return self._rendered(self.agent.prompt.script, state, scene)

    def _rendered(self, script: Script, state: State, scene: Scene) -> tuple[Message, ...]:
        # A conversation keeps no context of its own: it is this turn's.
        kept = {"context": scene.turn.context} if self.talks else {}
        inputs = self.agent.inputs
        given = address.read_all(inputs, {**state, **kept})
        return script.render(presented(inputs, given, scene.steps, scene.frame))

    async def _outcome(self, answer: Answer, state: State, at: At, scene: Scene) -> State:
        message_id, cycle = at
        past = past_of(state, self.agent.key)
        if answer.finish == "length":
            return self._cut(answer, past, at, scene)
        uses = _uses(answer.tool_uses, state, scene)
        self._check(uses, past)
        limits, shape = self.agent.cycles, self.agent.shape
        given = structured.read(shape, uses) if shape is not None else None
        if isinstance(given, dict):
            return self._given(given, answer, at, scene)
        goes_on = bool(uses or given)
        if goes_on and not self.talks and cycle >= limits.most + limits.retries:
            raise LimitExceeded(f"The agent {self.agent.name!r} is stuck: it gives no answer.", 0.0)
        if given:
            return self._asked_again(uses, given, answer, at, scene)
        text = answer.text
        if not uses and not text.strip():
            text = DECLINED if answer.finish == "refused" else NO_ANSWER
        asking: list[calls.Call] = []
        if not self._hands_on(uses):
            kit = scene.turn.kits[self.agent.name]
            uses, asking = calls.judged(uses, kit.tools, kit.policy)
        status, asked = await self._next(uses, asking, scene)
        log = [*self._said(text, message_id, scene, final=not uses), *asked]
        if status != EXECUTION and not scene.beside:
            await scene.stage.wait(Status(status))
        result: State = {
            "status": status,
            "conversation_history": {self.agent.key: [_stored(text, uses, answer)]},
            "ui_chat_log": log,
        }
        if not self.talks:
            output: dict[str, Any] = {"cycle_count": cycle}
            if not uses:
                output["final_answer"] = text
            result["context"] = {self.agent.key: output}
        return result

    def _check(self, uses: list[StoredUse], past: list[Stored]) -> None:
        """Raises LimitExceeded for a conversation that nothing else would end."""
        faults = self.talks and any("fault" in use for use in uses)
        if faults and faulty.malformed(past) >= faulty.MALFORMED:
            raise LimitExceeded(
                f"The agent {self.agent.name!r} is stuck: its tool calls cannot be read.", 0.0
            )

    def _cut(self, answer: Answer, past: list[Stored], at: At, scene: Scene) -> State:
        """An answer that was cut off is asked for anew; its tool calls may be half of them."""
        if faulty.cuts(past) >= faulty.CUTS:
            raise LimitExceeded(
                f"The agent {self.agent.name!r} is stuck: its answers are too long.", 0.0
            )
        return self._asked_again([], [faulty.again(at[0])], answer, at, scene)

    def _given(self, given: structured.Answered, answer: Answer, at: At, scene: Scene) -> State:
        """The structured answer, which is the end of the loop."""
        message_id, cycle = at
        if self.agent.shape is not None and self.agent.shape.tracked is not None:
            names = (scene.turn.start.workflow_id, scene.turn.definition, self.agent.name)
            self.telemetry.emit(AnswerShaped(*names))
        text = structured.text_of(given)
        said = self._said(answer.text, message_id, scene, final=False)
        return {
            "status": EXECUTION,
            "conversation_history": {self.agent.key: [_stored(text, [], answer)]},
            "ui_chat_log": [*said, *self._said(text, f"agent-{new_id()}", scene, final=True)],
            "context": {self.agent.key: {"cycle_count": cycle, "final_answer": given}},
        }

    def _asked_again(
        self, uses: list[StoredUse], why: list[Stored], answer: Answer, at: At, scene: Scene
    ) -> State:
        """What was no answer, and why; no tool was run."""
        message_id, cycle = at
        again: State = {
            "status": EXECUTION,
            "conversation_history": {self.agent.key: [_stored(answer.text, uses, answer), *why]},
            "ui_chat_log": self._said(answer.text, message_id, scene, final=False),
        }
        if not self.talks:
            again["context"] = {self.agent.key: {"cycle_count": cycle}}
        return again

    def _hands_on(self, uses: list[StoredUse]) -> bool:
        """Whether work is given to other agents: a step of its own judges such a batch."""
        return self.agent.delegation is not None and any(use["name"] == DELEGATE for use in uses)

    async def _next(
        self, uses: list[StoredUse], asked: list[calls.Call], scene: Scene
    ) -> tuple[str, list[entries.Entry]]:
        """The status behind this step, and what asks the user."""
        if not uses:
            return (Status.INPUT_REQUIRED.value if self.talks else EXECUTION), []
        if approvals := scene.turn.stores.approvals:
            asked = [
                call
                for call in asked
                if not await approvals.allows(call.called.name, call.called.args)
            ]
        if not asked:
            return EXECUTION, []
        at = scene.stage.utc().isoformat()
        return Status.TOOL_CALL_APPROVAL_REQUIRED.value, [
            entries.request(call.called, at, patterns(call.called.name, call.called.args))
            for call in asked
        ]

    def _said(
        self, text: str, message_id: str, scene: Scene, *, final: bool
    ) -> list[entries.Entry]:
        """What the log gets of an answer."""
        agent, at = self.agent, scene.stage.utc().isoformat()
        event = "on_agent_final_answer" if final else "on_agent_reasoning"
        if not text.strip() or not agent.shows(event):
            return []
        entry = entries.agent(text, message_id, at, agent.name)
        if not self.talks:
            entry["message_type"] = agent.shown_as
            entry["message_sub_type"] = None if final else "reasoning"
        return [entry]


def _gone(state: State, scene: Scene) -> list[entries.Entry]:
    """One warning that the session's model is gone, unless the log has it already."""
    model, at = scene.turn.model, scene.stage.utc().isoformat()
    entry = entries.model_gone(model.gone[:64], model.choice.id, at)
    known = {one["message_id"] for one in state.get("ui_chat_log", [])}
    return [] if entry["message_id"] in known else [entry]


def _cycle(state: State, agent: Agent, past: list[Stored]) -> int:
    """Which turn of its model this is, since the agent was last entered."""
    anew = (structured.AGAIN, faulty.CUT)
    if not past or (past[-1]["role"] != "tool" and past[-1]["text"] not in anew):
        return 1
    known = state.get("context", {}).get(agent.key, {}).get("cycle_count", 0)
    return int(known) + 1


def _stored(text: str, uses: list[StoredUse], answer: Answer) -> Stored:
    said: Stored = {"role": "assistant", "text": text}
    if uses:
        said["tools"] = uses
    if answer.usage is not None:
        said["tokens"] = answer.usage.input_tokens + answer.usage.output_tokens
    return said


def _uses(asked: tuple[ToolUse, ...], state: State, scene: Scene) -> list[StoredUse]:
    """The calls as they are kept: their ids are unique in the session, whoever made them."""
    if not asked:
        return []
    pasts = state.get("conversation_history", {}).values()
    taken = {use["id"] for past in pasts for message in past for use in message.get("tools", [])}
    uses: list[StoredUse] = []
    for use in asked[:MAX_USES]:
        use_id = clean(use.id)[:128]
        if not use_id or use_id in taken or scene.beside:
            use_id = f"tool-{new_id()}"
        taken.add(use_id)
        uses.append(calls.stored_use(use_id, use.name, use.arguments))
    return uses


_SPECS: dict[type[Any], ToolSpec] = {}


def spec(tool: Tool) -> ToolSpec:
    """The tool as a model sees it; made once for each arguments struct."""
    if tool.schema is not None:
        return ToolSpec(tool.name, tool.description, tool.schema)
    found = _SPECS.get(tool.args)
    if found is None:
        found = _SPECS[tool.args] = ToolSpec(tool.name, tool.description, schema_of(tool.args))
    return found
