"""Schemas of structured answers: the bundled ones, and whether an answer fits one. Pure.

Of JSON Schema (draft 2020-12) an answer is held to `type`, `properties`, `required`,
`additionalProperties` (as a switch), `items`, `enum`, `const`, `anyOf`, bounds of numbers, and
lengths. What else a schema says is for the model alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from isthmus.prompts import semver

MAX_DEPTH = 20
MAX_NODES = 2_000
TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
"""What JSON calls a type -> what it is here; a boolean is no number."""
_LENGTHS: Final = (
    ("minLength", "maxLength", str, "characters"),
    ("minItems", "maxItems", list, "items"),
)


@dataclass(frozen=True, slots=True)
class Schemas:
    """The bundled schemas: id -> version -> definition."""

    known: Mapping[str, Mapping[str, Mapping[str, object]]]

    def get(self, schema_id: str, wanted: str) -> tuple[str, Mapping[str, object]]:
        """The version that the constraint picks, and its definition. Raises ValueError."""
        versions = self.known.get(schema_id, {})
        best = semver.pick(map(semver.parse, versions), wanted)
        if best is None:
            raise ValueError(f"there is no schema {schema_id!r} in a version {wanted[:40]!r}")
        return best.text, versions[best.text]


class _Node(Struct, frozen=True):
    """The form of what `misfits` reads."""

    type: str | tuple[str, ...] = ()
    properties: "dict[str, _Node]" = {}
    required: tuple[str, ...] = ()
    items: "_Node | bool | None" = None
    enum: tuple[object, ...] | None = None
    anyOf: "tuple[_Node, ...]" = ()  # noqa: N815 - the schema language's name
    minimum: float | None = None
    maximum: float | None = None
    minLength: int | None = None  # noqa: N815
    maxLength: int | None = None  # noqa: N815
    minItems: int | None = None  # noqa: N815
    maxItems: int | None = None  # noqa: N815


def checked(definition: object) -> Mapping[str, object]:
    """The definition, if a tool's arguments may have it. Raises ValueError."""
    _walk(definition, [0], 0)
    try:
        top = msgspec.convert(definition, _Node)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    if top.type != "object" or not top.properties:
        raise ValueError("it must be of type object, with properties")
    return cast("Mapping[str, object]", definition)


def _walk(node: object, count: list[int], depth: int) -> None:
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MAX_NODES:
        raise ValueError("it is too large")
    if isinstance(node, Mapping):
        held = cast("Mapping[str, object]", node)
        if isinstance(held.get("$ref"), str):
            raise ValueError("$ref is not served")  # noqa: TRY004 - a fault of a file
        for value in held.values():
            _walk(value, count, depth + 1)
    elif isinstance(node, list):
        for value in cast("Sequence[object]", node):
            _walk(value, count, depth + 1)


def misfits(value: object, schema: Mapping[str, Any], at: str = "$") -> Iterator[str]:
    """What of a value does not fit a schema: one line a fault, with its path."""
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{at}: it must be of type {' or '.join(kinds)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: it must be one of {str(schema['enum'])[:300]}"
    if "const" in schema and value != schema["const"]:
        yield f"{at}: it must be {str(schema['const'])[:100]}"
    choices = schema.get("anyOf")
    if choices and not any(next(misfits(value, one, at), None) is None for one in choices):
        yield f"{at}: it fits none of the choices"
    yield from _bounds(value, schema, at)
    if isinstance(value, dict):
        yield from _fields(cast("dict[str, object]", value), schema, at)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for place, item in enumerate(cast("list[object]", value)):
            yield from misfits(item, schema["items"], f"{at}[{place}]")


def _fields(value: Mapping[str, object], schema: Mapping[str, Any], at: str) -> Iterator[str]:
    known: Mapping[str, Any] = schema.get("properties") or {}
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}.{name}: it is missing"
    for name, item in value.items():
        if name in known:
            yield from misfits(item, known[name], f"{at}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{at}.{name[:60]}: there is no such field"


def _bounds(value: object, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield f"{at}: it must be at least {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield f"{at}: it must be at most {schema['maximum']}"
    for least, most, kind, noun in _LENGTHS:
        if isinstance(value, kind):
            size = len(cast("Sequence[object]", value))
            if size < schema.get(least, size):
                yield f"{at}: it must have at least {schema[least]} {noun}"
            if size > schema.get(most, size):
                yield f"{at}: it must have at most {schema[most]} {noun}"


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return kind not in TYPES or isinstance(value, TYPES[kind])
