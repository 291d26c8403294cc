"""Addresses in a flow's state that nothing ever writes. Pure.

Source: agent-platform contract, sections 7.3 (outputs) and 7.4.
"""

from collections.abc import Iterator
from typing import Final

from isthmus.platform.address import Input
from isthmus.platform.flow import Agent, Component, FixedStep, Flow, OneOff, Question
from isthmus.platform.inputs import RAW, SKILLS

GIVEN: Final = frozenset(
    {
        "goal",
        "workflow_id",
        "project_id",
        "project_http_url_to_repo",
        "project_default_branch",
        "namespace",
        "current_date",
        "session_url",
        "gitlab_instance_type",
        "gitlab_instance_url",
        "gitlab_instance_version",
        "inputs",
    }
)
"""What the engine tells every flow of its session."""
_ALWAYS: Final = RAW | {SKILLS, "cancelled_turn"}


def unwritten(flow: Flow) -> Iterator[str]:
    """One line for each address that no component writes and the engine does not give."""
    parts = {part.name: part for part in flow.components}
    for part in flow.components:
        for one in inputs_of(part):
            if why := _why(one, flow, parts):
                yield f"{part.name}.inputs: {why}"
        shape = part.shape if isinstance(part, Agent) else None
        for one in (shape.tracked or ()) if shape else ():
            if why := _why(one, flow, parts):
                yield f"{part.name}.response_schema_tracking_context: {why}"
    for source, route in flow.routes.items():
        if route.by is not None and (why := _why(route.by, flow, parts)):
            yield f"routers, from {source}: {why}"


def inputs_of(part: Component) -> tuple[Input, ...]:
    """What a component reads of the state."""
    return part.agent.inputs if isinstance(part, OneOff) else part.inputs


def _why(one: Input, flow: Flow, parts: dict[str, Component]) -> str:
    """Why nothing stands at an address; empty when something may."""
    if one.literal or one.target != "context" or not one.path:
        return ""
    at, (first, *rest) = f"context:{'.'.join(one.path)}", one.path
    if first == "inputs":
        known = _ALWAYS | {wanted.category for wanted in flow.wanted}
        missing = bool(rest) and rest[0] not in known
        return f"{at}: flow.inputs has no category {rest[0]!r}" if missing else ""
    if first in GIVEN:
        return f"{at}: {first} has no parts" if rest else ""
    if first not in parts:
        return f"{at}: there is no component {first!r}"
    if rest and rest[0] not in _outputs(parts[first]) and first not in flow.supervisors:
        return f"{at}: {first} has no output {rest[0]!r}"
    return _field(at, parts[first], tuple(rest))


def _field(at: str, part: Component, rest: tuple[str, ...]) -> str:
    """A field of a structured answer is one of its schema's."""
    if not isinstance(part, Agent) or len(rest) < 2 or rest[0] != "final_answer":
        return ""
    if part.shape is None:
        return f"{at}: the answer of {part.name} is a text"
    known = part.shape.definition.get("properties")
    if isinstance(known, dict) and rest[1] not in known:
        return f"{at}: the schema {part.shape.id} has no field {rest[1]!r}"
    return ""


def _outputs(part: Component) -> frozenset[str]:
    match part:
        case Agent():
            return frozenset({"final_answer", "cycle_count", "last_todo_write"})
        case OneOff():
            return frozenset(
                {"tool_calls", "tool_responses", "parsed_responses", "execution_result"}
            )
        case FixedStep():
            return frozenset({"tool_responses", "error", "execution_result"})
        case Question():
            return frozenset({"approval"})
