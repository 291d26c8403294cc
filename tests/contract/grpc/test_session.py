"""The executor against a real server on a real port, with a scripted host behind it."""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from isthmus.adapters.stores.leases import HELD
from isthmus.contract.contract_pb2 import Action, ClientEvent, NewCheckpoint
from isthmus.core.errors import Forbidden, Interrupted, Unavailable
from isthmus.executor import actions
from isthmus.executor.action import Machine
from isthmus.executor.address import address_of
from isthmus.executor.answer import Answerer, load_actions
from isthmus.executor.approve import Approver, Mode
from isthmus.executor.channel import Access
from isthmus.executor.client import Exit, Patience, Session
from isthmus.executor.git import Git
from isthmus.executor.screen import Screen
from isthmus.executor.task import Task
from isthmus.executor.turn import Hands
from isthmus.executor.workspace import Workspace
from isthmus.platform.host import LIVE
from isthmus.settings import GrpcSettings
from tests.contract.grpc.platform_stand import Opened, ScriptedHost, metadata, standing

SHORT = Patience(outage_s=3.0, reconnects=20, first_s=0.02, longest_s=0.1)


class Terminal(io.StringIO):
    """Text that says it comes from a person."""

    def isatty(self) -> bool:
        return True


@dataclass
class Run:
    """One run of the executor, from outside."""

    session: Session
    out: io.StringIO
    err: io.StringIO
    stop: asyncio.Event
    root: Path

    async def to_its_end(self, goal: str = "do it") -> Exit:
        async with asyncio.timeout(20):
            return await self.session.run(Task("42", goal), self.stop)


async def executor(
    root: Path,
    port: int,
    *,
    mode: Mode = "all",
    says: str | None = None,
    heartbeat_s: float = 60.0,
) -> Run:
    """An executor on `root`; `says` are the lines of a person at a terminal."""

    def machine() -> Machine:
        workspace = Workspace(root)
        environment = {"PATH": "/usr/bin:/bin"}
        return Machine(workspace, Git(workspace, environment), environment)

    kinds = await asyncio.to_thread(load_actions, actions)
    answerer = Answerer(kinds, await asyncio.to_thread(machine), _unexpected)
    out, err = io.StringIO(), io.StringIO()
    source = io.StringIO() if says is None else Terminal(says)
    screen = Screen(out, err, source)
    hands = Hands(answerer, Approver(mode, screen), heartbeat_s=heartbeat_s, stop_wait_s=0.5)
    access = Access(address_of(f"grpc://127.0.0.1:{port}"), metadata())
    session = Session(access, hands, screen, patience=SHORT, roll=lambda: 0.5)
    return Run(session, out, err, asyncio.Event(), root)


def _unexpected(action: str, bug: Exception) -> None:
    raise AssertionError(f"{action}: {bug!r}")


@asynccontextmanager
async def running(
    host: ScriptedHost, root: Path, *, mode: Mode = "all", says: str | None = None
) -> AsyncIterator[Run]:
    async with standing(host) as stand:
        yield await executor(root, stand.listener.port, mode=mode, says=says)


def checkpoint(status: str, *entries: dict[str, object]) -> Action:
    log = msgspec.json.encode({"channel_values": {"ui_chat_log": entries}}).decode()
    return Action(requestID="c", newCheckpoint=NewCheckpoint(status=status, checkpoint=log))


def says(text: str) -> dict[str, object]:
    return {"message_type": "agent", "content": text, "message_id": "agent-1"}


REQUEST: dict[str, object] = {
    "message_type": "request",
    "content": "May I write a.txt?",
    "message_id": "call-1",
    "tool_info": {"name": "create_file_with_contents", "args": {"file_path": "a.txt"}},
}
WRITE = Action(requestID="w-1", runWriteFile={"filepath": "a.txt", "contents": "hello"})


async def finishes(stream: Opened) -> AsyncGenerator[Action, None]:
    await stream.event()
    yield checkpoint("FINISHED", says("Done."))


async def asks(stream: Opened) -> AsyncGenerator[Action, None]:
    await stream.event()
    yield checkpoint("TOOL_CALL_APPROVAL_REQUIRED", REQUEST)


async def decided(stream: Opened) -> AsyncGenerator[Action, None]:
    """Writes when it was approved, then ends."""
    start = await stream.event()
    if start.startRequest.approval.HasField("approval"):
        yield WRITE
        await stream.event()
    yield checkpoint("FINISHED", says("Over."))


