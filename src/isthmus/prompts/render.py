"""Turns prompt templates into messages, bounded in size."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from isthmus.core.errors import FieldError, Invalid, TooLarge
from isthmus.core.messages import Message, Role, Text
from isthmus.prompts.misfit import Misfit, Missing
from isthmus.prompts.schema import TemplateKey

if TYPE_CHECKING:  # the template language loads when the first template is compiled
    from isthmus.prompts.sandbox import Compiled, Sandbox

RENDERED_CHARS = 4_000_000
"""The most that one message may grow to."""
_NAMED = 30
_NAME_CHARS = 60
_ROLES: dict[TemplateKey, Role] = {
    "system": "system",
    "system_static": "system",
    "system_dynamic": "system",
    "user": "user",
    "assistant": "assistant",
}
_INVISIBLE = re.compile("[\x00\U000e0000-\U000e007f]")
"""Characters that a person does not see and a model reads."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One message of a prompt: a template, text that never changes, or a list's name."""

    key: TemplateKey
    template: "Compiled | None"
    text: str = ""


class Language(Protocol):
    """What templates are written in."""

    def compiled(self, text: str) -> "Compiled":
        """The template. Raises ValueError."""
        ...


class Fragments:
    """The template language with the texts that templates may include, by path; loads late."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self._sandbox: Sandbox | None = None

    def compiled(self, text: str) -> "Compiled":
        """The template. Raises ValueError."""
        if self._sandbox is None:
            from isthmus.prompts.sandbox import Sandbox  # noqa: PLC0415

            self._sandbox = Sandbox(self.texts)
        return self._sandbox.compiled(text)


class Script:
    """The messages of one prompt file; compiled when they are first asked for.

    Most prompts are not used by most processes, and compiling them all would be the longest step
    of the start. `check` compiles at once.
    """

    def __init__(
        self, language: Language, templates: Mapping[TemplateKey, str], source: str
    ) -> None:
        self.source = source
        self._language = language
        self._templates = templates
        self._parts: tuple[_Part, ...] = ()
        self._needed: frozenset[str] = frozenset()
        self._spared: frozenset[str] = frozenset()

    @property
    def inputs(self) -> frozenset[str]:
        """The variables that must be given."""
        self.check()
        return self._needed

    @property
    def optional(self) -> frozenset[str]:
        """The variables that may be given."""
        self.check()
        return self._spared

    def check(self) -> None:
        """Compile. Raises ValueError that names the file and the key at fault."""
        if self._parts:
            return
        parts: list[_Part] = []
        read: frozenset[str] = frozenset()
        spared: frozenset[str] = frozenset()
        for key, text in self._templates.items():
            if key == "placeholder" or "{" not in text:
                parts.append(_Part(key, None, text.strip()))
                continue
            try:
                template = self._language.compiled(text)
            except ValueError as error:
                raise ValueError(f"{self.source}: prompt_template.{key}: {error}") from error
            parts.append(_Part(key, template))
            read |= template.reads
            spared |= template.spares
        self._needed, self._spared, self._parts = read - spared, spared, tuple(parts)

    def around(self, placeholder: str) -> "tuple[Script, Script | None]":
        """The messages before a placeholder, and those behind it; None when nothing stands there.

        What is held by the system counts as before it, wherever it stands.
        """
        held: list[dict[TemplateKey, str]] = [{}, {}]
        behind = 0
        for key, text in self._templates.items():
            if key == "placeholder" and text.strip() == placeholder:
                behind = 1
            else:
                held[0 if key.startswith("system") else behind][key] = text
        before, after = (Script(self._language, part, self.source) for part in held)
        return before, after if held[1] else None

    def render(self, variables: Mapping[str, object]) -> tuple[Message, ...]:
        """The messages, in order; those that come out blank are left out.

        Raises Invalid naming the variables that are missing, TooLarge when a message grows past
        `RENDERED_CHARS`. A placeholder's variable is a sequence of messages; absent means none.
        """
        missing = self.inputs.difference(variables)
        if missing:
            raise _lacking(missing, self.inputs, variables)
        messages: list[Message] = []
        for part in self._parts:
            if part.key == "placeholder":
                messages.extend(_listed(part.text, variables))
                continue
            text = part.text
            if part.template is not None:
                text = _bounded(part.template, variables).strip()
            if text:
                messages.append(Message(_ROLES[part.key], (Text(text),)))
        return tuple(messages)


def echoed(text: str, chars: int = _NAME_CHARS) -> str:
    """A caller's text as a sentence of ours may repeat it: short, and printable."""
    kept = "".join(c if c.isprintable() else "?" for c in text[:chars])
    return kept if len(text) <= chars else f"{kept}..."


def _lacking(missing: frozenset[str], expected: frozenset[str], received: Iterable[str]) -> Invalid:
    detail = (
        f"Missing variables: {_names(missing)}. Expected: {_names(expected)}. "
        f"Received: {_names(received)}."
    )
    return Invalid(
        detail, tuple(FieldError(f"inputs.{name}", "missing") for name in sorted(missing))
    )


def _names(names: Iterable[str]) -> str:
    listed = sorted(names)
    shown = ", ".join(f"'{echoed(name)}'" for name in listed[:_NAMED])
    if len(listed) > _NAMED:
        return f"{shown} and {len(listed) - _NAMED} more"
    return shown or "none"


def _bounded(template: "Compiled", variables: Mapping[str, object]) -> str:
    chunks: list[str] = []
    size = 0
    try:
        for chunk in template.chunks(variables):
            size += len(chunk)
            if size > RENDERED_CHARS:
                raise TooLarge("The prompt grows too large", RENDERED_CHARS)
            chunks.append(chunk)
    except Missing as error:
        raise Invalid(
            "Validation error", (FieldError("inputs", echoed(str(error), 200)),)
        ) from error
    except Misfit as error:
        raise Invalid(
            "Validation error", (FieldError("inputs", "they do not fit the prompt"),)
        ) from error
    text = "".join(chunks)
    return text if text.isascii() and "\0" not in text else _INVISIBLE.sub("", text)


class _Turn(msgspec.Struct, frozen=True):
    role: Role
    content: str


def _listed(name: str, variables: Mapping[str, object]) -> tuple[Message, ...]:
    """Messages of a placeholder: ours, or `{role, content}` as a caller writes them."""
    value = variables.get(name) or ()
    if isinstance(value, list | tuple):
        items = cast("list[object]", value)
        try:
            return tuple(item if isinstance(item, Message) else _turn(item) for item in items)
        except msgspec.ValidationError:
            pass
    raise Invalid("Validation error", (FieldError(f"inputs.{name}", "a list of messages"),))


def _turn(item: object) -> Message:
    turn = msgspec.convert(item, _Turn)
    if turn.role == "system":
        raise msgspec.ValidationError("a caller's message is not the system's")
    return Message(turn.role, (Text(turn.content),))
