"""Frames <-> messages, field by field, against protobuf's own mapping."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.contract.contract_pb2 import (
    Action,
    Approval,
    ClientEvent,
    NewCheckpoint,
    ReadFile,
    RunMCPTool,
    StartWorkflowRequest,
    TokenBreakdown,
    WriteFile,
)
from isthmus.core.errors import Invalid
from isthmus.edge import wire

START: dict[str, Any] = {
    "workflowID": "7",
    "clientCapabilities": ["a", "b"],
    "mcpTools": [
        {
            "name": "t",
            "inputSchema": "{}",
            "icons": {"items": [{"url": "u", "mime_type": "m", "sizes": ["1"]}]},
            "annotations": {"read_only_hint": True},
            "trusted": False,
        }
    ],
    "additional_context": [{"category": "c", "id": "", "metadata": "{}"}],
    "approval": {"approval": {"remember_approval": False, "policy_ref": {"file": "f"}}},
    "flowConfig": {"version": "v1", "list": [1, 2.5, True, None, {"a": "b"}], "empty": {}},
    "streaming": True,
    "resume_checkpoint_ts": "1",
}


def theirs(message: Message) -> dict[str, Any]:
    """What protobuf's own printer makes of a message."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def test_a_start_request_is_read_as_protobuf_reads_it() -> None:
    text = json.dumps({"startRequest": START})
    ours = wire.decode(text, ClientEvent)
    assert ours == json_format.Parse(text, ClientEvent())
    assert json.loads(wire.encode(ours)) == theirs(ours)


def test_either_name_of_a_field_is_read() -> None:
    for name in ("mime_type", "mimeType"):
        tools = [{"icons": {"items": [{name: "m"}]}}]
        read = wire.decode(json.dumps({"mcpTools": tools}), StartWorkflowRequest)
        assert read.mcpTools[0].icons.items[0].mime_type == "m"


@settings(max_examples=40)
@given(st.text(), st.text(), st.integers(-(2**63), 2**63 - 1))
def test_any_action_goes_out_as_protobuf_prints_it(text: str, name: str, number: int) -> None:
    for action in (
        Action(requestID=name, runWriteFile=WriteFile(filepath=name, contents=text)),
        Action(runReadFile=ReadFile(filepath=text, offset=number)),
        Action(runMCPTool=RunMCPTool(name=name, args=text)),
        Action(
            newCheckpoint=NewCheckpoint(
                status=name,
                checkpoint=text,
                errors=[text],
                agent_context_usage={name: TokenBreakdown(total_tokens=1)},
                model_metadata_json=text,
            )
        ),
    ):
        assert json.loads(wire.encode(action)) == theirs(action)
        assert wire.decode(wire.encode(action), Action) == action


@pytest.mark.parametrize(
    ("source", "known"),
    [
        ("APPROVAL_SOURCE_AUTO_MODE", Approval.ApprovalSource.APPROVAL_SOURCE_AUTO_MODE),
        (1, Approval.ApprovalSource.APPROVAL_SOURCE_USER_EXPLICIT),
        ("APPROVAL_SOURCE_TO_COME", None),
    ],
)
def test_enums_come_as_name_or_number(source: object, known: int | None) -> None:
    text = json.dumps({"approval": {"approval_source": source}})
    approved = wire.decode(text, Approval).approval
    assert (approved.approval_source if approved.HasField("approval_source") else None) == known


@pytest.mark.parametrize(
    "frame",
    [
        '{"startRequest": []}',
        '{"startRequest": {"mcpTools": {}}}',
        '{"startRequest": {"mcpTools": ["x"]}}',
        '{"startRequest": {"mcpTools": [null]}}',
        '{"startRequest": {"clientCapabilities": [null]}}',
        '{"startRequest": {"streaming": 1}}',
        '{"startRequest": {"goal": "\\ud800"}}',
        '{"startRequest": {"flowConfig": []}}',
        '{"startRequest": {"approval": {"approval": {"approval_source": true}}}}',
        '{"actionResponse": {"httpResponse": {"headers": {"a": 1}}}}',
        '{"actionResponse": {"httpResponse": {"statusCode": 1.5}}}',
        '{"heartbeat": {"timestamp": "0x1"}}',
    ],
)
def test_a_wrong_type_is_invalid(frame: str) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        wire.decode(frame, ClientEvent)


@given(st.text() | st.binary())
def test_any_bytes_are_read_or_refused(frame: str | bytes) -> None:
    try:
        wire.decode(frame, ClientEvent)
    except Invalid:
        return


def test_the_deepest_flow_that_is_read_can_be_handed_on() -> None:
    def nested(depth: int) -> str:
        return '{"startRequest":{"flowConfig":' + '{"a":' * depth + "1" + "}" * depth + "}}"

    deepest = wire.decode(nested(wire.DEPTH_LIMIT - 2), ClientEvent)
    assert ClientEvent.FromString(deepest.SerializeToString()) == deepest
    with pytest.raises(Invalid, match="too deeply"):
        wire.decode(nested(wire.DEPTH_LIMIT - 1), ClientEvent)
