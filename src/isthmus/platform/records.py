"""Our engine's checkpoints as the contract's: what readers of the instance API get. Pure.

Source: agent-platform contract, sections 5.4 and 5.8.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from isthmus.core.checkpoint import StoredCheckpoint
from isthmus.core.records import Record, RecordWrite
from isthmus.platform import checkpoints
from isthmus.platform.history import Stored, StoredUse

OWN = ("__", "branch:")
"""What names of channels begin with that are the engine's own."""


def record_of(stored: StoredCheckpoint) -> Record:
    """The record; its id is 0. `stored` holds its blobs.

    Raises ValueError when blobs are missing or damaged, TooLarge when one is too large.
    """
    header = cast("dict[str, Any]", checkpoints.loads(stored.header))
    checkpoint = header | {"channel_values": _channels(checkpoints.values(stored))}
    return Record(
        id=0,
        thread_ts=stored.checkpoint_id,
        parent_ts=stored.parent_id,
        ns=stored.thread.ns,
        current_thread=0,
        metadata=stored.metadata,
        checkpoint=checkpoints.dumps(checkpoint),
        writes=tuple(
            RecordWrite(
                task=write.task_id,
                idx=write.index,
                channel=write.channel,
                write_type="json",
                data=b64encode(checkpoints.dumps(checkpoints.unpack(write.data))).decode(),
            )
            for write in stored.writes
        ),
    )


def _channels(values: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in values.items() if not name.startswith(OWN)}
    histories: Mapping[str, Sequence[Stored]] = shown.get("conversation_history") or {}
    return shown | {
        "plan": shown.get("plan") or {"steps": []},
        "ui_chat_log": shown.get("ui_chat_log") or [],
        "conversation_history": {
            name: [_message(message) for message in history] for name, history in histories.items()
        },
    }


def _message(message: Stored) -> dict[str, object]:
    match message["role"]:
        case "user":
            return {"type": "HumanMessage", "content": message["text"]}
        case "tool":
            return {
                "type": "ToolMessage",
                "content": message["text"],
                "tool_call_id": message.get("id", ""),
                "status": "error" if message.get("failed") else "success",
            }
        case _:
            said: dict[str, object] = {"type": "AIMessage", "content": message["text"]}
            said["tool_calls"] = [_call(use) for use in message.get("tools", ())]
            if tokens := message.get("tokens"):
                said["usage_metadata"] = {"total_tokens": tokens}
            return said


def _call(use: StoredUse) -> dict[str, object]:
    args = msgspec.json.decode(use["arguments"])
    return {"type": "tool_call", "id": use["id"], "name": use["name"], "args": args}
