"""A turn over a socket, as clients see it. Source: instance contract, sections 3.5 to 3.13."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isthmus.contract.contract_pb2 import Action, RunShellCommand, TrackLlmCallForSelfHosted
from isthmus.core.errors import Conflict
from tests.support.relay_stand import (
    RelayStand,
    Turn,
    hear,
    notice,
    one_turn,
    open_relay,
    plain,
    say,
)


async def test_i7_48_a_turn_ends_with_a_notice_of_its_own_and_the_socket(relay: RelayStand) -> None:
    heard = await relay.run({"goal": "hi"})
    assert heard.statuses == ["RUNNING", "INPUT_REQUIRED"]
    assert (heard.code, heard.reason) == (1000, "")
    text, end = heard.at_s
    assert end - text >= 0.02
    assert 0.05 <= heard.closed_at_s - end <= 1.0


@pytest.mark.parametrize("status", ["INPUT_REQUIRED", "FINISHED", "TOOL_CALL_APPROVAL_REQUIRED"])
async def test_i7_48_text_that_comes_with_the_end_is_shown_before_it(
    relay: RelayStand, status: str
) -> None:
    async def script(_: Turn) -> AsyncIterator[Action]:
        yield notice("RUNNING", "Hel")
        yield notice(status, "Hello")

    relay.host.script = script
    heard = await relay.run()
    assert heard.statuses == ["RUNNING", "RUNNING", status]
    assert [heard.log(n)[0]["content"] for n in range(3)] == ["Hel", "Hello", "Hello"]
    assert heard.at_s[2] - heard.at_s[1] >= 0.02
    assert len({frame["requestID"] for frame in heard.frames}) >= 1


async def test_trace_2_a_tool_turn(relay: RelayStand) -> None:
    async def script(turn: Turn) -> AsyncIterator[Action]:
        yield Action(requestID="r1", runShellCommand=RunShellCommand(command="ls"))
        answer = await turn.answer()
        yield notice("RUNNING", answer.plainTextResponse.response)
        yield notice("INPUT_REQUIRED", answer.plainTextResponse.response)

    relay.host.script = script
    heard = await relay.run(answer=lambda frame: plain(frame, "a.py"))
    assert heard.statuses == ["RUNNING", "INPUT_REQUIRED"]
    assert heard.log()[0]["content"] == "a.py"
    assert relay.host.answers[0].requestID == "r1"


async def test_the_metering_of_models_elsewhere_is_answered_here(relay: RelayStand) -> None:
    async def script(turn: Turn) -> AsyncIterator[Action]:
        yield Action(requestID="t", trackLlmCallForSelfHosted=TrackLlmCallForSelfHosted())
        answer = await turn.answer()
        assert answer.requestID == "t"
        assert answer.WhichOneof("response_type") == "plainTextResponse"
        yield notice("FINISHED")

    relay.host.script = script
    heard = await relay.run()
    assert heard.statuses[-1] == "FINISHED"


async def test_i7_41_capabilities_are_those_that_all_sides_know(relay: RelayStand) -> None:
    told = ["shell_command", "made_up", "incremental_streaming", "tool_call_approval"]
    told += ["shell_command", "advanced_search", "auto_mode"]
    await relay.run({"clientCapabilities": told})
    assert list(relay.host.turn.start.clientCapabilities) == [
        "shell_command",
        "incremental_streaming",
        "auto_mode",
        "tool_call_approval",
        "tool_call_pattern_approval",
    ]
    await relay.people.flag("incremental_checkpoints", default=True)
    await relay.run()
    assert list(relay.host.turn.start.clientCapabilities) == [
        "tool_call_approval",
        "tool_call_pattern_approval",
        "incremental_checkpoints",
    ]


async def test_i7_41_without_session_approval_the_server_has_less(tmp_path: Path) -> None:
    settings = {"tool_approval_for_session": False}
    async with open_relay(tmp_path, instance=settings) as relay:
        await relay.run({"clientCapabilities": ["tool_call_approval"]})
        assert list(relay.host.turn.start.clientCapabilities) == []


async def until_stopped(turn: Turn) -> AsyncIterator[Action]:
    yield notice("RUNNING", "busy")
    await turn.stopped()


async def test_i7_42_one_socket_a_workflow(relay: RelayStand) -> None:
    relay.host.script = until_stopped
    workflow_id = await relay.workflow()
    start = {"startRequest": {"workflowID": workflow_id}}
    async with relay.connect() as first:
        await say(first, start)
        await first.recv()
        second = await relay.run(workflow_id=workflow_id)
        assert (second.code, second.reason) == (1013, "Failed to acquire lock on workflow")
        assert second.frames == []
        other = await relay.workflow()
        async with relay.connect() as elsewhere:
            await say(elsewhere, {"startRequest": {"workflowID": other}})
            await elsewhere.recv()
        await say(first, {"stopWorkflow": {"reason": "USER_ACTION_TRIGGERED_STOP"}})
        assert (await hear(first)).code == 1000
    relay.host.script = one_turn
    assert (await relay.run(workflow_id=workflow_id)).code == 1000
    assert len(relay.host.turns) == 3


async def test_i7_42_the_lock_is_free_before_the_socket_is_closed(relay: RelayStand) -> None:
    workflow_id = await relay.workflow()
    async with relay.connect() as socket:
        await say(socket, {"startRequest": {"workflowID": workflow_id}})
        while b"INPUT_REQUIRED" not in await socket.recv(decode=False):
            pass
        await relay.host.turn.closed.wait()
        # The client hurries: its next socket comes before it has seen the close of this one.
        assert (await relay.run(workflow_id=workflow_id)).code == 1000


async def test_the_lock_can_be_off_and_for_browsers_alone(tmp_path: Path) -> None:
    async with open_relay(tmp_path, lock=False) as relay:
        await _twice(relay, "", locked=False)


async def test_the_flag_locks_browsers_alone(relay: RelayStand) -> None:
    await relay.people.flag("lock_workflows_for_web_only", default=True)
    await _twice(relay, "", locked=False)
    await _twice(relay, "client_type=browser", locked=True)


async def _twice(relay: RelayStand, query: str, *, locked: bool) -> None:
    relay.host.script = until_stopped
    workflow_id = await relay.workflow()
    async with relay.connect(query) as first, relay.connect(query) as second:
        for socket in (first, second):
            await say(socket, {"startRequest": {"workflowID": workflow_id}})
            if socket is first or not locked:
                await socket.recv()
        if locked:
            assert (await hear(second)).code == 1013


async def test_anothers_workflow_cannot_be_started(relay: RelayStand) -> None:
    foreign = await relay.workflow(relay.people.bob)
    for workflow_id in (foreign, "987654321", "x", "../1"):
        heard = await relay.run(workflow_id=workflow_id)
        assert heard.code == 4400
        assert heard.reason.startswith("Invalid workflow ID")
    assert not relay.host.turns
    assert (await relay.run(workflow_id=foreign, who=relay.people.bob)).code == 1000


async def test_a_second_start_is_forwarded_as_clients_may_have_it(relay: RelayStand) -> None:
    relay.host.script = until_stopped
    workflow_id = await relay.workflow()
    async with relay.connect() as socket:
        await say(socket, {"startRequest": {"workflowID": workflow_id}})
        await socket.recv()
        capable = {"workflowID": workflow_id, "clientCapabilities": ["made_up"]}
        await say(socket, {"startRequest": capable})
        await say(socket, {"stopWorkflow": {}})
        await hear(socket)
    again = relay.host.turn.said[1].startRequest
    assert "made_up" not in again.clientCapabilities


async def test_a_session_that_is_refused_is_explained(relay: RelayStand) -> None:
    async def script(_: Turn) -> AsyncIterator[Action]:
        raise Conflict("Workflow 7 cannot be continued.")
        yield Action()

    relay.host.script = script
    heard = await relay.run()
    assert (heard.code, heard.statuses) == (1000, ["FAILED"])
    (entry,) = heard.log()
    assert entry["message_type"] == "agent"
    assert entry["content"] == "Workflow 7 cannot be continued."
    assert entry["status"] == "failure"
    await asyncio.sleep(0)
