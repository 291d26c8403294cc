"""An executor does an action once, however often a server that was lost asks for it."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from isthmus.contract.contract_pb2 import Action, ActionResponse
from isthmus.core.errors import Interrupted
from isthmus.executor.client import Exit
from isthmus.executor.memory import MOST_ANSWERS, Memory
from tests.contract.grpc.platform_stand import Opened, ScriptedHost
from tests.contract.grpc.test_session import checkpoint, running

SLOW = Action(requestID="c-1")
SLOW.runCommand.program = "sh"
SLOW.runCommand.arguments.extend(["-c", "sleep 0.4; echo x >> runs; wc -l < runs"])


async def test_what_was_begun_for_a_lost_server_is_done_once(tmp_path: Path) -> None:
    async def lost(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield SLOW
        await asyncio.sleep(0.1)
        raise Interrupted("workflow execution interrupted: RUNNING")

    async def asks_again(stream: Opened) -> AsyncGenerator[Action, None]:
        await stream.event()
        yield SLOW
        await stream.event()
        yield SLOW
        await stream.event()
        yield checkpoint("FINISHED")

    host = ScriptedHost(lost, asks_again)
    async with running(host, tmp_path) as run:
        assert await run.to_its_end() is Exit.DONE
    assert (tmp_path / "runs").read_text() == "x\n"
    answers = [event.actionResponse for event in host.opened[1].seen[1:]]
    assert [a.requestID for a in answers] == ["c-1", "c-1"]
    assert [a.plainTextResponse.response.split()[-1] for a in answers] == ["1", "1"]
    names = {
        name
        for stream in host.opened
        for name in stream.seen[0].startRequest.clientCapabilities
        if name.startswith("action_memory=")
    }
    assert len(names) == 1


async def test_the_oldest_answers_are_forgotten() -> None:
    runs: list[str] = []

    def doing(name: str) -> ActionResponse:
        runs.append(name)
        return ActionResponse(requestID=name)

    async def do(memory: Memory, name: str) -> ActionResponse:
        async def work() -> ActionResponse:
            return doing(name)

        return await memory.answer(Action(requestID=name), work)

    async with Memory() as memory:
        for number in range(MOST_ANSWERS + 1):
            assert (await do(memory, str(number))).requestID == str(number)
        await do(memory, str(MOST_ANSWERS))
        await do(memory, "0")
    assert runs == [*map(str, range(MOST_ANSWERS + 1)), "0"]


async def test_what_is_done_when_the_executor_ends_is_cancelled() -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> ActionResponse:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        raise AssertionError

    async with Memory() as memory, asyncio.TaskGroup() as group:
        asking = group.create_task(memory.answer(SLOW, work))
        await began.wait()
        asking.cancel()
    assert cancelled.is_set()
