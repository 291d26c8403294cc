"""What was done is not done again, however a turn was lost; what is unclear is asked."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.leases import SqlLeases
from isthmus.adapters.stores.ledger import SqlLedger
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.contract.contract_pb2 import (
    Action,
    Approval,
    ClientEvent,
    RunHTTPRequest,
    StartWorkflowRequest,
)
from isthmus.core.checkpoint import StoredCheckpoint
from isthmus.core.errors import ClientGone, Invalid, StoreDown, ToolRefused
from isthmus.core.identity import ClientInfo
from isthmus.core.lease import Lease
from isthmus.core.ledger import Sent
from isthmus.core.messages import ToolResult
from isthmus.platform.ledger import Book, Page, changes
from tests.support.clock import HandClock
from tests.support.memory_store import MemoryLedger
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import CALLER, Reply, Stand, Told, chat, feed, reply

WRITE = "create_file_with_contents"
APPROVED = Approval(approval=Approval.Approved())
REJECTED = Approval(rejection=Approval.Rejected())


class Failing(SqlCheckpointStore):
    """Loses the checkpoints that settle something, while `down`."""

    down = False

    async def put(
        self, checkpoint: StoredCheckpoint, lease: Lease | None = None, calls: Sequence[str] = ()
    ) -> None:
        if self.down and calls:
            raise StoreDown("the disk is full")
        await super().put(checkpoint, lease, calls)


class House:
    """A stand on a database, and the client's own list of what it did."""

    def __init__(self, database: Database, *lines: Any) -> None:
        clock = HandClock()
        self.checkpoints = Failing(database)
        self.ledger = SqlLedger(database)
        self.models = ScriptedModels(*lines)
        self.stand = Stand(
            self.models,
            workflows=SqlWorkflowStore(database, clock),
            checkpoints=self.checkpoints,
            leases=SqlLeases(database),
            ledger=self.ledger,
        )
        self.sent: list[Action] = []

    async def turn(self, start: StartWorkflowRequest, says: str = "wrote") -> Told:
        """One stream that is answered to its end."""

        def answer(action: Action) -> Reply:
            self.sent.append(action)
            return says

        stand = self.stand.limited()
        async with stand.serving():
            return await stand.stream(start, answer)

    async def lost(self, start: StartWorkflowRequest, files: int = 2) -> None:
        """One stream that breaks: all files are written but b, of which no answer comes."""
        events: asyncio.Queue[ClientEvent | None] = asyncio.Queue()
        events.put_nowait(ClientEvent(startRequest=start))
        info, stand = ClientInfo({"x-gitlab-version": "18.7.0"}), self.stand.limited()
        async with (
            stand.serving(),
            aclosing(stand.host.open(CALLER, info, feed(events))) as actions,
        ):
            async for action in actions:
                if action.HasField("newCheckpoint"):
                    continue
                self.sent.append(action)
                if action.runWriteFile.filepath != "b":
                    reply(events, action, "wrote s3cret")
                if len(self.sent) == files:
                    break
            await self._settled(files - 1)

    async def _settled(self, count: int) -> None:
        for _ in range(1000):
            if sum(sent.answer is not None for sent in await self.left()) == count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("an answer was not written down")

    async def left(self) -> list[Sent]:
        return list(await self.ledger.read("7"))

    @property
    def files(self) -> list[str]:
        return [action.runWriteFile.filepath for action in self.sent]


def write(*paths: str) -> Any:
    return use(*((f"call-{p}", WRITE, f'{{"file_path": "{p}", "contents": "x"}}') for p in paths))


def start(goal: str = "", memory: str = "", **fields: Any) -> StartWorkflowRequest:
    named = [f"action_memory={memory}"] if memory else []
    return chat(goal, preapproved_tools=[WRITE], clientCapabilities=named, **fields)


def results(house: House) -> list[str]:
    """What the model was told of its calls, at last."""
    messages = house.models.prompt().messages
    return [p.text for m in messages for p in m.parts if isinstance(p, ToolResult)]


async def test_a_client_that_remembers_is_asked_again_under_the_same_id(
    database: Database,
) -> None:
    house = House(database, write("a", "b"), say("done"))
    await house.lost(start("go", "memory-1"))
    assert sorted(house.files) == ["a", "b"]
    told = await house.turn(start(memory="memory-1"))
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert house.files[2:] == ["b"]
    ids = {action.runWriteFile.filepath: action.requestID for action in house.sent[:2]}
    assert house.sent[2].requestID == ids["b"]
    assert await house.left() == []


async def test_what_was_answered_is_not_sent_again_and_keeps_no_secret(
    database: Database,
) -> None:
    house = House(database, write("a", "b"), say("done"))
    await house.lost(start("go", "memory-1"))
    (settled,) = [sent for sent in await house.left() if sent.answer is not None]
    assert settled.answer is not None
    assert b"s3cret" not in settled.answer
    assert b"[REDACTED:known:" in settled.answer
    await house.turn(start(memory="memory-1"))
    first, second = results(house)
    assert "wrote [REDACTED:known:" in first
    assert "wrote" in second


