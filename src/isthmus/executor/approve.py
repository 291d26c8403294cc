"""Who decides on a tool call: a person, or a standing answer. Also the executor's own gate.

The platform asks before what changes things; the gate holds when it does not.
"""

import asyncio
from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from google.protobuf.json_format import MessageToDict

from isthmus.contract.contract_pb2 import Action, Approval
from isthmus.executor.action import Effect
from isthmus.executor.transcript import ToolInfo, described

Mode: TypeAlias = Literal["ask", "all", "none", "later"]

QUESTION = "Approve? [y]es, [n]o, or say what to do instead: "


class Person(Protocol):
    """Somebody who may be asked."""

    @property
    def interactive(self) -> bool:
        """Whether an answer can come."""
        ...

    async def ask(self, question: str) -> str | None:
        """One line; None when there is none."""
        ...


class Approver:
    """Decides on tool calls: asks a person, says yes or no, or leaves it to a later run."""

    def __init__(self, mode: Mode, person: Person) -> None:
        self._mode = mode
        self._person = person
        self._turn = asyncio.Lock()

    @property
    def leaves(self) -> bool:
        """Whether a session that asks is left waiting."""
        return self._mode == "later"

    async def decide(self, calls: Sequence[ToolInfo]) -> Approval:
        """One decision for all calls of a turn: they run, or are refused, together."""
        if self._mode == "all":
            return Approval(approval=Approval.Approved())
        if self._mode == "none" or not self._person.interactive:
            return Approval(rejection=Approval.Rejected())
        text = "\n".join(described(call) for call in calls) or "a tool"
        return decision(await self._asked(f"The agent wants to run:\n{text}\n{QUESTION}"))

    async def admits(self, action: Action, effect: Effect, *, approved: bool) -> bool:
        """Whether an action may be carried out now.

        `approved` says that this stream began with the person's yes. Without it, a change needs one
        here and now.
        """
        if effect == "read" or self._mode == "all":
            return True
        if self._mode == "none":
            return False
        if approved:
            return True
        if not self._person.interactive:
            return False
        name = action.WhichOneof("action") or ""
        arguments = MessageToDict(getattr(action, name)) if name else {}
        text = described(ToolInfo(name=name, args=arguments))
        answer = await self._asked(
            f"The server wants, without having asked:\n{text}\nAllow? [y/N] "
        )
        return answer is not None and answer.lower() in {"y", "yes"}

    async def _asked(self, question: str) -> str | None:
        async with self._turn:
            return await self._person.ask(question)


def decision(answer: str | None) -> Approval:
    """What an answer means. Only a plain yes approves; other words are advice to the agent."""
    words = (answer or "").strip()
    if words.lower() in {"y", "yes"}:
        return Approval(approval=Approval.Approved())
    if words.lower() in {"", "n", "no"}:
        return Approval(rejection=Approval.Rejected())
    return Approval(rejection=Approval.Rejected(message=words))