async def test_a_session_reads_writes_and_shows_the_conversation(tmp_path: Path) -> None:
    async def works(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield checkpoint("RUNNING", says("I "))
        yield WRITE
        await stream.event()
        yield Action(requestID="r-1", runReadFile={"filepath": "a.txt"})
        yield Action(requestID="r-2", runReadFile={"filepath": "../x"})
        await stream.event()
        await stream.event()
        yield checkpoint("FINISHED", says("I wrote it.\x1b[31m"))

    host = ScriptedHost(works)
    async with running(host, tmp_path) as run:
        assert await run.to_its_end("write") is Exit.DONE
    start, wrote, *read = host.opened[0].seen
    assert (start.startRequest.workflowID, start.startRequest.goal) == ("42", "write")
    assert start.startRequest.workflowDefinition == "chat"
    assert "shell_command" in start.startRequest.clientCapabilities
    assert wrote.actionResponse.requestID == "w-1"
    answers = {event.actionResponse.requestID: event.actionResponse for event in read}
    assert answers["r-1"].plainTextResponse.response == "hello"
    assert "'..'" in answers["r-2"].plainTextResponse.error
    assert run.out.getvalue() == "I wrote it.·[31m"


@pytest.mark.parametrize(
    ("mode", "line", "approved", "message"),
    [
        ("ask", "y\n", True, ""),
        ("ask", "n\n", False, ""),
        ("ask", "use b.txt\n", False, "use b.txt"),
        ("ask", "", False, ""),
        ("all", None, True, ""),
        ("none", "y\n", False, ""),
    ],
)
async def test_a_decision_goes_out_on_a_new_stream(
    tmp_path: Path, mode: Mode, line: str | None, approved: bool, message: str
) -> None:
    host = ScriptedHost(asks, decided)
    async with running(host, tmp_path, mode=mode, says=line) as run:
        assert await run.to_its_end() is Exit.DONE
    assert len(host.opened) == 2
    start = host.opened[1].seen[0].startRequest
    assert (start.workflowID, start.goal) == ("42", "")
    assert start.approval.WhichOneof("user_decision") == ("approval" if approved else "rejection")
    assert start.approval.rejection.message == message
    assert (tmp_path / "a.txt").exists() is approved
    if mode == "ask":
        assert "create_file_with_contents\n  file_path: a.txt" in run.err.getvalue()
        assert run.out.getvalue() == "Over."


@pytest.mark.parametrize(("mode", "line"), [("ask", None), ("ask", "n\n"), ("none", "y\n")])
async def test_a_change_that_nobody_approved_is_refused(
    tmp_path: Path, mode: Mode, line: str | None
) -> None:
    async def sneaks(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield WRITE
        await stream.event()
        yield checkpoint("FINISHED")

    host = ScriptedHost(sneaks)
    async with running(host, tmp_path, mode=mode, says=line) as run:
        assert await run.to_its_end() is Exit.DONE
    answer = host.opened[0].seen[1].actionResponse.plainTextResponse
    assert "did not allow" in answer.error
    assert not (tmp_path / "a.txt").exists()


async def test_a_session_that_was_interrupted_is_resumed_without_its_goal(tmp_path: Path) -> None:
    async def interrupted(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield checkpoint("RUNNING")
        yield checkpoint("RUNNING", says("Half"))
        raise Interrupted("workflow execution interrupted: RUNNING")

    host = ScriptedHost(interrupted, interrupted, finishes)
    async with running(host, tmp_path) as run:
        assert await run.to_its_end("goal") is Exit.DONE
    starts = [stream.seen[0].startRequest for stream in host.opened]
    assert [start.goal for start in starts] == ["goal", "", ""]
    assert {start.workflowID for start in starts} == {"42"}
    assert run.err.getvalue().count("does not answer") == 2


@pytest.mark.parametrize(
    ("why", "told"), [("full", "does not answer"), (HELD, "runs elsewhere"), (LIVE, "elsewhere")]
)
async def test_a_goal_that_nobody_heard_is_sent_again(tmp_path: Path, why: str, told: str) -> None:
    async def full(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        raise Unavailable(why)
        yield

    host = ScriptedHost(full, full, finishes)
    async with running(host, tmp_path) as run:
        assert await run.to_its_end("goal") is Exit.DONE
    assert [stream.seen[0].startRequest.goal for stream in host.opened] == ["goal"] * 3
    assert run.err.getvalue().count(told) == 1


async def test_a_server_that_dies_and_returns_is_found_again(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def hangs(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield checkpoint("RUNNING")
        yield checkpoint("RUNNING", says("Half"))
        begun.set()
        await stream.event()

    again = ScriptedHost(finishes)
    async with standing(ScriptedHost(hangs)) as first:
        port = first.listener.port
        run = await executor(tmp_path, port)
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(run.to_its_end("goal"))
            await begun.wait()
            await first.listener.stop(0)
            async with standing(again, settings=GrpcSettings(port=port)):
                assert await ending is Exit.DONE
    assert again.opened[0].seen[0].startRequest.goal == ""


async def test_a_server_that_stays_away_is_given_up(tmp_path: Path) -> None:
    async with standing(ScriptedHost(finishes)) as stand:
        port = stand.listener.port
    run = await executor(tmp_path, port)
    assert await run.to_its_end() is Exit.GONE
    assert run.err.getvalue().endswith("retry\n")


async def test_a_server_that_always_goes_away_is_given_up(tmp_path: Path) -> None:
    async def flaps(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield checkpoint("RUNNING")
        raise Interrupted("again")

    host = ScriptedHost(flaps)
    async with running(host, tmp_path) as run:
        assert await run.to_its_end() is Exit.GONE
    assert len(host.opened) == SHORT.reconnects + 1


async def test_a_turn_that_ended_before_the_connection_broke_is_over(tmp_path: Path) -> None:
    async def ends_badly(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield checkpoint("INPUT_REQUIRED", says("And now?"))
        raise Interrupted("late")

    host = ScriptedHost(ends_badly)
    async with running(host, tmp_path) as run:
        assert await run.to_its_end() is Exit.DONE
    assert len(host.opened) == 1


async def test_a_failed_session_and_a_refused_one_exit_1(tmp_path: Path) -> None:
    async def fails(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield checkpoint("FAILED", says("It broke.") | {"status": "failure"})

    async def refuses(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        raise Forbidden("Unauthorized to execute chat")
        yield

    async with running(ScriptedHost(fails), tmp_path) as run:
        assert await run.to_its_end() is Exit.FAILED
    assert run.out.getvalue() == "x It broke.\n"
    async with running(ScriptedHost(refuses), tmp_path) as run:
        assert await run.to_its_end() is Exit.FAILED
    assert "PERMISSION_DENIED: Unauthorized to execute chat" in run.err.getvalue()


async def test_an_interrupt_ends_programs_and_tells_the_server_first(tmp_path: Path) -> None:
    command = {"program": "sh", "arguments": ["-c", "touch begun; sleep 60"]}

    async def runs(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield Action(requestID="run", runCommand=command)
        while not (await stream.event()).HasField("stopWorkflow"):
            continue
        yield checkpoint("STOPPED")

    host = ScriptedHost(runs)
    async with running(host, tmp_path) as run, asyncio.TaskGroup() as group:
        ending = group.create_task(run.to_its_end())
        while not (tmp_path / "begun").exists():  # noqa: ASYNC110 - a file cannot be awaited
            await asyncio.sleep(0.01)
        run.stop.set()
        assert await ending is Exit.INTERRUPTED
    _, answer, stop = host.opened[0].seen
    assert "Interrupted" in answer.actionResponse.plainTextResponse.error
    assert stop.stopWorkflow.reason == "ABORTED"


async def test_an_interrupt_does_not_wait_for_a_silent_server(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def silent(stream: Opened) -> AsyncGenerator[Action, None]:
        async for _ in stream.events:
            begun.set()
        return
        yield

    async with running(ScriptedHost(silent), tmp_path) as run, asyncio.TaskGroup() as group:
        ending = group.create_task(run.to_its_end())
        await begun.wait()
        run.stop.set()
        assert await ending is Exit.INTERRUPTED


async def test_a_heartbeat_is_sent(tmp_path: Path) -> None:
    async def listens(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        beats: list[ClientEvent] = [await stream.event() for _ in range(3)]
        assert all(beat.heartbeat.timestamp > 1_600_000_000_000 for beat in beats)
        yield checkpoint("FINISHED")

    async with standing(ScriptedHost(listens)) as stand:
        run = await executor(tmp_path, stand.listener.port, heartbeat_s=0.02)
        assert await run.to_its_end() is Exit.DONE


async def test_an_unreadable_checkpoint_is_told_and_survived(tmp_path: Path) -> None:
    async def garbles(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield Action(newCheckpoint=NewCheckpoint(status="RUNNING", checkpoint="{"))
        yield checkpoint("FINISHED")

    async with running(ScriptedHost(garbles), tmp_path) as run:
        assert await run.to_its_end() is Exit.DONE
    assert "could not be read" in run.err.getvalue()
