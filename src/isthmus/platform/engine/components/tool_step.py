"""Runs the tools that a model asked for, all at once, and keeps what they answered."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from isthmus.core.errors import ToolRefused
from isthmus.core.events import ToolCalled
from isthmus.core.ports import Clock, Telemetry
from isthmus.core.workflow import Status
from isthmus.platform import calls, entries, history, result
from isthmus.platform.engine.answering import clean
from isthmus.platform.engine.state import EXECUTION, Scene, State, past_of
from isthmus.platform.flow import Agent
from isthmus.platform.history import Stored, StoredUse
from isthmus.platform.ledger import UNCLEAR
from isthmus.platform.offer import Kit
from isthmus.platform.policy import Deny
from isthmus.platform.scan import BLOCKED, Guard
from isthmus.platform.tool import Client, Tool
from isthmus.platform.truncate import shown
from isthmus.platform.vault import Vault, Vaults, plain

Run: TypeAlias = Callable[[Any, Client], Awaitable[str]]
INLINE_CHARS = 32_768
"""Longer texts are searched and cleaned on a thread, so that the loop goes on."""
AT_HOME = frozenset({"read", "write"})
"""Effects of tools that get a session's secrets back: they touch files of the workspace alone.

A command or a tool that the client brings could send a secret anywhere, unseen by who agrees to it.
"""
HARMLESS = frozenset({"plan", "read", "gitlab_read"})


@dataclass(frozen=True, slots=True)
class Bench:
    """Runs single calls. Vaults take secrets out of answers, before anything else sees them."""

    telemetry: Telemetry
    clock: Clock
    vaults: Vaults
    guard: Guard

    def vault(self, scene: Scene) -> Vault:
        """The secrets of the session at hand."""
        return self.vaults.of(scene.turn.held_as)

    def read(self, use: StoredUse, kit: Kit, scene: Scene) -> calls.Call:
        """What to make of a call: it runs with the session's own secrets, and shows their marks."""
        call = calls.read(use, kit.tools, kit.policy)
        arguments, vault = use["arguments"], self.vault(scene)
        if call.tool is None or call.tool.effect not in AT_HOME or not vault.quoted(arguments):
            return call
        try:
            use = {**use, "arguments": vault.restored(arguments)}
        except ToolRefused as refusal:
            return replace(call, verdict=Deny(refusal.detail))
        return replace(calls.read(use, kit.tools, kit.policy), called=call.called)

    async def call(self, call: calls.Call, scene: Scene) -> tuple[Stored, str]:
        """The result for the model, and the whole of its text for who watches."""
        began = self.clock.now_s()
        scene.stage.called(_label(call.tool))
        text, failed, source = await self._result(call, scene)
        text = await _inline(self.vault(scene).hide, clean(text))
        told = await _inline(partial(result.told, tool=source, frame=scene.frame), text)
        turn = scene.turn
        if await self.guard.blocks(told, source, turn.scan, turn.start.workflow_id):
            text, told, failed, source = BLOCKED, BLOCKED, True, None
        self.telemetry.emit(
            ToolCalled(
                workflow_id=scene.turn.start.workflow_id,
                definition=scene.turn.definition,
                tool=_label(call.tool),
                duration_s=self.clock.now_s() - began,
                failure="refused" if failed else "",
            )
        )
        said: Stored = {"role": "tool", "id": call.id, "text": told, "failed": failed}
        if source is not None and source.trust != "internal":
            said["trust"] = source.trust
        return said, plain(text)

    async def _result(self, call: calls.Call, scene: Scene) -> tuple[str, bool, Tool | None]:
        """Text, whether the call failed, and the tool it comes from; None for our own words."""
        refused = calls.refusal(call)
        if refused or call.tool is None:
            return refused, True, None
        try:
            return await self._run(call, call.tool, scene), False, call.tool
        except ToolRefused as refusal:
            return refusal.detail, True, call.tool

    async def _run(self, call: calls.Call, tool: Tool, scene: Scene) -> str:
        """The tool's text; what may change the world is written down."""
        book, machine = scene.turn.book, scene.stage.client
        if tool.effect in HARMLESS:
            return await tool.run(call.args, machine)
        hide = partial(_inline, self.vault(scene).hide)
        if tool.here:
            return await book.here(call.id, partial(tool.run, call.args, machine), hide)
        return await tool.run(call.args, book.client(call.id, machine, hide))


