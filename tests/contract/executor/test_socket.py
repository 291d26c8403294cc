"""The executor against a relay on a real socket: frames, close codes, cuts and refusals."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from isthmus.executor.client import Exit
from isthmus.executor.socket import Timing
from tests.contract.executor.relay_stand import (
    SHORT,
    Opened,
    Relay,
    Script,
    executor,
    relaying,
    says,
)

WRITE = {"requestID": "w", "runWriteFile": {"filepath": "a.txt", "contents": "hello"}}


async def finishes(socket: Opened) -> None:
    await socket.frame()
    await socket.checkpoint("FINISHED", says("Done."))
    await socket.close()


def breaks(code: int | None, *, states: int = 2) -> Script:
    """Ends in the middle, behind so many states, with a close code or with none."""

    async def script(socket: Opened) -> None:
        await socket.frame()
        for _ in range(states):
            await socket.checkpoint("RUNNING", says("Half"))
        if code is None:
            socket.cut()
        else:
            await socket.close(code, "because")

    return script


async def test_a_session_reads_and_writes_over_a_socket(tmp_path: Path) -> None:
    async def works(socket: Opened) -> None:
        await socket.frame()
        await socket.send(WRITE)
        await socket.frame()
        await socket.send({"requestID": "r", "runReadFile": {"filepath": "a.txt"}}, binary=False)
        await socket.frame()
        await socket.send({"requestID": "c", "runCommand": {"program": "pwd", "timeout": "5"}})
        await socket.frame()
        await socket.checkpoint("INPUT_REQUIRED", says("It says hello."))
        await socket.close()

    relay = Relay(works)
    async with relaying(relay) as port:
        run = await executor(tmp_path, port)
        assert await run.to_its_end("write") is Exit.DONE
    (socket,) = relay.opened
    start, wrote, read, ran = socket.seen
    assert start["startRequest"]["workflowID"] == "42"
    assert "shell_command" in start["startRequest"]["clientCapabilities"]
    assert wrote["actionResponse"]["requestID"] == "w"
    assert read["actionResponse"]["plainTextResponse"] == {"response": "hello"}
    assert ran["actionResponse"]["plainTextResponse"]["response"] == f"Exit code: 0\n{tmp_path}\n"
    assert socket.request.path == "/api/v4/ai/duo_workflows/ws?workflow_id=42"
    assert socket.request.headers["Authorization"] == "Bearer hunter2"
    assert socket.request.headers["X-Gitlab-Client-Type"] == "t"
    assert run.session.result == "It says hello."


@pytest.mark.parametrize("code", [1001, 1012, 1014, None])
async def test_a_server_that_restarts_is_found_again(tmp_path: Path, code: int | None) -> None:
    relay = Relay(breaks(code), breaks(code), finishes)
    async with relaying(relay) as port:
        run = await executor(tmp_path, port)
        assert await run.to_its_end("goal") is Exit.DONE
    starts = [socket.seen[0]["startRequest"] for socket in relay.opened]
    assert [start.get("goal", "") for start in starts] == ["goal", "", ""]
    assert {start["workflowID"] for start in starts} == {"42"}


async def test_a_goal_that_may_not_be_stored_is_sent_again_under_its_name(tmp_path: Path) -> None:
    relay = Relay(503, breaks(1001, states=0), breaks(1001, states=1), finishes)
    async with relaying(relay) as port:
        run = await executor(tmp_path, port)
        assert await run.to_its_end("goal") is Exit.DONE
    starts = [socket.seen[0]["startRequest"] for socket in relay.opened]
    assert [start["goal"] for start in starts] == ["goal"] * 3
    assert len({name_of(start) for start in starts}) == 1


async def test_a_goal_whose_server_could_not_store_it_is_sent_again(tmp_path: Path) -> None:
    async def pauses(socket: Opened) -> None:
        await socket.frame()
        await socket.checkpoint("RUNNING", says("Before"))
        await socket.checkpoint("PAUSED", says("The store is away."))
        await socket.close(1001, "because")

    relay = Relay(pauses, finishes)
    async with relaying(relay) as port:
        run = await executor(tmp_path, port)
        assert await run.to_its_end("goal") is Exit.DONE
    assert [s.seen[0]["startRequest"]["goal"] for s in relay.opened] == ["goal", "goal"]


async def test_each_turn_has_a_name_of_its_own(tmp_path: Path) -> None:
    async def asks(socket: Opened) -> None:
        await socket.frame()
        await socket.checkpoint("TOOL_CALL_APPROVAL_REQUIRED", says("May I?"))
        await socket.close()

    relay = Relay(asks, asks, finishes)
    async with relaying(relay) as port:
        run = await executor(tmp_path, port)
        assert await run.to_its_end("goal") is Exit.DONE
    assert len({name_of(socket.seen[0]["startRequest"]) for socket in relay.opened}) == 3


def name_of(start: dict[str, Any]) -> str:
    (name,) = (n for n in start["clientCapabilities"] if n.startswith("start_id="))
    return str(name)


async def test_a_session_that_runs_elsewhere_is_waited_for(tmp_path: Path) -> None:
    relay = Relay(breaks(1013, states=0), breaks(1013, states=0), finishes)
    async with relaying(relay) as port:
        run = await executor(tmp_path, port)
        assert await run.to_its_end() is Exit.DONE
    assert len(relay.opened) == 3
    assert "runs elsewhere" in run.err.getvalue()


@pytest.mark.parametrize("code", [1008, 1009, 1011, 4400])
async def test_a_refusal_is_final(tmp_path: Path, code: int) -> None:
    relay = Relay(breaks(code))
    async with relaying(relay) as port:
        run = await executor(tmp_path, port)
        assert await run.to_its_end() is Exit.FAILED
    assert len(relay.opened) == 1
    assert f"closed {code}: because" in run.err.getvalue()


@pytest.mark.parametrize("status", [302, 401, 403, 404, 407])
async def test_a_refused_handshake_is_final(tmp_path: Path, status: int) -> None:
    relay = Relay(status)
    async with relaying(relay) as port:
        run = await executor(tmp_path, port)
        assert await run.to_its_end() is Exit.FAILED
    assert relay.refused == 1
    assert str(status) in run.err.getvalue()


async def test_a_close_without_a_result_is_a_failure(tmp_path: Path) -> None:
    relay = Relay(breaks(1000))
    async with relaying(relay) as port:
        run = await executor(tmp_path, port)
        assert await run.to_its_end() is Exit.FAILED


async def test_a_frame_that_cannot_be_read_ends_the_session(tmp_path: Path) -> None:
    async def babbles(socket: Opened) -> None:
        await socket.frame()
        await socket.connection.send("{")
        await socket.connection.wait_closed()

    async with relaying(Relay(babbles)) as port:
        run = await executor(tmp_path, port)
        assert await run.to_its_end() is Exit.FAILED
    assert "cannot be read" in run.err.getvalue()


async def test_a_server_that_stays_away_is_given_up(tmp_path: Path) -> None:
    async with relaying(Relay(finishes)) as port:
        pass
    run = await executor(tmp_path, port)
    assert await run.to_its_end() is Exit.GONE
    assert Exit.GONE == 75


async def test_a_server_that_always_goes_away_is_given_up(tmp_path: Path) -> None:
    relay = Relay(breaks(1001))
    async with relaying(relay) as port:
        run = await executor(tmp_path, port)
        assert await run.to_its_end() is Exit.GONE
    assert len(relay.opened) == SHORT.reconnects + 1


async def test_a_silent_network_is_noticed_by_pings(tmp_path: Path) -> None:
    async def goes_silent(socket: Opened) -> None:
        await socket.frame()
        await socket.checkpoint("RUNNING")
        socket.connection.transport.pause_reading()
        await socket.connection.wait_closed()

    relay = Relay(goes_silent, finishes)
    async with relaying(relay) as port:
        timing = Timing(ping_s=0.05, pong_s=0.1, close_s=0.1)
        run = await executor(tmp_path, port, timing=timing)
        assert await run.to_its_end() is Exit.DONE
        relay.opened[0].cut()


async def test_an_interrupt_tells_the_server_and_waits_for_its_close(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def waits(socket: Opened) -> None:
        await socket.frame()
        await socket.checkpoint("RUNNING")
        begun.set()
        await socket.frame()
        await socket.checkpoint("STOPPED")
        await socket.close()

    relay = Relay(waits)
    async with relaying(relay) as port:
        run = await executor(tmp_path, port)
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(run.to_its_end())
            await begun.wait()
            run.stop.set()
            assert await ending is Exit.INTERRUPTED
    assert relay.opened[0].seen[1] == {"stopWorkflow": {"reason": "ABORTED"}}


async def test_a_session_left_for_approval_goes_on_with_the_jobs_decision(tmp_path: Path) -> None:
    async def asks(socket: Opened) -> None:
        await socket.frame()
        await socket.checkpoint("TOOL_CALL_APPROVAL_REQUIRED")
        await socket.close()

    relay = Relay(asks)
    async with relaying(relay) as port:
        run = await executor(tmp_path, port, mode="later")
        assert await run.to_its_end() is Exit.DONE
    assert len(relay.opened) == 1
    assert "--approval" in run.err.getvalue()
