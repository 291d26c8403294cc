"""Fields of a workflow's events: its checkpoints, and the messages in them.

Source: instance contract, section 4.5; agent-platform contract, section 5.5.
"""

import asyncio
import zlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from isthmus.core.records import Record
from isthmus.core.workflow import Workflow
from isthmus.edge.graphql.inquiry import Ask, Resolver


@dataclass(frozen=True, slots=True)
class Event:
    """A checkpoint, and the workflow that it belongs to."""

    workflow: Workflow
    record: Record


def event(workflow: Workflow, record: Record | None) -> Event | None:
    """None where there is no checkpoint."""
    return None if record is None else Event(workflow, record)


_TEXTS: Final[Mapping[str, str]] = {
    "content": "content",
    "messageType": "message_type",
    "messageSubType": "message_sub_type",
    "status": "status",
    "timestamp": "timestamp",
    "correlationId": "correlation_id",
    "messageId": "message_id",
    "componentName": "component_name",
    "subsessionId": "subsession_id",
}
"""Field of a message -> key of the entry; these hold a text or nothing."""
_ROLES: Final[Mapping[object, str]] = {"agent": "assistant", "request": "assistant"}


class _Channels(msgspec.Struct, frozen=True):
    ui_chat_log: list[dict[str, Any]] | None = None


class _State(msgspec.Struct, frozen=True):
    channel_values: _Channels = _Channels()


def _text(json_text: bytes, ask: Ask) -> str:
    ask.inquiry.charge(len(json_text))
    return json_text.decode()


async def _compressed(event: Event, ask: Ask) -> str:
    packed = await asyncio.to_thread(_packed, event.record.checkpoint)
    ask.inquiry.charge(len(packed))
    return packed


def _packed(checkpoint: bytes) -> str:
    return b64encode(zlib.compress(checkpoint, 1)).decode()


async def _messages(event: Event, ask: Ask) -> list[dict[str, object]]:
    record = event.record
    entries = await asyncio.to_thread(_entries, record.checkpoint)
    messages = [_message(entry, record) for entry in entries]
    ask.inquiry.charge(len(record.checkpoint))
    return messages


def _entries(checkpoint: bytes) -> list[dict[str, Any]]:
    """The chat log; nothing where a service stored something else under its name."""
    try:
        state = msgspec.json.decode(checkpoint, type=_State)
    except (msgspec.DecodeError, RecursionError):
        return []
    return state.channel_values.ui_chat_log or []


def _message(entry: Mapping[str, Any], record: Record) -> dict[str, object]:
    texts = {name: _string(entry.get(key)) for name, key in _TEXTS.items()}
    kind = texts["messageType"]
    return {
        **texts,
        "toolInfo": _encoded(entry.get("tool_info")),
        "additionalContext": entry.get("additional_context"),
        "role": _string(entry.get("role")) or _ROLES.get(kind, kind),
        "threadTs": record.thread_ts,
        "parentTs": record.parent_ts,
    }


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else _encoded(value)


def _encoded(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


EVENT: Final[Mapping[str, Resolver[Event]]] = {
    "threadTs": lambda event, _: event.record.thread_ts,
    "parentTs": lambda event, _: event.record.parent_ts,
    "metadata": lambda event, ask: _text(event.record.metadata, ask),
    "checkpoint": lambda event, ask: _text(event.record.checkpoint, ask),
    "compressedCheckpoint": _compressed,
    "errors": lambda _event, _: (),
    "workflowStatus": lambda event, _: event.workflow.status.upper(),
    "workflowGoal": lambda event, _: event.workflow.goal,
    "workflowDefinition": lambda event, _: event.workflow.definition,
    "duoMessages": _messages,
}