async def test_a_checkpoint_that_was_lost_costs_no_second_action(database: Database) -> None:
    house = House(database, write("a"), say("done"))
    house.checkpoints.down = True
    lost = await house.turn(start("go"))
    assert lost.statuses[-1] == "PAUSED"
    assert house.files == ["a"]
    house.checkpoints.down = False
    told = await house.turn(start(), says="never asked")
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert house.files == ["a"]
    assert "never" not in results(house)[0]
    assert await house.left() == []


@pytest.mark.parametrize("memory", ["", "memory-2"])
async def test_where_the_client_cannot_know_the_user_is_asked(
    database: Database, memory: str
) -> None:
    house = House(database, write("a", "b"), say("done"))
    await house.lost(start("go", "memory-1"))
    told = await house.turn(start(memory=memory))
    assert told.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert sorted(house.files) == ["a", "b"]
    asked = [entry for entry in told.log() if entry["message_type"] == "request"]
    (request,) = asked
    assert request["tool_info"]["args"]["file_path"] == "b"
    assert "whether it was done is unknown" in request["content"]
    again = await house.turn(start(memory=memory, approval=APPROVED))
    assert again.statuses[-1] == "INPUT_REQUIRED"
    assert house.files[2:] == ["b"]
    assert house.sent[2].requestID not in {action.requestID for action in house.sent[:2]}
    assert await house.left() == []


async def test_a_user_who_says_no_keeps_what_was_done(database: Database) -> None:
    house = House(database, write("a", "b"), say("done"))
    await house.lost(start("go"))
    await house.turn(start())
    told = await house.turn(start(approval=REJECTED))
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert sorted(house.files) == ["a", "b"]
    first, second = results(house)
    assert "wrote" in first
    assert "Whether it was done before is unknown" in second
    assert await house.left() == []


async def test_new_words_let_go_of_what_was_left(database: Database) -> None:
    house = House(database, write("b"), say("done"))
    await house.lost(start("go"), 1)
    told = await house.turn(start("something else"))
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert house.files == ["b"]
    assert await house.left() == []


@pytest.mark.parametrize("asks", [True, False])
async def test_a_client_that_missed_the_end_of_a_turn_is_told_it_again(
    database: Database, asks: bool
) -> None:
    house = House(database, use(("c", "mkdir", '{"directory_path": "d"}')) if asks else say("ok"))
    first = await house.turn(start("go", "memory-1"))
    missed = await house.turn(start(memory="memory-1"))
    assert missed.error is None
    assert missed.log() == first.log()
    waits = "TOOL_CALL_APPROVAL_REQUIRED" if asks else "INPUT_REQUIRED"
    assert (first.statuses[-1], missed.statuses[-1]) == (waits, waits)
    assert len(house.models.calls) == 1
    refused = await house.turn(start())
    assert isinstance(refused.error, Invalid)


async def hidden(text: str) -> str:
    return text.replace("s3cret", "*")


async def book(ledger: MemoryLedger) -> Book:
    """The book of one more turn, of a client that remembers."""
    opened = Book(Page(ledger, Lease("7", "runner", 1), "memory-1"))
    await opened.open(goes_on=True)
    return opened


@pytest.mark.parametrize("fails", [False, True])
async def test_what_was_made_here_gives_its_answer_again(*, fails: bool) -> None:
    ledger, runs = MemoryLedger(), 0

    async def work() -> str:
        nonlocal runs
        runs += 1
        if fails:
            raise ToolRefused("no s3cret")
        return "a s3cret"

    for expected in ("s3cret", "*"):
        turn = await book(ledger)
        assert not turn.doubts("c")
        if fails:
            with pytest.raises(ToolRefused) as refusal:
                await turn.here("c", work, hidden)
            assert refusal.value.detail == f"no {expected}"
        else:
            assert await turn.here("c", work, hidden) == f"a {expected}"
    assert runs == 1


async def test_what_was_begun_here_is_in_doubt_whoever_the_client_is() -> None:
    ledger = MemoryLedger()

    async def lost() -> str:
        raise ClientGone("the client left")

    async def work() -> str:
        return "again"

    with pytest.raises(ClientGone):
        await (await book(ledger)).here("c", lost, hidden)
    turn = await book(ledger)
    assert turn.doubts("c")
    turn.agree(["c"])
    assert not turn.doubts("c")
    assert await turn.here("c", work, hidden) == "again"


@pytest.mark.parametrize(
    ("action", "changing"),
    [
        (Action(runHTTPRequest=RunHTTPRequest(method="get", path="/x")), False),
        (Action(runHTTPRequest=RunHTTPRequest(method="POST", path="/x")), True),
        (Action(runReadFile={"filepath": "a"}), False),
        (Action(runCommand={"program": "ls"}), True),
        (Action(), True),
    ],
)
def test_what_can_change_the_world(action: Action, changing: bool) -> None:
    assert changes(action) is changing
