"""The tool by which an agent hands work to another one, and what comes back. Pure.

Source: agent-platform contract, section 7.3 (supervisor, sequential).
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


@dataclass(frozen=True, slots=True)
class Order:
    """Work for an agent, in a conversation of this number. `new`: it begins with this."""

    subagent: str
    subsession: int
    prompt: str
    new: bool


def spec(delegation: Delegation, agents: Mapping[str, Agent]) -> ToolSpec:
    """The tool as a model sees it."""
    known = "\n".join(f"- {name}: {agents[name].description.strip()}" for name in delegation.to)
    text = f"Hand a part of the work to another agent, and wait for its answer. Agents:\n{known}"
    return ToolSpec(DELEGATE, text, _schema(delegation))


def read(
    uses: Sequence[StoredUse], delegation: Delegation, begun: Mapping[str, int], count: int
) -> Order | str:
    """What to do, or why not. `begun`: conversations so far by agent; `count`: delegations."""
    args = _arguments(uses, delegation)
    if isinstance(args, str):
        return args
    if delegation.most is not None and count >= delegation.most:
        return f"No delegations are left: there were {count}. Go on without."
    name, wanted = args["subagent_name"], args.get("subsession_id")
    last = begun.get(name, 0)
    if wanted is None:
        return Order(name, last + 1, args["prompt"], new=True)
    if not 1 <= wanted <= last:
        return f"{name} has no subsession {wanted}."
    return Order(name, int(wanted), args["prompt"], new=False)


def _arguments(uses: Sequence[StoredUse], delegation: Delegation) -> dict[str, Any] | str:
    if len(uses) > 1:
        return ALONE
    (use,) = uses
    if fault := use.get("fault"):
        return fault
    args: dict[str, Any] = msgspec.json.decode(use["arguments"], type=dict[str, Any])
    wrong = list(islice(misfits(args, _schema(delegation)), FAULTS))
    return "The arguments do not fit:\n" + "\n".join(wrong) if wrong else args


def wrapped(subagent: str, subsession: int, text: str) -> str:
    """What came back, as the one who asked reads it; no answer can end its element."""
    head = f'<delegation_result subagent="{subagent}" subsession_id="{subsession}">'
    return f"{head}\n{encoded(text)}\n</delegation_result>"


def _schema(delegation: Delegation) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "subagent_name": {"type": "string", "enum": list(delegation.to)},
            "subsession_id": {
                "type": "integer",
                "description": "Goes on with an earlier conversation; without it a new one begins.",
            },
            "prompt": {
                "type": "string",
                "minLength": 1,
                "description": "The whole task: the agent knows nothing of this conversation.",
            },
        },
        "required": ["subagent_name", "prompt"],
        "additionalProperties": False,
    }