async def _inline(change: Callable[[str], str], text: str) -> str:
    """A pure change of a text; on a thread when it is long."""
    return change(text) if len(text) <= INLINE_CHARS else await asyncio.to_thread(change, text)


@dataclass(frozen=True, slots=True)
class ToolStep:
    """The step of one agent."""

    bench: Bench
    agent: Agent

    async def run(self, state: State, scene: Scene) -> State:
        """Run every call that has no result yet; whoever had to agree has agreed."""
        agent, kit = self.agent, scene.turn.kits[self.agent.name]
        uses = history.open_uses(past_of(state, agent.key))
        found, asked = doubted([self.bench.read(use, kit, scene) for use in uses], kit, scene)
        found, plan = planned(found, (state.get("plan") or {}).get("steps") or ())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.bench.call(call, scene)) for call in found]
        results = [task.result() for task in tasks]
        scene.turn.book.close(call.id for call in found)
        if asked and not scene.beside:
            await scene.stage.wait(Status.TOOL_CALL_APPROVAL_REQUIRED)
        at = scene.stage.utc().isoformat()
        return {
            "status": Status.TOOL_CALL_APPROVAL_REQUIRED.value if asked else EXECUTION,
            **plan,
            "conversation_history": {agent.key: [said for said, _ in results]},
            "ui_chat_log": [
                entries.tool(call.called, shown(text), at, agent.name, status(said))
                for call, (said, text) in zip(found, results, strict=True)
                if agent.shows(event(said))
            ]
            + [entries.request(call.called, at, again=True) for call in asked],
        }


def doubted(
    found: list[calls.Call], kit: Kit, scene: Scene
) -> tuple[list[calls.Call], list[calls.Call]]:
    """The calls to make now, and those that a crash left in doubt: the user is asked about them.

    Where nobody can be asked the model is told, and decides by what it finds.
    """
    book = scene.turn.book
    doubtful = [call for call in found if not calls.refusal(call) and book.doubts(call.id)]
    if kit.policy.asks:
        return [call for call in found if call not in doubtful], doubtful
    return [replace(c, verdict=Deny(UNCLEAR)) if c in doubtful else c for c in found], []


def planned(
    found: list[calls.Call], steps: Sequence[Mapping[str, str]]
) -> tuple[list[calls.Call], State]:
    """The calls, those that change the plan with their answers, and the state's plan after them."""
    made, now = list(found), tuple(steps)
    for place, call in enumerate(found):
        if call.tool is None or call.tool.plans is None or calls.refusal(call):
            continue
        try:
            outcome = call.tool.plans(call.args, now)
        except ToolRefused as refusal:
            made[place] = replace(call, verdict=Deny(refusal.detail))
            continue
        now = outcome.steps
        made[place] = replace(call, tool=replace(call.tool, run=_answering(outcome.text)))
    return made, {} if now == tuple(steps) else {"plan": {"steps": [dict(one) for one in now]}}


def _answering(text: str) -> Run:
    async def run(_: Any, __: Client) -> str:
        return text

    return run


def status(said: Stored) -> str:
    """How an entry names the end of a call."""
    return "failure" if said.get("failed") else "success"


def event(said: Stored) -> str:
    """How a flow names the end of a call."""
    return f"on_tool_execution_{'failed' if said.get('failed') else 'success'}"


def _label(tool: Tool | None) -> str:
    """The tool's name for facts; what clients and models make up is not told one by one."""
    if tool is None:
        return "unknown"
    return tool.effect if tool.original else tool.name
