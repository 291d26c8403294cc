"""Turns prompt templates into messages: sandboxed, and bounded in size.

A template may read variables, loop and branch. It may not call anything, multiply, divide or raise
to a power, so what it can cost follows from its inputs alone.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from jinja2 import DictLoader, StrictUndefined, Template, TemplateError, UndefinedError, meta
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from isthmus.core.errors import FieldError, Invalid, TooLarge
from isthmus.core.messages import Message, Role, Text
from isthmus.prompts.schema import TemplateKey

RENDERED_CHARS = 4_000_000
"""The most that one message may grow to."""
_PARSED_CHARS = 1_000_000
_INCLUDE_DEPTH = 5
_FILTERS = frozenset(
    {
        "capitalize",
        "count",
        "d",
        "default",
        "first",
        "int",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "select",
        "selectattr",
        "sort",
        "string",
        "title",
        "tojson",
        "trim",
        "truncate",
        "unique",
        "upper",
    }
)
_ROLES: dict[TemplateKey, Role] = {
    "system": "system",
    "system_static": "system",
    "system_dynamic": "system",
    "user": "user",
    "assistant": "assistant",
}


class Sandbox(ImmutableSandboxedEnvironment):
    """The template language: no calls, no operators that multiply, a short list of filters."""

    intercepted_binops = frozenset({"*", "/", "//", "**", "%"})

    def __init__(self, fragments: Mapping[str, str]) -> None:
        self.fragments = dict(fragments)
        super().__init__(
            loader=DictLoader(self.fragments),
            undefined=StrictUndefined,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
        )
        kept: dict[str, Any] = {n: f for n, f in self.filters.items() if n in _FILTERS}
        self.filters = kept | {"split": _split, "parse_json": _parse_json}
        self.globals = {}

    def is_safe_callable(self, obj: Any) -> bool:  # noqa: ARG002 - the parent's signature
        """Nothing may be called."""
        return False

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - the parent's signature
        """Multiplying operators are refused."""
        raise SecurityError(f"the operator {operator!r} is not allowed in a prompt")


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a prompt: a template, text that never changes, or a list's name."""

    key: TemplateKey
    template: Template | None
    text: str = ""


def compile_parts(
    sandbox: Sandbox, templates: Mapping[TemplateKey, str | tuple[str, ...]], source: str
) -> tuple[Part, ...]:
    """The compiled messages. Raises ValueError that names the file and the key at fault."""
    parts: list[Part] = []
    for key, text in templates.items():
        joined = text if isinstance(text, str) else "\n".join(text)
        if key == "placeholder" or "{" not in joined:
            parts.append(Part(key, None, joined.strip()))
            continue
        try:
            _check_includes(sandbox, joined)
            parts.append(Part(key, sandbox.from_string(joined)))
        except (TemplateError, ValueError) as error:
            raise ValueError(f"{source}: prompt_template.{key}: {error}") from error
    return tuple(parts)


def render(parts: tuple[Part, ...], variables: Mapping[str, object]) -> tuple[Message, ...]:
    """The messages, in order; those that come out blank are left out.

    Raises Invalid naming a variable that is missing, TooLarge when a message grows past
    `RENDERED_CHARS`. A placeholder's variable is a sequence of `Message`; absent means none.
    """
    messages: list[Message] = []
    for part in parts:
        if part.key == "placeholder":
            messages.extend(_listed(part.text, variables))
            continue
        text = part.text
        if part.template is not None:
            text = _bounded(part.template, variables).strip()
        if text:
            messages.append(Message(_ROLES[part.key], (Text(text),)))
    return tuple(messages)


def _check_includes(sandbox: Sandbox, text: str, depth: int = 0) -> None:
    """Every fragment is named by a constant, exists and compiles; none leads back to itself."""
    if depth > _INCLUDE_DEPTH:
        raise ValueError("includes are nested too deeply, or in a circle")
    for name in meta.find_referenced_templates(sandbox.parse(text)):
        if name is None:
            raise ValueError("an include must name its fragment")
        if name not in sandbox.fragments:
            raise ValueError(f"there is no fragment {name!r}")
        _check_includes(sandbox, sandbox.fragments[name], depth + 1)


def _bounded(template: Template, variables: Mapping[str, object]) -> str:
    chunks: list[str] = []
    size = 0
    try:
        for chunk in template.generate(**cast("dict[str, Any]", dict(variables))):
            size += len(chunk)
            if size > RENDERED_CHARS:
                raise TooLarge("The prompt grows too large", RENDERED_CHARS)
            chunks.append(chunk)
    except UndefinedError as error:
        reason = error.message or "a variable is missing"
        raise Invalid("Validation error", (FieldError("inputs", reason),)) from error
    except (TemplateError, TypeError, ValueError) as error:
        raise Invalid(
            "Validation error", (FieldError("inputs", "they do not fit the prompt"),)
        ) from error
    return "".join(chunks)


def _listed(name: str, variables: Mapping[str, object]) -> tuple[Message, ...]:
    value = variables.get(name, ())
    if isinstance(value, list | tuple):
        items = tuple(cast("list[object]", value))
        messages = tuple(item for item in items if isinstance(item, Message))
        if len(messages) == len(items):
            return messages
    raise Invalid("Validation error", (FieldError(f"inputs.{name}", "a list of messages"),))


def _split(text: str, separator: str = ",") -> list[str]:
    return str(text).split(separator)


def _parse_json(text: str) -> object:
    if len(text) > _PARSED_CHARS:
        raise ValueError("too long to parse")
    load: Callable[[str], object] = json.loads
    return load(text)
