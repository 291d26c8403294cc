"""The template language of prompts, and what a template reads.

A template may read variables, loop and branch. It may not call anything, multiply, divide or raise
to a power, so what it can cost follows from its inputs alone.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import msgspec
from jinja2 import (
    DictLoader,
    StrictUndefined,
    Template,
    TemplateError,
    Undefined,
    UndefinedError,
    meta,
    nodes,
)
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from isthmus.prompts.misfit import Misfit, Missing

REQUEST_TAG = "user_request"
"""What a user asks for stands between these tags; what stands between others is data."""
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
_IN_ATTRIBUTE = str.maketrans(
    {'"': "'", "<": "(", ">": ")"} | {chr(code): " " for code in range(32)}
)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A template with the variables that it reads, and those of them that it can do without."""

    template: Template
    reads: frozenset[str]
    spares: frozenset[str]

    def chunks(self, variables: Mapping[str, object]) -> Iterator[str]:
        """The rendered text, piece by piece. Raises Missing or Misfit."""
        try:
            yield from self.template.generate(cast("dict[str, Any]", dict(variables)))
        except UndefinedError as error:
            raise Missing(error.message or "a variable is missing") from error
        except (TemplateError, TypeError, ValueError, RecursionError) as error:
            raise Misfit from error


class Sandbox(ImmutableSandboxedEnvironment):
    """The template language: no calls, no operators that multiply, a short list of filters.

    `fragments` are the texts that templates may include, by path.
    """

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
            finalize=_as_text,
        )
        kept: dict[str, Any] = {n: f for n, f in self.filters.items() if n in _FILTERS}
        self.filters = kept | {"split": _split, "parse_json": _parse_json, "tagged": _tagged}
        self.globals = {}

    def is_safe_callable(self, obj: Any) -> bool:  # noqa: ARG002 - the parent's signature
        """Nothing may be called."""
        return False

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - the parent's signature
        """Multiplying operators are refused."""
        raise SecurityError(f"the operator {operator!r} is not allowed in a prompt")

    def compiled(self, text: str) -> Compiled:
        """The template.

        It can do without a variable that it gives a default, or asks for with `is defined`.
        Raises ValueError when it, or a fragment that it includes, cannot be compiled.
        """
        try:
            found = tuple(self._trees(text, frozenset(), 0))
            template = self.from_string(text)
        except TemplateError as error:
            raise ValueError(str(error)) from error
        read: set[str] = set()
        spared: set[str] = set()
        for tree, given in found:
            read |= meta.find_undeclared_variables(tree) - given
            spared.update(_spared(tree))
        return Compiled(template, frozenset(read), frozenset(read & spared))

    def _trees(
        self, text: str, given: frozenset[str], depth: int
    ) -> Iterator[tuple[nodes.Template, frozenset[str]]]:
        """The template and all it includes, each with the names that are set where it stands."""
        if depth > _INCLUDE_DEPTH:
            raise ValueError("includes are nested too deeply, or in a circle")
        tree = self.parse(text)
        yield tree, given
        given |= {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
        for name in meta.find_referenced_templates(tree):
            if name is None:
                raise ValueError("an include must name its fragment")
            if name not in self.fragments:
                raise ValueError(f"there is no fragment {name!r}")
            yield from self._trees(self.fragments[name], given, depth + 1)


def _spared(tree: nodes.Template) -> Iterator[str]:
    for kind, words in ((nodes.Filter, {"default", "d"}), (nodes.Test, {"defined", "undefined"})):
        for found in tree.find_all(kind):
            if found.name in words and isinstance(found.node, nodes.Name):
                yield found.node.name


def _split(text: str, separator: str = ",") -> list[str]:
    return str(text).split(separator)


def _parse_json(text: str) -> object:
    if len(text) > _PARSED_CHARS:
        raise ValueError("too long to parse")
    load: Callable[[str], object] = json.loads
    return load(text)


def _tagged(value: object, tag: str, **attributes: object) -> str:
    """Data on lines of its own between `<tag>` and `</tag>`, which it cannot leave.

    Nothing at all when there is no data; nor can data pose as the user's request.
    """
    text = _as_text(value)
    if not text.strip():
        return ""
    body = _closing(tag).sub("&lt;", text).strip("\n")
    held = {name: _as_text(one).translate(_IN_ATTRIBUTE) for name, one in attributes.items()}
    named = "".join(f' {name}="{one}"' for name, one in held.items() if one)
    return f"\n<{tag}{named}>\n{body}\n</{tag}>"


@lru_cache(maxsize=100)
def _closing(tag: str) -> re.Pattern[str]:
    # The spaces are bounded, or a text full of them would be searched in square time.
    names = f"{re.escape(tag)}|{REQUEST_TAG}"
    return re.compile(rf"<(?=\s{{0,9}}/?\s{{0,9}}(?:{names})\b)", re.IGNORECASE)


def _as_text(value: object) -> str:
    """A value as it is written out: a list of texts as lines, what is not text as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, Undefined):
        return str(value)  # raises: what is missing has a name
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        if all(isinstance(item, str) for item in items):
            return "\n".join(cast("Sequence[str]", items))
    return msgspec.json.encode(value).decode()
