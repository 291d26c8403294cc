"""What a turn's tool calls do to the world: written down before it is sent, settled by its answer.

A turn that goes on after a crash runs a call again from its beginning. What is settled gives its
answer at once. What has no answer goes out again under its old id, to a client that remembers what
it answered; with any other client it stands in doubt, and the user is asked.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from isthmus.contract.contract_pb2 import Action, ActionResponse, PlainTextResponse
from isthmus.core.errors import ToolRefused
from isthmus.core.ids import new_id
from isthmus.core.lease import Lease
from isthmus.core.ledger import Ledger, Sent
from isthmus.platform.answer import checked
from isthmus.platform.exclusion import Exclusion
from isthmus.platform.tool import Client

UNCLEAR: Final = (
    "The server was lost while this ran, and nobody knows whether it was done. Look at what is"
    " there before you do it again."
)
_READS = frozenset({"runReadFile", "runReadFiles", "listDirectory", "grep", "findFiles"})
_READ_METHODS = frozenset({"GET", "HEAD"})

Hide = Callable[[str], Awaitable[str]]
"""Takes the session's secrets out of a text."""


class Machine(Client, Protocol):
    """The client's machine, for one who gives the ids of actions."""

    async def send(self, action: Action, request_id: str) -> ActionResponse:
        """Have the client carry out an action under this id: its answer as it came.

        Raises as `ask`, but for an error that the client reports.
        """
        ...


def changes(action: Action) -> bool:
    """Whether an action can change the world; one that nobody knows can."""
    kind = action.WhichOneof("action")
    if kind == "runHTTPRequest":
        return action.runHTTPRequest.method.upper() not in _READ_METHODS
    return kind not in _READS


@dataclass(frozen=True, slots=True)
class Page:
    """Where a turn's actions are written. `memory` names a client that remembers its answers.

    `apart`: checkpoints are kept elsewhere, so that no transaction spans both.
    """

    ledger: Ledger
    lease: Lease
    memory: str = ""
    apart: bool = False


class Book:
    """The ledger of one turn."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._sent: dict[str, dict[int, Sent]] = {}
        self._agreed: set[str] = set()
        self._closing: dict[str, None] = {}

    async def open(self, *, goes_on: bool) -> None:
        """Read what an earlier turn left; a new beginning lets go of it with its first step."""
        for sent in await self._page.ledger.read(self._page.lease.thread_id):
            self._sent.setdefault(sent.call_id, {})[sent.index] = sent
        if not goes_on:
            self.close(self._sent)

    def doubts(self, call_id: str) -> bool:
        """Whether nobody knows if a part of this call was done, and the user was not asked."""
        if call_id in self._agreed:
            return False
        parts = self._sent.get(call_id, {}).values()
        return any(sent.answer is None and not self._remembered(sent) for sent in parts)

    def agree(self, call_ids: Iterable[str]) -> None:
        """The user wants these to run, whether or not they did."""
        self._agreed.update(call_ids)

    def close(self, call_ids: Iterable[str]) -> None:
        """The next checkpoint holds what these calls gave."""
        self._closing |= dict.fromkeys(call_id for call_id in call_ids if call_id in self._sent)

    @property
    def closing(self) -> Sequence[str]:
        """Calls that the checkpoint to be written settles for good."""
        return tuple(self._closing)

    async def closed(self, call_ids: Sequence[str]) -> None:
        """A checkpoint was written that settles these calls."""
        if call_ids and self._page.apart:
            await self._page.ledger.forget(self._page.lease, call_ids)
        for call_id in call_ids:
            del self._sent[call_id], self._closing[call_id]

    def client(self, call_id: str, machine: Machine, hide: Hide) -> Client:
        """The client's machine, for one run of a call."""
        return _Recorded(self, call_id, machine, hide)

    async def settled(
        self, at: tuple[str, int], action: Action, machine: Machine, hide: Hide
    ) -> ActionResponse:
        """The answer to an action: the one that is known, or else the client's."""
        kind = action.WhichOneof("action") or ""
        doing = _Doing(kind, self._page.memory, partial(machine.send, action), hide)
        return await self._once(at, doing)

    async def here(self, call_id: str, work: Callable[[], Awaitable[str]], hide: Hide) -> str:
        """What a call gives that is made from this server, and that nobody else remembers.

        Raises ToolRefused, also when it is known already.
        """

        async def answer(request_id: str) -> ActionResponse:
            try:
                text = PlainTextResponse(response=await work())
            except ToolRefused as refusal:
                text = PlainTextResponse(error=refusal.detail or "The tool failed.")
            return ActionResponse(requestID=request_id, plainTextResponse=text)

        response = await self._once((call_id, 0), _Doing("here", "", answer, hide))
        if response.plainTextResponse.error:
            raise ToolRefused(response.plainTextResponse.error)
        return response.plainTextResponse.response

    async def _once(self, at: tuple[str, int], doing: "_Doing") -> ActionResponse:
        call_id, index = at
        ledger, lease = self._page.ledger, self._page.lease
        known = self._sent.get(call_id, {}).get(index)
        if known is not None and known.kind == doing.kind and known.answer is not None:
            return ActionResponse.FromString(known.answer)
        again = known is not None and known.kind == doing.kind and self._remembered(known)
        request_id = known.request_id if known is not None and again else new_id()
        sent = Sent(call_id, index, request_id, doing.kind, doing.memory)
        await ledger.write(lease, (sent,))
        self._sent.setdefault(call_id, {})[index] = sent
        response = await doing.work(request_id)
        answer = (await _hidden(response, doing.hide)).SerializeToString()
        sent = replace(sent, answer=answer)
        await ledger.write(lease, (sent,))
        self._sent[call_id][index] = sent
        return response

    def _remembered(self, sent: Sent) -> bool:
        return bool(sent.memory) and sent.memory == self._page.memory


@dataclass(frozen=True, slots=True)
class _Doing:
    """Something that changes the world: `work` does it under a request id."""

    kind: str
    memory: str
    work: Callable[[str], Awaitable[ActionResponse]]
    hide: Hide


class _Recorded:
    """The client's machine; what changes the world goes through the book."""

    def __init__(self, book: Book, call_id: str, machine: Machine, hide: Hide) -> None:
        self._book = book
        self._call_id = call_id
        self._machine = machine
        self._hide = hide
        self._count = 0

    async def ask(self, action: Action) -> ActionResponse:
        if not changes(action):
            return await self._machine.ask(action)
        at = self._call_id, self._count
        self._count += 1
        response = await self._book.settled(at, action, self._machine, self._hide)
        return checked(response, action.WhichOneof("action") or "")

    @property
    def host(self) -> str:
        return self._machine.host

    def utc(self) -> datetime:
        return self._machine.utc()

    @property
    def exclusion(self) -> Exclusion:
        return self._machine.exclusion

    def has(self, capability: str) -> bool:
        return self._machine.has(capability)


async def _hidden(response: ActionResponse, hide: Hide) -> ActionResponse:
    """The answer as it may be stored."""
    kept = ActionResponse.FromString(response.SerializeToString())
    match kept.WhichOneof("response_type"):
        case "plainTextResponse":
            kept.plainTextResponse.response = await hide(kept.plainTextResponse.response)
            kept.plainTextResponse.error = await hide(kept.plainTextResponse.error)
        case "httpResponse":
            kept.httpResponse.body = await hide(kept.httpResponse.body)
            kept.httpResponse.error = await hide(kept.httpResponse.error)
            for name, value in kept.httpResponse.headers.items():
                kept.httpResponse.headers[name] = await hide(value)
        case _:
            pass
    return kept
