"""`/v3` code suggestions: requests made of components, and the schemas of their payloads.

Source: HTTP gateway contract, sections 4.7 and 4.8.
"""

from collections.abc import Awaitable

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.errors import NotFound
from isthmus.core.messages import ContextItem, Message, ModelMetadata, Text
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.envelope import (
    PAYLOADS,
    CompletionPayload,
    ContextComponent,
    EditorPayload,
    GenerationPayload,
    PromptPayload,
    SuggestionBody,
    read_body,
)
from isthmus.edge.http.metadata import lenient
from isthmus.edge.http.openapi import any_json
from isthmus.edge.http.reply import JSON, Reply
from isthmus.edge.http.v2.code import REFUSALS, Choice, answer
from isthmus.edge.services import Services
from isthmus.gateway.hints import Wish, made_for, wished_by_component, wished_by_variant
from isthmus.gateway.suggestion import Suggestion, SuggestRequest

REFUSAL = "Unauthorized to access code suggestions"
VARIANTS = 8
"""So many prompts of one request are tried at most."""
PLAIN_TEXT = "plaintext"
Prompting = CompletionPayload | GenerationPayload | PromptPayload


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
    """The body as a request; its further prompts are variants, each for the model it names.

    In the end the first one is tried as if it stood alone, where its provider is no more than a
    hint.
    """
    metadata = lenient(body.model_metadata)
    prompts = [
        part.payload for part in body.prompt_components if not isinstance(part, ContextComponent)
    ][:VARIANTS]
    context = tuple(
        ContextItem(part.payload.type, part.payload.name, part.payload.content)
        for part in body.prompt_components
        if isinstance(part, ContextComponent)
    )
    alone = _request(prompts[0], metadata, context)
    if len(prompts) == 1:
        return alone
    several = [_request(payload, metadata, context) for payload in prompts]
    if metadata is None:
        wishes = [_variant(payload) for payload in prompts]
        several = [replace(one, wish=wish) for one, wish in zip(several, wishes, strict=True)]
    several = [replace(one, streaming=alone.streaming) for one in several]
    return replace(several[0], variants=(*several[1:], alone))


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


def shape(raw: bytes) -> SuggestRequest:
    """The bytes of a body as a request. Raises Invalid."""
    return suggest_request(read_body(raw))


def routes(services: Services) -> list[Endpoint]:
    """Completions and generations, by component, and the schema of each component's payload."""
    schemas = {
        name: _encoder.encode(msgspec.json.schema(kind, schema_hook=any_json))
        for name, kind in PAYLOADS.items()
    }

    def suggestions(request: Request) -> Awaitable[Response]:
        return answer(request, services, shape, reply)

    async def schema(request: Request) -> Response:
        found = schemas.get(request.path_params["type"])
        if found is None:
            raise NotFound("Not Found")
        return Reply(found, [JSON])

    return [
        Endpoint(
            method="POST",
            path="/v3/code/completions",
            handle=suggestions,
            summary="Complete or generate code at the cursor",
            body=SuggestionBody,
            reply=SuggestionReply,
            stream_type="text/event-stream",
            scopes="`complete_code` or `generate_code`",
            models="`code_completions`, `code_generations`",
            refusals=REFUSALS,
        ),
        Endpoint(
            method="GET",
            path="/v3/code/schema/{type}",
            handle=schema,
            summary="The JSON Schema of a component's payload",
            reply=dict[str, object],
            scopes="any",
            stability="ours",
            refusals=(404,),
            choices={"type": tuple(PAYLOADS)},
        ),
    ]


def _request(
    payload: Prompting, metadata: ModelMetadata | None, context: tuple[ContextItem, ...]
) -> SuggestRequest:
    prompt_id = version = ""
    if isinstance(payload, GenerationPayload):
        prompt_id, version = payload.prompt_id or "", payload.prompt_version or "^1.0.0"
    provider = _named(payload)[0]
    kind = "completion" if isinstance(payload, CompletionPayload) else "generation"
    editor_language = payload.language_identifier or ""
    if isinstance(payload, PromptPayload) and not payload.file_name:
        editor_language = editor_language or PLAIN_TEXT
    return SuggestRequest(
        kind=kind,
        above=payload.content_above_cursor,
        below=payload.content_below_cursor,
        file_name=payload.file_name,
        refusal=REFUSAL,
        editor_language=editor_language,
        context=context if kind == "completion" else (),
        context_gated=True,
        messages=_messages(payload),
        wish=wished_by_component(kind, provider, metadata, registered=bool(prompt_id)),
        prompt_id=prompt_id,
        prompt_version=version or "^1.0.0",
        by_prompt_name=True,
        variables=getattr(payload, "prompt_enhancer", None) or {},
        streaming=bool(payload.stream),
        made_for=made_for(provider, prompt_id, version),
    )


def _variant(payload: Prompting) -> Wish:
    kind = "completion" if isinstance(payload, CompletionPayload) else "generation"
    return wished_by_variant(kind, *_named(payload))


def _named(payload: Prompting) -> tuple[str, str]:
    """The provider and the model that a prompt names."""
    if isinstance(payload, EditorPayload):
        return payload.model_provider or "", payload.model_name or ""
    return payload.provider or "", payload.model or ""


def _messages(payload: Prompting) -> tuple[Message, ...]:
    match payload:
        case PromptPayload(content=str(text)):
            return (Message("user", (Text(text),)),)
        case PromptPayload(content=list(messages)):
            return tuple(Message(one.role, (Text(one.content),)) for one in messages)
        case _:
            return ()
