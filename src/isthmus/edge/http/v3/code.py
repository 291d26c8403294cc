"""`/v3` code suggestions: the wire of requests made of components.

Source: HTTP gateway contract, sections 4.7 and 4.8.
"""

from collections.abc import Awaitable
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.errors import FieldError, Invalid
from isthmus.core.messages import ContextItem
from isthmus.edge.http.body import decoder
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.v2.code import (
    Choice,
    Code,
    PromptMessage,
    Stripped255,
    Upto255,
    Upto1024,
    answer,
    stripped,
)
from isthmus.edge.services import Services
from isthmus.gateway.hints import ModelHint, component_hint
from isthmus.gateway.suggest import Suggestion, SuggestRequest

REFUSAL = "Unauthorized to access code suggestions"
Provider: TypeAlias = Literal["vertex-ai", "anthropic", "amazon_q"]


class ComponentMetadata(Struct, frozen=True):
    """Who made a component."""

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

    prompt: Annotated[str, Meta(max_length=400_000)] | None = None
    prompt_id: str | None = None
    prompt_version: str | None = None
    prompt_enhancer: dict[str, object] | None = None


class ContextPayload(Struct, frozen=True):
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


class ContextComponent(Struct, frozen=True, tag_field="type", tag="code_context"):
    """Context for a completion."""

    payload: ContextPayload
    metadata: ComponentMetadata | None = None


Component: TypeAlias = CompletionComponent | GenerationComponent | ContextComponent


class ModelMetadata(Struct, frozen=True):
    """The model that an instance wants for this request."""

    provider: Upto255
    name: Upto255 | None = None
    identifier: Annotated[str, Meta(max_length=1000)] | None = None
    endpoint: Upto255 | None = None
    api_key: Annotated[str, Meta(max_length=2000)] | None = None


class SuggestionBody(Struct, frozen=True):
    """The first component says what is asked; `code_context` components may follow it."""

    prompt_components: Annotated[list[Component], Meta(min_length=1, max_length=100)]
    model_metadata: object = None


class ModelReply(Struct, frozen=True):
    """The model that answered."""

    engine: str
    name: str
    lang: str


class Metadata(Struct, frozen=True):
    """Where and when the answer was made."""

    model: ModelReply
    timestamp: int
    enabled_feature_flags: tuple[str, ...]
    region: str | None = None


class SuggestionReply(Struct, frozen=True):
    """The answer; `choices` holds one or none."""

    choices: tuple[Choice, ...]
    metadata: Metadata
    model: ModelReply


_encoder = msgspec.json.Encoder()


def suggest_request(body: SuggestionBody) -> SuggestRequest:
    """The body as a request. Raises Invalid when its first component asks for nothing."""
    first = body.prompt_components[0]
    metadata = _metadata(body.model_metadata)
    match first:
        case CompletionComponent(payload=payload):
            return SuggestRequest(
                kind="completion",
                above=payload.content_above_cursor,
                below=payload.content_below_cursor,
                file_name=payload.file_name,
                refusal=REFUSAL,
                editor_language=payload.language_identifier or "",
                context=_context(body),
                context_gated=True,
                hint=component_hint("completion", payload.model_provider or "", metadata),
                streaming=bool(payload.stream),
            )
        case GenerationComponent(payload=payload):
            return SuggestRequest(
                kind="generation",
                above=payload.content_above_cursor,
                below=payload.content_below_cursor,
                file_name=payload.file_name,
                refusal=REFUSAL,
                editor_language=payload.language_identifier or "",
                hint=component_hint("generation", payload.model_provider or "", metadata),
                prompt_id=payload.prompt_id or "",
                prompt_version=payload.prompt_version or "^1.0.0",
                by_prompt_name=True,
                variables=payload.prompt_enhancer or {},
                streaming=bool(payload.stream),
            )
        case ContextComponent():
            fault = FieldError("prompt_components[0].type", "context cannot come first")
            raise Invalid("Validation error", (fault,))


def reply(suggestion: Suggestion, now_s: int) -> bytes:
    """The body of a plain answer."""
    origin = suggestion.origin
    model = ModelReply(origin.engine, origin.name, origin.language)
    return _encoder.encode(
        SuggestionReply(
            choices=(Choice(suggestion.text),) if suggestion.text else (),
            metadata=Metadata(model, now_s, origin.flags),
            model=model,
        )
    )


def routes(services: Services) -> list[Endpoint]:
    """Completions and generations, by the first component."""

    read_body = decoder(SuggestionBody)

    def shape(raw: bytes) -> SuggestRequest:
        return suggest_request(read_body(raw))

    def suggestions(request: Request) -> Awaitable[Response]:
        return answer(request, services, shape, reply)

    return [
        Endpoint(
            method="POST",
            path="/v3/code/completions",
            handle=suggestions,
            summary="Complete or generate code at the cursor",
            body=SuggestionBody,
            reply=SuggestionReply,
            stream_type="text/event-stream",
        )
    ]


def _context(body: SuggestionBody) -> tuple[ContextItem, ...]:
    return tuple(
        ContextItem(part.payload.type, part.payload.name, part.payload.content)
        for part in body.prompt_components[1:]
        if isinstance(part, ContextComponent)
    )


def _metadata(raw: object) -> ModelHint | None:
    """The metadata as a hint; one that cannot be read counts as none, as the contract has it."""
    try:
        told = msgspec.convert(raw, ModelMetadata)
    except msgspec.ValidationError:
        return None
    return ModelHint(
        provider=told.provider,
        name=told.name or "",
        endpoint=told.endpoint or "",
        api_key=told.api_key or "",
        identifier=told.identifier or "",
    )
