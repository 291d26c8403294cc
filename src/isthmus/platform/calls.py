"""A model's tool call, read: which tool, which arguments, and whether it may run. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from isthmus.platform.entries import Called
from isthmus.platform.history import StoredUse
from isthmus.platform.policy import Allow, Ask, Deny, Policy, Verdict
from isthmus.platform.tool import Tool

MAX_ARGUMENTS_CHARS = 2 * 1024 * 1024
SPOILT = "Not run: another call of the same answer cannot be made. Ask again without that one."
_NAME = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Call:
    """A call. `tool` and `args` are None when the verdict is Deny for want of them."""

    id: str
    verdict: Verdict
    called: Called
    tool: Tool | None = None
    args: object = None


def read(use: StoredUse, tools: Mapping[str, Tool], policy: Policy) -> Call:
    """What to make of a call."""
    name = use["name"]
    tool = tools.get(name)
    raw = _object(use["arguments"])
    if tool is None:
        return _denied(use, raw or {}, f"There is no tool named {name!r}.")
    if raw is None or use.get("fault"):
        return _denied(use, raw or {}, use.get("fault") or "The arguments are not a JSON object.")
    raw |= tool.fixed
    try:
        # Models and states of flows write numbers as texts; what a text says is taken.
        args: object = msgspec.convert(raw, tool.args, strict=False)
    except msgspec.ValidationError as error:
        return _denied(use, raw, f"The arguments do not fit: {error}")
    called = Called(use["id"], name, raw, tool.title(args)[:500])
    if use.get("spoilt"):
        return Call(use["id"], Deny(SPOILT), called, tool, args)
    return Call(use["id"], policy.verdict(tool, args, _text(raw, use, tool)), called, tool, args)


def judged(
    uses: list[StoredUse], tools: Mapping[str, Tool], policy: Policy
) -> tuple[list[StoredUse], list[Call]]:
    """The calls of an answer as they are kept, and those of them that need the user's word.

    Where one cannot be made, none is: they may build on it. Judged once, when they come: what has
    begun goes on, whatever tools a later stream has. Source: agent-platform contract, section 7.3.
    """
    found = [read(use, tools, policy) for use in uses]
    if all(call.tool is not None for call in found):
        return uses, [call for call in found if isinstance(call.verdict, Ask)]
    return [{**use, "spoilt": True} for use in uses], []


def refusal(call: Call) -> str:
    """Why the call may not run; empty when it may."""
    match call.verdict:
        case Deny(reason):
            return reason
        case Allow() | Ask():
            return ""


def stored_use(use_id: str, name: str, arguments: str) -> StoredUse:
    """A call as it is kept: arguments that are no JSON object are replaced and marked.

    Every provider gets the history again, and some refuse a call that does not parse.
    """
    name = _NAME.sub("_", name)[:128] or "_"
    if len(arguments) > MAX_ARGUMENTS_CHARS:
        fault = "The arguments are too long."
    elif _object(arguments or "{}") is None:
        fault = "The arguments are not a JSON object."
    else:
        return {"id": use_id, "name": name, "arguments": arguments or "{}"}
    return {"id": use_id, "name": name, "arguments": "{}", "fault": fault}


def _object(text: str) -> dict[str, object] | None:
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _text(raw: Mapping[str, object], use: StoredUse, tool: Tool) -> str:
    return msgspec.json.encode(raw).decode() if tool.fixed else use["arguments"]


def _denied(use: StoredUse, args: Mapping[str, object], reason: str) -> Call:
    called = Called(use["id"], use["name"], args, f"Call {use['name']}")
    return Call(use["id"], Deny(reason), called)
