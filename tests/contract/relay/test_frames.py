"""Frames as clients send and get them. Source: instance contract, section 3.4."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isthmus.contract.contract_pb2 import (
    Action,
    FindFiles,
    Mkdir,
    ReadFile,
    RunCommandAction,
    RunShellCommand,
)
from tests.support.relay_stand import Frame, RelayStand, Turn, hear, notice, open_relay, plain, say

ACTIONS = (
    Action(requestID="1", findFiles=FindFiles(name_pattern="*.py")),
    Action(requestID="2", mkdir=Mkdir(directory_path="src")),
    Action(requestID="3", runReadFile=ReadFile(filepath="a", limit=9007199254740993)),
    Action(requestID="4", runCommand=RunCommandAction(program="ls", timeout=2)),
    Action(requestID="5", runShellCommand=RunShellCommand(command="ls")),
)


async def acting(turn: Turn) -> AsyncIterator[Action]:
    for action in ACTIONS:
        yield action
        await turn.answer()
    yield notice("FINISHED", "done", model_metadata_json='{"name": "m",  "x":1}')


async def test_i7_34_frames_have_the_contracts_names(relay: RelayStand) -> None:
    relay.host.script = acting
    heard = await relay.run(answer=plain)
    assert heard.frames[:5] == [
        {"requestID": "1", "findFiles": {"name_pattern": "*.py"}},
        {"requestID": "2", "mkdir": {"directory_path": "src"}},
        {"requestID": "3", "runReadFile": {"filepath": "a", "limit": "9007199254740993"}},
        {
            "requestID": "4",
            "runCommand": {"program": "ls", "arguments": [], "flags": [], "timeout": "2"},
        },
        {"requestID": "5", "runShellCommand": {"command": "ls"}},
    ]


async def test_i7_26_the_models_text_passes_unchanged(relay: RelayStand) -> None:
    relay.host.script = acting
    heard = await relay.run(answer=plain)
    last = heard.frames[-1]["newCheckpoint"]
    assert last["model_metadata_json"] == '{"name": "m",  "x":1}'
    assert last["goal"] == ""
    assert last["errors"] == []
    assert last["agent_context_usage"] == {}


async def listening(turn: Turn) -> AsyncIterator[Action]:
    yield notice("RUNNING", "go on")
    assert await turn.stopped() == "over"


async def test_i7_35_wide_integers_come_as_number_or_text(relay: RelayStand) -> None:
    relay.host.script = listening
    async with relay.connect() as socket:
        await say(socket, {"startRequest": {"workflowID": await relay.workflow()}})
        for value in (1760000000001, "1760000000002", 1.0):
            await say(socket, {"heartbeat": {"timestamp": value}})
        await say(socket, {"stopWorkflow": {"reason": "over"}})
        await hear(socket)
    beats = [e.heartbeat.timestamp for e in relay.host.turn.said if e.HasField("heartbeat")]
    assert beats == [1760000000001, 1760000000002, 1]


async def test_i7_36_unknown_fields_and_nulls_are_ignored(relay: RelayStand) -> None:
    relay.host.script = listening
    start: Frame = {
        "workflowID": await relay.workflow(),
        "goal": "hi",
        "useOrbit": True,
        "approval": {},
        "flowConfig": None,
        "additionalContext": [{"category": "unknown under this name"}],
        "additional_context": [{"category": "system_prompt", "content": None, "more": [1]}],
        "mcpTools": [{"name": "t", "inputSchema": "{}", "icons": None}],
    }
    async with relay.connect() as socket:
        await say(socket, {"startRequest": start, "extra": {"a": 1}})
        await say(socket, {"somethingNew": {}})
        await say(socket, {})
        await say(socket, {"stopWorkflow": {"reason": "over"}})
        heard = await hear(socket)
    assert heard.code == 1000
    begun = relay.host.turn.start
    assert begun.goal == "hi"
    assert begun.HasField("approval")
    assert not begun.approval.WhichOneof("user_decision")
    assert not begun.HasField("flowConfig")
    assert [context.category for context in begun.additional_context] == ["system_prompt"]
    assert not begun.additional_context[0].HasField("content")
    assert [event.WhichOneof("response") for event in relay.host.turn.said[1:]] == ["stopWorkflow"]


BROKEN = (
    "{",
    "[]",
    '"text"',
    "",
    '{"heartbeat":{"timestamp":"12x"}}',
    '{"heartbeat":{"timestamp":9223372036854775808}}',
    '{"stopWorkflow":{"reason":7}}',
    '{"stopWorkflow":{},"heartbeat":{}}',
    '{"actionResponse":{"httpResponse":{"statusCode":4294967296}}}',
    b"\xff\xfe",
    '{"a":' * 5000 + "1" + "}" * 5000,
    '{"stopWorkflow":' + '{"a":' * 40 + "1" + "}" * 41,
)


@pytest.mark.parametrize("frame", BROKEN, ids=range(len(BROKEN)))
async def test_i7_36_a_broken_frame_ends_the_session(relay: RelayStand, frame: str | bytes) -> None:
    relay.host.script = listening
    async with relay.connect() as socket:
        await say(socket, {"startRequest": {"workflowID": await relay.workflow()}})
        await socket.recv()
        await socket.send(frame)
        heard = await hear(socket)
    assert heard.code == 4400
    assert heard.reason.startswith("The frame cannot be read")
    await asyncio.wait_for(relay.host.turn.closed.wait(), 10)


async def test_i7_37_text_and_binary_frames_are_the_same(relay: RelayStand) -> None:
    for binary in (False, True):
        frame = json.dumps({"startRequest": {"workflowID": await relay.workflow()}})
        async with relay.connect() as socket:
            await socket.send(frame.encode() if binary else frame)
            assert (await hear(socket)).statuses[-1] == "INPUT_REQUIRED"


async def test_a_frame_over_the_limit_closes_with_1009(tmp_path: Path) -> None:
    async with open_relay(tmp_path, message_limit_bytes=65_536) as relay:
        relay.host.script = listening
        async with relay.connect() as socket:
            await say(socket, {"startRequest": {"workflowID": await relay.workflow()}})
            await socket.recv()
            await socket.send("x" * 65_537)
            assert (await hear(socket)).code == 1009
        await asyncio.wait_for(relay.host.turn.closed.wait(), 10)


@pytest.mark.parametrize(
    "frame",
    [{"heartbeat": {"timestamp": 1}}, {"stopWorkflow": {}}, {}, {"startRequest": {}}],
    ids=["heartbeat", "stop", "nothing", "no workflow"],
)
async def test_a_socket_that_begins_with_anything_else_ends_quietly(
    relay: RelayStand, frame: object
) -> None:
    async with relay.connect() as socket:
        await say(socket, frame)
        heard = await hear(socket)
    assert (heard.code, heard.frames) == (1000, [])
    assert not relay.host.turns
