"""How sockets end, and what their sessions are told. Source: instance contract, 3.7 and 3.8."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from isthmus.contract.contract_pb2 import Action, RunHTTPRequest, RunShellCommand
from isthmus.core import errors
from isthmus.core.errors import Failure
from isthmus.core.events import Crashed, RelayClosed
from tests.support.relay_stand import (
    RelayStand,
    Script,
    Turn,
    hear,
    notice,
    one_turn,
    open_relay,
    say,
)


def failing(failure: Exception, *before: Action) -> Script:
    """Shows these, then fails."""

    async def script(_: Turn) -> AsyncIterator[Action]:
        for action in before:
            yield action
        raise failure

    return script


async def test_i7_43_what_the_platform_finds_invalid_closes_with_4400(relay: RelayStand) -> None:
    for detail in ("Unknown flow: a/v1", "é" * 100, "😀" * 40):
        relay.host.script = failing(errors.Invalid(detail))
        heard = await relay.run()
        assert heard.code == 4400
        assert len(heard.reason.encode()) <= 123
        assert detail.startswith(heard.reason)
        assert len(heard.reason.encode()) > 110 or heard.reason == detail
        assert heard.statuses == []


async def test_i7_44_used_up_credits_close_with_1008(relay: RelayStand) -> None:
    relay.host.script = failing(errors.InsufficientCredits("USAGE_QUOTA_EXCEEDED"))
    heard = await relay.run()
    assert (heard.code, heard.reason) == (1008, "Insufficient credits: quota exceeded")
    (closed,) = relay.sink.of(RelayClosed)
    assert (closed.status, closed.error) == ("RESOURCE_EXHAUSTED", "quota_exceeded")


OTHERS: tuple[tuple[Failure, str, str], ...] = (
    (errors.Forbidden("Not allowed."), "PERMISSION_DENIED", "Not allowed."),
    (errors.Conflict("Too late."), "FAILED_PRECONDITION", "Too late."),
    (errors.TooLarge("Outgoing message too large.", 1), "RESOURCE_EXHAUSTED", "Outgoing"),
    (errors.LimitExceeded("Too many sessions.", 1.0), "RESOURCE_EXHAUSTED", "Too many"),
    (errors.UpstreamFailed("secret words", status=500), "INTERNAL", "The model's provider"),
    (errors.UpstreamTimeout("secret words", "total"), "INTERNAL", "The model's provider"),
)


@pytest.mark.parametrize(("failure", "status", "told"), OTHERS)
async def test_i7_44_other_failures_close_with_1000_after_a_failed_notice(
    relay: RelayStand, failure: Failure, status: str, told: str
) -> None:
    relay.host.script = failing(failure, notice("RUNNING", "so far"))
    heard = await relay.run()
    assert (heard.code, heard.reason) == (1000, "")
    assert heard.statuses == ["RUNNING", "FAILED"]
    (entry,) = heard.log()
    assert entry["content"].startswith(told)
    assert entry["message_id"].startswith("error-")
    assert heard.closed_at_s - heard.at_s[-1] >= 0.05
    (closed,) = relay.sink.of(RelayClosed)
    assert (closed.status, closed.error) == (status, "other")


async def test_a_failure_that_was_shown_is_not_shown_twice(relay: RelayStand) -> None:
    relay.host.script = failing(errors.Conflict("x"), notice("FAILED", "x happened"))
    heard = await relay.run()
    assert heard.statuses == ["FAILED"]
    assert heard.log()[0]["content"] == "x happened"


async def test_a_bug_tells_the_client_nothing_of_itself(relay: RelayStand) -> None:
    relay.host.script = failing(ZeroDivisionError("token glpat-x"))
    heard = await relay.run()
    assert (heard.code, heard.statuses) == (1000, ["FAILED"])
    assert "glpat" not in str(heard.frames)
    (crashed,) = relay.sink.of(Crashed)
    assert "glpat" not in repr(crashed)
    assert (await relay.run()).code == 1000


@pytest.mark.parametrize("failure", [errors.Unavailable("down"), errors.Interrupted("moved")])
async def test_a_platform_that_goes_away_closes_with_1001(
    relay: RelayStand, failure: Failure
) -> None:
    relay.host.script = failing(failure, notice("RUNNING", "so far"))
    heard = await relay.run()
    assert (heard.code, heard.reason) == (1001, "server shutdown")
    assert heard.statuses == ["RUNNING"]


class Stopped:
    """A session that goes on until it is stopped, and then for a little while."""

    def __init__(self) -> None:
        self.reason = ""
        self.answers: list[int] = []
        self.ended = asyncio.Event()

    async def script(self, turn: Turn) -> AsyncIterator[Action]:
        yield notice("RUNNING", "busy")
        self.reason = await turn.stopped()
        # Its record is still to be moved, and nobody but the relay can do so.
        yield Action(
            requestID="p", runHTTPRequest=RunHTTPRequest(method="GET", path="/api/v4/user")
        )
        self.answers.append((await turn.answer()).httpResponse.statusCode)
        yield Action(requestID="x", runShellCommand=RunShellCommand(command="nobody hears"))
        yield notice("STOPPED")
        self.ended.set()


async def opened(relay: RelayStand, socket: ClientConnection, **start: Any) -> str:
    """Start a session and wait until it runs."""
    workflow_id = await relay.workflow()
    await say(socket, {"startRequest": {"workflowID": workflow_id, **start}})
    await socket.recv()
    return workflow_id


@pytest.mark.parametrize("code", [1000, 1001])
async def test_i7_45_a_polite_close_stops_the_session_by_that_name(
    relay: RelayStand, code: int
) -> None:
    stopped = Stopped()
    relay.host.script = stopped.script
    async with relay.connect() as socket:
        workflow_id = await opened(relay, socket)
        await socket.close(code)
    await asyncio.wait_for(stopped.ended.wait(), 10)
    assert stopped.reason == f"WORKHORSE_WEBSOCKET_CLOSE_{code}"
    assert stopped.answers == [200], "with the session's own token, while it ends"
    await asyncio.wait_for(relay.host.turn.closed.wait(), 10)
    relay.host.script = one_turn
    assert (await relay.run(workflow_id=workflow_id)).code == 1000


@pytest.mark.parametrize("how", ["reset", "4000"])
async def test_trace_6_a_client_that_vanishes_tears_its_session_down(
    relay: RelayStand, how: str
) -> None:
    stopped = Stopped()
    relay.host.script = stopped.script
    async with relay.connect() as socket:
        workflow_id = await opened(relay, socket)
        if how == "reset":
            socket.transport.abort()
        else:
            await socket.close(4000)
        await asyncio.wait_for(relay.host.turn.closed.wait(), 10)
    assert stopped.reason == ""
    relay.host.script = one_turn
    assert (await relay.run(workflow_id=workflow_id)).code == 1000


async def test_i7_46_a_missing_pong_stops_the_session_by_that_name(tmp_path: Path) -> None:
    stopped = Stopped()
    async with open_relay(tmp_path, ping_s=0.1, pong_s=0.2) as relay:
        relay.host.script = stopped.script
        async with relay.connect() as socket:
            await opened(relay, socket)
            socket.transport.pause_reading()  # a client that is there and says nothing
            await asyncio.wait_for(stopped.ended.wait(), 10)
            assert stopped.reason == "WORKHORSE_WEBSOCKET_PONG_TIMEOUT"
            socket.transport.resume_reading()


async def test_a_client_that_answers_pings_stays(tmp_path: Path) -> None:
    stopped = Stopped()
    async with open_relay(tmp_path, ping_s=0.05, pong_s=0.1) as relay:
        relay.host.script = stopped.script
        async with relay.connect() as socket:
            await opened(relay, socket)
            pong = await socket.ping(b"of the client's own")
            await asyncio.wait_for(pong, 5)
            await asyncio.sleep(0.4)
            assert stopped.reason == ""
            await say(socket, {"stopWorkflow": {"reason": "ABORTED"}})
            heard = await hear(socket)
            assert (heard.code, heard.statuses) == (1000, ["STOPPED"])
        assert stopped.reason == "ABORTED"


async def test_a_client_that_does_not_read_stops_its_session_as_unreachable(
    tmp_path: Path,
) -> None:
    stopped = Stopped()

    async def flood(turn: Turn) -> AsyncIterator[Action]:
        for _ in range(64):
            yield notice("RUNNING", "x" * 1_000_000)
        async for action in stopped.script(turn):
            yield action

    async with open_relay(tmp_path, write_s=0.2) as relay:
        relay.host.script = flood
        async with relay.connect(max_size=None, max_queue=1) as socket:
            await say(socket, {"startRequest": {"workflowID": await relay.workflow()}})
            await socket.recv()
            socket.transport.pause_reading()
            await asyncio.wait_for(stopped.ended.wait(), 15)
            assert stopped.reason == "WORKHORSE_WEBSOCKET_PING_FAILED"
            socket.transport.abort()


async def test_i7_47_a_shutdown_closes_with_1001_and_lets_the_session_go_on_elsewhere(
    tmp_path: Path,
) -> None:
    stopped = Stopped()

    async def moving(turn: Turn) -> AsyncIterator[Action]:
        yield notice("RUNNING", "busy")
        stopped.reason = await turn.stopped()
        raise errors.Interrupted("workflow execution interrupted: RUNNING")

    async with open_relay(tmp_path) as relay:
        relay.host.script = moving
        async with relay.connect() as socket, relay.connect() as idle:
            workflow_id = await opened(relay, socket)
            before = await relay.instance.workflows.own(relay.people.alice.member, workflow_id)
            relay.server.should_exit = True
            heard, unstarted = await hear(socket), await hear(idle)
            assert (heard.code, heard.reason) == (1001, "server shutdown")
            assert (unstarted.code, unstarted.reason) == (1001, "server shutdown")
        assert stopped.reason == "WORKHORSE_SERVER_SHUTDOWN"
        after = await relay.instance.workflows.own(relay.people.alice.member, workflow_id)
        assert after.status == before.status
        assert relay.instance.locks.take(workflow_id), "the lock is free"


async def test_i7_51_a_stop_of_the_users_reaches_the_session_and_ends_the_stream(
    relay: RelayStand,
) -> None:
    stopped = Stopped()
    relay.host.script = stopped.script
    async with relay.connect() as socket:
        await opened(relay, socket)
        await say(socket, {"stopWorkflow": {"reason": "USER_ACTION_TRIGGERED_STOP"}})
        frames = await hear(socket)
    assert stopped.reason == "USER_ACTION_TRIGGERED_STOP"
    assert frames.statuses == ["STOPPED"]
    assert frames.code == 1000


async def test_i7_64_a_close_right_after_an_action_stops_and_leaves_no_lock(
    relay: RelayStand,
) -> None:
    reasons: list[str] = []

    async def script(turn: Turn) -> AsyncIterator[Action]:
        yield Action(requestID="1", runShellCommand=RunShellCommand(command="ls"))
        reasons.append(await turn.stopped())

    relay.host.script = script
    async with relay.connect() as socket:
        workflow_id = await opened(relay, socket)
        await socket.close(1000)
    await asyncio.wait_for(relay.host.turn.closed.wait(), 10)
    assert reasons == ["WORKHORSE_WEBSOCKET_CLOSE_1000"]
    relay.host.script = one_turn
    assert (await relay.run(workflow_id=workflow_id)).code == 1000


async def test_a_session_that_does_not_stop_in_time_is_torn_down(
    relay: RelayStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus.edge.relay.bridge.STOP_S", 0.1)

    async def deaf(_: Turn) -> AsyncIterator[Action]:
        yield notice("RUNNING", "busy")
        await asyncio.Event().wait()

    relay.host.script = deaf
    async with relay.connect() as socket:
        await opened(relay, socket)
    await asyncio.wait_for(relay.host.turn.closed.wait(), 10)
