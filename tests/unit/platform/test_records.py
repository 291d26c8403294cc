"""Our checkpoints as readers of the instance API get them."""

import json
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest

from isthmus.core.checkpoint import StoredCheckpoint, Thread
from isthmus.platform import checkpoints
from isthmus.platform.records import record_of

LOG = [{"message_type": "user", "content": "hi", "message_id": "user-1"}]
USE = {"id": "c1", "name": "read_file", "arguments": '{"file_path":"a"}'}
STATE: dict[str, Any] = {
    "status": "input_required",
    "goal": "hi",
    "ui_chat_log": LOG,
    "branch:to:agent#model": None,
    "__start__": {"goal": "hi"},
    "conversation_history": {
        "agent": [
            {"role": "user", "text": "hi"},
            {"role": "assistant", "text": "", "tools": [USE], "tokens": 12},
            {"role": "tool", "id": "c1", "text": "no", "failed": True},
        ]
    },
}


def stored(state: dict[str, Any]) -> StoredCheckpoint:
    step = checkpoints.Step(Thread("7"), "02", "01", {"v": 4, "id": "02"}, {"step": 1}, state, ())
    return checkpoints.encode(step, None)[0]


def test_channels_carry_the_contracts_names() -> None:
    record = record_of(stored(STATE))
    assert (record.id, record.thread_ts, record.parent_ts, record.ns) == (0, "02", "01", "")
    assert json.loads(record.metadata) == {"step": 1}
    checkpoint = json.loads(record.checkpoint)
    assert checkpoint["id"] == "02"
    values = checkpoint["channel_values"]
    assert set(values) == {"status", "goal", "plan", "ui_chat_log", "conversation_history"}
    assert values["ui_chat_log"] == LOG
    assert values["plan"] == {"steps": []}
    assert values["conversation_history"]["agent"] == [
        {"type": "HumanMessage", "content": "hi"},
        {
            "type": "AIMessage",
            "content": "",
            "tool_calls": [
                {"type": "tool_call", "id": "c1", "name": "read_file", "args": {"file_path": "a"}}
            ],
            "usage_metadata": {"total_tokens": 12},
        },
        {"type": "ToolMessage", "content": "no", "tool_call_id": "c1", "status": "error"},
    ]


def test_pending_writes_are_readable() -> None:
    write = checkpoints.write(("task", "path"), -3, "__interrupt__", {"asks": 1})
    (shown,) = record_of(replace(stored(STATE), writes=(write,))).writes
    assert (shown.task, shown.idx, shown.channel, shown.write_type) == (
        *("task", -3, "__interrupt__", "json"),
    )
    assert json.loads(b64decode(shown.data)) == {"asks": 1}


def test_a_checkpoint_without_its_blobs_is_no_record() -> None:
    with pytest.raises(ValueError, match="misses blobs"):
        record_of(replace(stored(STATE), blobs=()))
