"""The envelope of components that the third and fourth versions are made of, and how it is read.

What does not fit degrades: unknown components and members are ignored, a member of a wrong type
counts as not given. A text beyond its limit, or a provider that there is not, makes its component
unusable, and so does the lack of any code.

Source: HTTP gateway contract, sections 4.7 and 4.8.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct, field

from isthmus.core.errors import FieldError, Invalid
from isthmus.edge.http.body import decoder
from isthmus.edge.http.metadata import ABSENT
from isthmus.edge.http.v2.code import (
    Code,
    PromptMessage,
    Stripped255,
    Upto255,
    Upto1024,
    stripped,
)

Provider: TypeAlias = Literal["vertex-ai", "anthropic", "amazon_q"]
Words: TypeAlias = Annotated[str, Meta(max_length=400_000)]


class ComponentMetadata(Struct, frozen=True):
    """Who made a component; not looked at."""

    source: Upto255
    version: Upto255


class EditorPayload(Struct):
    """The file with the cursor."""

    file_name: Stripped255
    content_above_cursor: Code
    content_below_cursor: Code
    language_identifier: Upto255 | None = None
    model_provider: Provider | None = None
    model_name: str | None = None
    stream: bool | None = None
    role_arn: str | None = None

    def __post_init__(self) -> None:
        self.file_name = stripped("file_name", self.file_name, 255)


class CompletionPayload(EditorPayload):
    """What a completion adds; all of it is ignored."""

    choices_count: int | None = None
    prompt: str | list[PromptMessage] | None = None


class GenerationPayload(EditorPayload):
    """What a generation adds. `prompt` is ignored; `prompt_enhancer` holds template variables."""

    prompt: Words | None = None
    prompt_id: str | None = None
    prompt_version: str | None = None
    prompt_enhancer: dict[str, object] | None = None


class PromptPayload(Struct):
    """A prompt that the caller wrote for one model; the code around the cursor is told if it helps.

    The answer is a generation.
    """

    content: Words | list[PromptMessage]
    provider: Provider | None = None
    model: Upto255 | None = None
    file_name: Stripped255 = ""
    content_above_cursor: Code = ""
    content_below_cursor: Code = ""
    language_identifier: Upto255 | None = None
    stream: bool | None = None

    def __post_init__(self) -> None:
        self.file_name = stripped("file_name", self.file_name, 255)


class ContextPayload(Struct):
    """A piece of another file."""

    type: Upto1024
    name: Upto1024
    content: Code


class CompletionComponent(Struct, frozen=True, tag_field="type", tag="code_editor_completion"):
    """A completion is asked for."""

    payload: CompletionPayload
    metadata: ComponentMetadata | None = None


class GenerationComponent(Struct, frozen=True, tag_field="type", tag="code_editor_generation"):
    """A generation is asked for."""

    payload: GenerationPayload
    metadata: ComponentMetadata | None = None


class PromptComponent(Struct, frozen=True, tag_field="type", tag="prompt"):
    """A generation is asked for in the caller's own words."""

    payload: PromptPayload
    metadata: ComponentMetadata | None = None


class ContextComponent(Struct, frozen=True, tag_field="type", tag="code_context"):
    """Context for a completion."""

    payload: ContextPayload
    metadata: ComponentMetadata | None = None


Component: TypeAlias = (
    CompletionComponent | GenerationComponent | PromptComponent | ContextComponent
)
Payload: TypeAlias = CompletionPayload | GenerationPayload | PromptPayload | ContextPayload


class SuggestionBody(Struct, frozen=True):
    """The first component that can be served is answered; `code_context` may stand beside it."""

    prompt_components: Annotated[list[Component], Meta(min_length=1, max_length=100)]
    model_metadata: Raw = field(default_factory=lambda: ABSENT)


class _Parts(Struct, frozen=True):
    prompt_components: Annotated[list[Raw], Meta(min_length=1, max_length=100)]
    model_metadata: Raw = ABSENT


class _Part(Struct, frozen=True):
    type: object = None
    payload: Raw = ABSENT


PAYLOADS: dict[str, type[Payload]] = {
    "code_editor_completion": CompletionPayload,
    "code_editor_generation": GenerationPayload,
    "prompt": PromptPayload,
    "code_context": ContextPayload,
}
_TEXTS = frozenset(
    {
        *("file_name", "content_above_cursor", "content_below_cursor", "language_identifier"),
        *("model_provider", "prompt", "content", "provider", "model", "type", "name"),
    }
)
"""Members whose texts are limited; one that does not fit is not as good as none."""
_CODE = ("content_above_cursor", "content_below_cursor")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_read_whole = decoder(SuggestionBody)
_read_parts = decoder(_Parts)
_read_part = msgspec.json.Decoder(_Part).decode
_read_members = msgspec.json.Decoder(dict[str, Raw]).decode
_members = {
    kind: [
        (each.name, each.required, msgspec.json.Decoder(each.type, strict=False).decode)
        for each in msgspec.structs.fields(kind)
    ]
    for kind in PAYLOADS.values()
}


def read_body(raw: bytes) -> SuggestionBody:
    """The body, with the components that can be used; at least one of them is a prompt.

    Raises Invalid, and then names the first fault.
    """
    try:
        body = _read_whole(raw)
    except Invalid as error:
        fault, parts = error, _read_parts(raw)
        found = [each for part in parts.prompt_components if (each := _component(part))]
        body = SuggestionBody(found, parts.model_metadata)
    else:
        fault = Invalid(
            "Validation error", (FieldError("prompt_components", "context is no prompt"),)
        )
    if all(isinstance(each, ContextComponent) for each in body.prompt_components):
        raise fault
    return body


def _component(raw: Raw) -> Component | None:
    try:
        part = _read_part(raw)
    except _UNREADABLE:
        return None
    kind = PAYLOADS.get(part.type) if isinstance(part.type, str) else None
    payload = None if kind is None else _payload(kind, part.payload)
    return None if payload is None else _wrapped(payload)


def _wrapped(payload: Payload) -> Component:
    match payload:
        case CompletionPayload():
            return CompletionComponent(payload)
        case GenerationPayload():
            return GenerationComponent(payload)
        case PromptPayload():
            return PromptComponent(payload)
        case ContextPayload():
            return ContextComponent(payload)


def _payload(kind: type[Payload], raw: Raw) -> Payload | None:
    """What can be read of a payload; None when nothing can be made of it."""
    given: dict[str, object] = {}
    try:
        members = _read_members(raw)
        for name, _, read in _members[kind]:
            if name in members:
                try:
                    given[name] = read(members[name])
                except _UNREADABLE:
                    if name in _TEXTS and bytes(members[name]).startswith(b'"'):
                        return None
        core = _CODE if issubclass(kind, EditorPayload) else ("content",)
        if not any(name in given for name in core):
            return None
        blank = {name: "" for name, required, _ in _members[kind] if required}
        return msgspec.convert(blank | given, kind)
    except _UNREADABLE:
        return None
