"""What the client attached to a turn, as the inputs of a flow. Pure.

Source: agent-platform contract, section 7.9.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from isthmus.core.errors import Conflict, Invalid
from isthmus.platform.flow_schema import TYPES
from isthmus.platform.start import Context
from isthmus.prompts import semver

RAW: Final = frozenset(
    {"os_information", "shell_information", "agent_user_environment", "user_rule"}
)
"""Categories whose content is put in as it came."""
SKILLS_ID: Final = "agent-skills-instructions"
SKILLS: Final = "workspace_agent_skills"


@dataclass(frozen=True, slots=True)
class Declared:
    """An input that a flow asks for: its fields' JSON types, and those that may be missing."""

    category: str
    fields: Mapping[str, str]
    optional: frozenset[str] = frozenset()
    versions: str = "^1.0.0"


@dataclass(slots=True)
class _Found:
    values: dict[str, object] = field(default_factory=dict[str, object])

    def join(self, name: str, text: str) -> None:
        known = self.values.get(name)
        self.values[name] = f"{known}\n{text}" if isinstance(known, str) else text


def inputs_of(contexts: Sequence[Context], declared: Sequence[Declared]) -> dict[str, object]:
    """The inputs by category; what nobody asks for is left out.

    Raises Invalid when one does not fit its schema, Conflict when no version that came is one that
    the flow takes.
    """
    found = _Found()
    for context in contexts:
        if context.id == SKILLS_ID:
            found.join(SKILLS, context.content)
        elif context.category in RAW:
            found.join(context.category, context.content)
    for wanted in declared:
        came = [context for context in contexts if context.category == wanted.category]
        if came:
            found.values[wanted.category] = _checked(wanted, _best(wanted, came))
    return found.values


def _best(wanted: Declared, came: Sequence[Context]) -> Context:
    """The one with the highest version that the flow takes."""
    versions: dict[str, Context] = {}
    for context in came:
        versions.setdefault(str(context.metadata.get("version") or "1.0.0"), context)
    try:
        best = semver.pick([semver.parse(text) for text in versions], wanted.versions)
    except ValueError as error:
        raise Invalid(f"additional_context of {wanted.category}: {error}") from error
    if best is None:
        shown = ", ".join(versions)[:200]
        raise Conflict(
            f"additional_context of {wanted.category}: version {shown} does not satisfy "
            f"{wanted.versions}"
        )
    return versions[best.text]


def _checked(wanted: Declared, context: Context) -> dict[str, object]:
    try:
        value: object = json.loads(context.content)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"additional_context of {wanted.category}: content is not JSON") from error
    if not isinstance(value, dict):
        raise Invalid(f"additional_context of {wanted.category}: content must be an object")
    said = cast("dict[str, object]", value)
    for name, kind in wanted.fields.items():
        if name not in said:
            if name in wanted.optional:
                continue
            raise Invalid(f"additional_context of {wanted.category}: {name} is missing")
        if not _is(said[name], kind):
            raise Invalid(f"additional_context of {wanted.category}: {name} is not of type {kind}")
    return said


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES[kind])
