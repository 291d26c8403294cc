"""Entries of `ui_chat_log`: what a person sees of a session. Pure.

Source: agent-platform contract, sections 5.5 and 8.8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import NAMESPACE_OID, uuid5

from isthmus.platform.start import Context
from isthmus.platform.truncate import shown

Entry: TypeAlias = dict[str, object]
"""A JSON object; never changed once made, so that stores and wires may compare by identity."""


@dataclass(frozen=True, slots=True)
class Called:
    """A tool call as a person sees it: its id, the tool, its arguments, and one line about it."""

    id: str
    name: str
    args: Mapping[str, object]
    title: str


def user(text: str, message_id: str, at: str, contexts: Sequence[Context] = ()) -> Entry:
    """The user's words."""
    attached = [
        {
            "category": context.category,
            "id": context.id or None,
            "content": shown(context.content),
            "metadata": context.metadata,
        }
        for context in contexts
    ]
    return _entry("user", text, message_id, at) | {"additional_context": attached or None}


def agent(text: str, message_id: str, at: str, component: str) -> Entry:
    """The model's words."""
    return _entry("agent", text, message_id, at, status="success") | {"component_name": component}


def model_gone(gone: str, serving: str, at: str) -> Entry:
    """Another model than the session's own answers; said once a model."""
    text = f"The model {gone!r} is not served here any more: {serving!r} answers in its place."
    entry = _entry("agent", text, f"model-{uuid5(NAMESPACE_OID, gone)}", at, status="success")
    return entry | {"message_sub_type": "warning"}


def compacted(text: str, message_id: str, at: str, component: str) -> Entry:
    """The older part of a conversation gave way to a summary."""
    entry = _entry("tool", text, message_id, at, status="success")
    return entry | {"message_sub_type": "compaction", "component_name": component}


def error(text: str, message_id: str, at: str) -> Entry:
    """Why the session failed."""
    return _entry("agent", text, message_id, at, status="failure")


def request(call: Called, at: str, suggested: Sequence[str] = (), *, again: bool = False) -> Entry:
    """Asks the user to agree to a tool call; `again`: it may have run before a server was lost."""
    info: Entry = {"name": call.name, "args": dict(call.args)}
    if suggested:
        info["suggested_patterns"] = list(suggested)
    text = f"{call.title}: may the tool {call.name} run?"
    if again:
        text = (
            f"{call.title}: the server was lost while {call.name} ran, and whether it was done is"
            " unknown. May it run again?"
        )
    return _entry("request", text, call.id, at, status="success") | {"tool_info": info}


def question(text: str, message_id: str, at: str, asked_by: tuple[str, str]) -> Entry:
    """A flow asks the user: `asked_by` is its component, and approval or input."""
    component, kind = asked_by
    entry = _entry("request", text, message_id, at, status="success")
    return entry | {"message_sub_type": kind, "component_name": component}


def begun(goal: str, message_id: str, at: str) -> Entry:
    """A flow in the background begins."""
    return _entry("tool", f"Starting Flow: {goal}", message_id, at, status="success")


def tool(call: Called, response: str, at: str, component: str, status: str) -> Entry:
    """A tool call that ended; `response` is already redacted and cut."""
    info: Entry = {"name": call.name, "args": dict(call.args), "tool_response": response}
    return _entry("tool", call.title, call.id, at, status=status) | {
        "message_sub_type": call.name,
        "tool_info": info,
        "component_name": component,
    }


def _entry(kind: str, text: str, message_id: str, at: str, status: str | None = None) -> Entry:
    return {
        "message_type": kind,
        "message_sub_type": None,
        "content": text,
        "timestamp": at,
        "status": status,
        "correlation_id": None,
        "tool_info": None,
        "additional_context": None,
        "message_id": message_id,
    }


def merged(log: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
    """The log with `new` in it: an entry with a known `message_id` replaces the older one."""
    result = list(log)
    places = {entry["message_id"]: place for place, entry in enumerate(result)}
    for entry in new:
        place = places.get(entry["message_id"])
        if place is None:
            places[entry["message_id"]] = len(result)
            result.append(entry)
        else:
            result[place] = entry
    return result
