"""Where in a flow's state a value stands: `context:goal`, `conversation_history:planner`. Pure.

Source: agent-platform contract, section 7.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, TypeAlias, cast

import msgspec
from msgspec import Meta

from isthmus.core.errors import Invalid

TARGETS: Final = frozenset({"context", "conversation_history", "status", "ui_chat_log"})
_PLAIN: Final = frozenset({"status", "ui_chat_log"})
MAX_DEPTH = 10
NOTHING: Final[Mapping[str, object]] = {}


class Alias(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """The long form of an input."""

    source: Annotated[str, Meta(max_length=8_192)]
    as_: str = msgspec.field(name="as", default="")
    optional: bool = False
    literal: bool = False


Written: TypeAlias = Annotated[str, Meta(max_length=1_024)] | Alias
"""An input as flow files write it."""


@dataclass(frozen=True, slots=True)
class Input:
    """A value under a name. With `literal`, the value is `path[0]`."""

    name: str
    target: str
    path: tuple[str, ...]
    optional: bool = False
    literal: bool = False

    def named(self, name: str) -> "Input":
        """The same value under another name."""
        return replace(self, name=name)

    def read(self, state: Mapping[str, Any]) -> object:
        """The value; None where an optional one is missing. Raises Invalid for another one."""
        if self.literal:
            return self.path[0]
        value: object = state.get(self.target)
        for name in self.path:
            if not isinstance(value, Mapping):
                value = NOTHING
            held = cast("Mapping[str, object]", value)
            if name not in held:
                if self.optional:
                    return None
                raise Invalid(f"The flow's state has no {self.target}:{'.'.join(self.path)}.")
            value = held[name]
        return value


def parse(written: Written) -> Input:
    """The input. Raises ValueError."""
    said = Alias(written) if isinstance(written, str) else written
    if said.literal:
        if not said.as_:
            raise ValueError("a literal input needs `as`")
        return Input(said.as_, "", (said.source,), literal=True)
    target, colon, rest = said.source.partition(":")
    path = tuple(rest.split(".")) if colon else ()
    if target not in TARGETS:
        raise ValueError(f"{said.source[:80]!r} begins with none of {sorted(TARGETS)}")
    if len(path) > MAX_DEPTH or not all(path) or (path and target in _PLAIN):
        raise ValueError(f"{said.source[:80]!r} is no path in a flow's state")
    return Input(said.as_ or (path[-1] if path else target), target, path, said.optional)


def read_all(inputs: tuple[Input, ...], state: Mapping[str, Any]) -> dict[str, object]:
    """Every input's value by its name. Raises Invalid."""
    return {one.name: one.read(state) for one in inputs}


def merged(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """Nested maps, the new values laid over the old ones."""
    result = dict(old or {})
    for key, value in new.items():
        known = result.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            result[key] = merged(cast("dict[str, Any]", known), cast("dict[str, Any]", value))
        else:
            result[key] = value
    return result
