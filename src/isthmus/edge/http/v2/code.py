"""`/v2` code suggestions: the wire of completions and generations.

Source: HTTP gateway contract, sections 4.1 to 4.6.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeAlias, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.messages import ContextItem, Message, Text, Usage
from isthmus.edge.http.auth import caller_of, client_of
from isthmus.edge.http.body import decoder, read
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.exchange import EXCHANGE, Exchange
from isthmus.edge.http.metadata import ABSENT, lenient
from isthmus.edge.http.reply import JSON, Reply
from isthmus.edge.http.sse import raw_text_stream
from isthmus.edge.services import Services
from isthmus.gateway.hints import ANY, Kind, ModelHint, Wish, check_name, wished, wished_for_prompt
from isthmus.gateway.judge import suggestion_id
from isthmus.gateway.suggestion import (
    EditorCount,
    Origin,
    Suggestion,
    SuggestionStream,
    SuggestRequest,
)

Upto255: TypeAlias = Annotated[str, Meta(max_length=255)]
Upto50: TypeAlias = Annotated[str, Meta(max_length=50)]
Upto1024: TypeAlias = Annotated[str, Meta(max_length=1024)]
Code: TypeAlias = Annotated[str, Meta(max_length=100_000)]
Provider: TypeAlias = Literal[
    "anthropic", "vertex-ai", "litellm", "codestral", "fireworks_ai", "amazon_q", "gitlab"
]
Stripped255: TypeAlias = Annotated[str, Meta(extra_json_schema={"maxLength": 255})]
Stripped50: TypeAlias = Annotated[str, Meta(extra_json_schema={"maxLength": 50})]


def stripped(name: str, text: str, most: int) -> str:
    """The text without the white space around it. Raises ValueError when it is still too long."""
    text = text.strip()
    if len(text) > most:
        raise ValueError(f"`{name}` must be at most {most} characters long")
    return text


class CurrentFile(Struct):
    """The file with the cursor."""

    file_name: Stripped255
    content_above_cursor: Code
    content_below_cursor: Code
    language_identifier: Upto255 | None = None

    def __post_init__(self) -> None:
        self.file_name = stripped("file_name", self.file_name, 255)


class TelemetryItem(Struct, frozen=True):
    """Counters of an editor since its last request: what it asked for, took, and never got."""

    requests: int
    accepts: int
    errors: int
    model_engine: Upto50 | None = None
    model_name: Upto50 | None = None
    lang: Upto50 | None = None


class ContextPart(Struct, frozen=True):
    """A piece of another file."""

    type: Upto1024
    name: Upto1024
    content: Annotated[str, Meta(max_length=500_000)]


class PromptMessage(Struct, frozen=True):
    """One message of a prompt that the caller built."""

    role: Literal["system", "user", "assistant"]
    content: str


class CodeBody(Struct, tag_field="prompt_version"):
    """What all versions of both requests hold."""

    current_file: CurrentFile
    project_path: Stripped255 | None = None
    project_id: int | None = None
    model_provider: Provider | None = None
    model_name: Stripped50 | UnsetType | None = UNSET
    model_endpoint: str | None = None
    model_api_key: str | None = None
    model_identifier: str | None = None
    telemetry: Annotated[list[TelemetryItem], Meta(max_length=10)] | None = None
    stream: bool | None = None
    choices_count: int | None = None
    context: Annotated[list[ContextPart], Meta(max_length=100)] | None = None
    prompt_id: str | None = None
    role_arn: str | None = None
    model_metadata: msgspec.Raw = msgspec.field(default_factory=lambda: ABSENT)

    def __post_init__(self) -> None:
        if self.project_path is not None:
            self.project_path = stripped("project_path", self.project_path, 255)
        if isinstance(self.model_name, str):
            self.model_name = stripped("model_name", self.model_name, 50)


class CompletionV1(CodeBody, tag=1):
    """A completion request; the prompt is built here."""


class CompletionV2(CodeBody, tag=2):
    """A completion request with a prompt text, which is ignored."""

    prompt: str | None = None


class CompletionV3(CodeBody, tag=3):
    """A completion request with messages, which count for the provider `anthropic` alone."""

    prompt: list[PromptMessage] | None = None


class GenerationV1(CodeBody, tag=1):
    """A generation request; the prompt is built here."""


class GenerationV2(CodeBody, tag=2, kw_only=True):
    """A generation request with a prompt text, which is ignored."""

    prompt: str


class GenerationV3(CodeBody, tag=3, kw_only=True):
    """A generation request whose messages are the prompt."""

    prompt: list[PromptMessage]


Completion: TypeAlias = CompletionV1 | CompletionV2 | CompletionV3
Generation: TypeAlias = GenerationV1 | GenerationV2 | GenerationV3
COMPLETION = cast("type[Completion]", Completion)
GENERATION = cast("type[Generation]", Generation)


class TokensConsumed(Struct, frozen=True):
    """Token counts of a completion."""

    input_tokens: int
    output_tokens: int
    max_output_tokens_used: bool
    context_tokens_sent: int
    context_tokens_used: int


class ModelReply(Struct, frozen=True):
    """The model that answered."""

    engine: str
    name: str
    lang: str
    tokens_consumption_metadata: TokensConsumed | None
    region: str | None


class Choice(Struct, frozen=True):
    """The suggestion."""

    text: str
    index: int = 0
    finish_reason: Literal["length"] = "length"


class Metadata(Struct, frozen=True):
    """The feature flags in effect."""

    enabled_feature_flags: tuple[str, ...]


class CodeReply(Struct, frozen=True):
    """The answer; `choices` holds one or none."""

    id: Literal["id"]
    model: ModelReply
    experiments: tuple[str, ...]
    object: Literal["text_completion"]
    created: int
    choices: tuple[Choice, ...]
    metadata: Metadata


REFUSALS = (402, 500, 501)
Encode: TypeAlias = Callable[[Suggestion, int], bytes]
Streamed: TypeAlias = Callable[[SuggestionStream, int], Response]
_encoder = msgspec.json.Encoder()


def completion_request(body: Completion) -> SuggestRequest:
    """A completion body as a request."""
    _check_model("completion", body)
    prompt = body.prompt if isinstance(body, CompletionV3) else None
    anthropic, file = body.model_provider == "anthropic", body.current_file
    return SuggestRequest(
        kind="completion",
        above=file.content_above_cursor,
        below=file.content_below_cursor,
        file_name=file.file_name,
        refusal="Unauthorized to access code completions",
        self_issued=True,
        editor_language=file.language_identifier or "",
        context=() if anthropic else _context(body),
        messages=_messages(prompt) if anthropic else (),
        wish=_wish("completion", body),
        streaming=bool(body.stream),
        counts=_counts(body),
    )


def generation_request(body: Generation) -> SuggestRequest:
    """A generation body as a request."""
    _check_model("generation", body)
    return SuggestRequest(
        kind="generation",
        above=body.current_file.content_above_cursor,
        below=body.current_file.content_below_cursor,
        file_name=body.current_file.file_name,
        refusal="Unauthorized to access code generations",
        editor_language=body.current_file.language_identifier or "",
        context=_context(body),
        messages=_messages(body.prompt) if isinstance(body, GenerationV3) else (),
        wish=_wish("generation", body),
        prompt_id=body.prompt_id or "",
        streaming=bool(body.stream),
        counts=_counts(body),
    )


def completion_reply(suggestion: Suggestion, now_s: int) -> bytes:
    """The body of a plain completion."""
    usage = suggestion.usage or Usage()
    tokens = TokensConsumed(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        max_output_tokens_used=suggestion.max_output_tokens_used,
        context_tokens_sent=suggestion.context_tokens_sent,
        context_tokens_used=suggestion.context_tokens_used,
    )
    return _reply(suggestion, tokens if suggestion.text else None, now_s)


def generation_reply(suggestion: Suggestion, now_s: int) -> bytes:
    """The body of a plain generation; it tells no token counts."""
    return _reply(suggestion, None, now_s)


def raw_text(stream: SuggestionStream, now_s: int) -> Response:  # noqa: ARG001 - as `Streamed`
    """The stream as text and nothing else."""
    return raw_text_stream(stream.text)


async def answer(
    request: Request,
    services: Services,
    shape: Callable[[bytes], SuggestRequest],
    encode: Encode,
    streamed: Streamed = raw_text,
) -> Response:
    """The answer to a request of any version: as it comes, or one body.

    `shape` reads the body; `encode` and `streamed` write the answer, given the time.
    """
    asked = shape(await read(request))
    exchange: Exchange = request.scope[EXCHANGE]
    exchange.fields += (
        ("code_suggestion_type", f"{asked.kind}s"),
        ("meta.feature_category", "code_suggestions"),
    )
    if asked.streaming:
        stream = await services.suggest.stream(asked, caller_of(request), client_of(request))
        exchange.fields.append(("enabled_feature_flags", stream.origin.flags))
        mark(exchange, asked.kind, stream.origin)
        return streamed(stream, int(exchange.wall_s()))
    suggestion = await services.suggest.whole(asked, caller_of(request), client_of(request))
    exchange.fields.append(("enabled_feature_flags", suggestion.origin.flags))
    mark(exchange, asked.kind, suggestion.origin)
    return Reply(encode(suggestion, int(exchange.wall_s())), [JSON])


def mark(exchange: Exchange, kind: Kind, origin: Origin) -> None:
    """Have the answer say by which id the suggestion can be judged, if a model was asked."""
    call_id = exchange.notes.call_id
    if call_id:
        told = suggestion_id(call_id, kind, origin).encode()
        exchange.extra_headers += ((b"x-suggestion-id", told),)


def routes(services: Services) -> list[Endpoint]:
    """Completions, their alias, and generations."""
    read_completion, read_generation = decoder(COMPLETION), decoder(GENERATION)

    def completion(raw: bytes) -> SuggestRequest:
        return completion_request(read_completion(raw))

    def generation(raw: bytes) -> SuggestRequest:
        return generation_request(read_generation(raw))

    def completions(request: Request) -> Awaitable[Response]:
        return answer(request, services, completion, completion_reply)

    def generations(request: Request) -> Awaitable[Response]:
        return answer(request, services, generation, generation_reply)

    told = (
        ("/v2/code/completions", "Complete code at the cursor", completions),
        ("/v2/completions", "Complete code at the cursor (alias)", completions),
        ("/v2/code/generations", "Generate code at the cursor", generations),
    )
    return [
        Endpoint(
            method="POST",
            path=path,
            handle=handle,
            summary=summary,
            body=COMPLETION if handle is completions else GENERATION,
            reply=CodeReply,
            stream_type="text/event-stream",
            scopes="`complete_code`" if handle is completions else "`generate_code`",
            models="`code_completions`" if handle is completions else "`code_generations`",
            refusals=REFUSALS,
        )
        for path, summary, handle in told
    ]


def _reply(suggestion: Suggestion, tokens: TokensConsumed | None, now_s: int) -> bytes:
    origin = suggestion.origin
    return _encoder.encode(
        CodeReply(
            id="id",
            model=ModelReply(origin.engine, origin.name, origin.language, tokens, origin.region),
            experiments=(),
            object="text_completion",
            created=now_s,
            choices=(Choice(suggestion.text),) if suggestion.text else (),
            metadata=Metadata(origin.flags),
        )
    )


def _check_model(kind: Literal["completion", "generation"], body: CodeBody) -> None:
    if body.model_name is not UNSET and body.model_provider is not None:
        check_name(kind, body.model_provider, body.model_name)


def _wish(kind: Kind, body: CodeBody) -> Wish:
    registered = kind == "generation" and body.prompt_id
    if not body.model_provider and not body.model_name and not registered:
        return ANY
    hint = ModelHint(
        provider=body.model_provider or "",
        name=body.model_name or "",
        endpoint=body.model_endpoint or "",
        api_key=body.model_api_key or "",
        identifier=body.model_identifier or "",
    )
    if registered:
        return wished_for_prompt(hint, lenient(body.model_metadata))
    return wished(kind, hint)


def _context(body: CodeBody) -> tuple[ContextItem, ...]:
    if not body.context:
        return ()
    return tuple(ContextItem(part.type, part.name, part.content) for part in body.context)


def _counts(body: CodeBody) -> tuple[EditorCount, ...]:
    if not body.telemetry:
        return ()
    return tuple(
        EditorCount(
            language=told.lang or "",
            model=told.model_name or "",
            shown=told.requests - max(0, told.errors),
            accepted=told.accepts,
            failed=told.errors,
        )
        for told in body.telemetry
    )


def _messages(prompt: list[PromptMessage] | None) -> tuple[Message, ...]:
    return tuple(Message(part.role, (Text(part.content),)) for part in prompt or ())
