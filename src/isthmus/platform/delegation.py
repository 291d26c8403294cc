"""The tool by which an agent hands work to another one, and what comes back. Pure.

Source: agent-platform contract, section 7.3 (supervisor, sequential and parallel).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec

from isthmus.core.messages import ToolSpec
from isthmus.platform.flow import DELEGATE, Agent, Delegation
from isthmus.platform.flow_schema import misfits
from isthmus.platform.history import StoredUse
from isthmus.platform.sanitise import encoded

FAULTS: Final = 10
ALONE: Final = "A delegation must be the only call: none of these calls was run."
UNMIXED: Final = "Delegations go with no other calls: none of these calls was run."
FLAG: Final = "dap_parallel_subagents"
"""The instance's switch for several agents at once."""


@dataclass(frozen=True, slots=True)
class Order:
    """Work for an agent, in a conversation of this number. `new`: it begins with this.

    `about` is a word on it for who watches.
    """

    subagent: str
    subsession: int
    prompt: str
    new: bool
    about: str


def spec(delegation: Delegation, agents: Mapping[str, Agent], *, parallel: bool) -> ToolSpec:
    """The tool as a model sees it. `parallel`: the instance lets several agents work at once."""
    known = "\n".join(f"- {name}: {agents[name].description.strip()}" for name in delegation.to)
    text = "Hand a part of the work to another agent, and wait for its answer."
    if parallel and delegation.parallel:
        text += " Several calls in one message are worked on at the same time."
    return ToolSpec(DELEGATE, f"{text} Agents:\n{known}", _schema(delegation, parallel=parallel))


def read(
    uses: Sequence[StoredUse], delegation: Delegation, begun: Mapping[str, int], count: int
) -> Order | str:
    """What to do, or why not. `begun`: conversations so far by agent; `count`: delegations."""
    if len(uses) > 1:
        return ALONE
    args = _arguments(uses[0], _schema(delegation, parallel=False))
    if isinstance(args, str):
        return args
    if why := _too_many(1, delegation, count):
        return why
    name, wanted = args["subagent_name"], args.get("subsession_id")
    last = begun.get(name, 0)
    if wanted is None:
        return Order(name, last + 1, args["prompt"], new=True, about=args["prompt"])
    if not 1 <= wanted <= last:
        return f"{name} has no subsession {wanted}."
    return Order(name, int(wanted), args["prompt"], new=False, about=args["prompt"])


def read_all(
    uses: Sequence[StoredUse], delegation: Delegation, begun: Mapping[str, int], count: int
) -> list[Order] | str:
    """What to do at once, one conversation for each call, or why nothing of it is done."""
    if any(use["name"] != DELEGATE for use in uses):
        return UNMIXED
    if why := _too_many(len(uses), delegation, count):
        return why
    schema, last = _schema(delegation, parallel=True), dict(begun)
    orders: list[Order] = []
    for use in uses:
        args = _arguments(use, schema)
        if isinstance(args, str):
            return args
        name = args["subagent_name"]
        last[name] = last.get(name, 0) + 1
        orders.append(Order(name, last[name], args["prompt"], True, args["description"]))
    return orders


def _too_many(more: int, delegation: Delegation, count: int) -> str:
    if delegation.most is None or count + more <= delegation.most:
        return ""
    left = delegation.most - count
    if left > 0:
        return f"Of {delegation.most} delegations {left} are left: none of these calls was run."
    return f"No delegations are left: there were {count}. Go on without."


def _arguments(use: StoredUse, schema: Mapping[str, Any]) -> dict[str, Any] | str:
    if fault := use.get("fault"):
        return fault
    args: dict[str, Any] = msgspec.json.decode(use["arguments"], type=dict[str, Any])
    wrong = list(islice(misfits(args, schema), FAULTS))
    return "The arguments do not fit:\n" + "\n".join(wrong) if wrong else args


def wrapped(subagent: str, subsession: int, text: str) -> str:
    """What came back, as the one who asked reads it; no answer can end its element."""
    head = f'<delegation_result subagent="{subagent}" subsession_id="{subsession}">'
    return f"{head}\n{encoded(text)}\n</delegation_result>"


def _schema(delegation: Delegation, *, parallel: bool) -> dict[str, Any]:
    several = parallel and delegation.parallel
    second = (
        ("description", {"type": "string", "minLength": 1, "description": "A few words on it."})
        if several
        else (
            "subsession_id",
            {
                "type": "integer",
                "description": "Goes on with an earlier conversation; without it a new one begins.",
            },
        )
    )
    return {
        "type": "object",
        "properties": {
            "subagent_name": {"type": "string", "enum": list(delegation.to)},
            second[0]: second[1],
            "prompt": {
                "type": "string",
                "minLength": 1,
                "description": "The whole task: the agent knows nothing of this conversation.",
            },
        },
        "required": ["subagent_name", *(["description"] if several else []), "prompt"],
        "additionalProperties": False,
    }
