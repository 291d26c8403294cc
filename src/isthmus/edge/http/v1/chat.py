"""`POST /v1/chat/{chat_invokable}`: the wire of the first chat.

Source: HTTP gateway contract, section 5.1.
"""

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.errors import FieldError, Invalid
from isthmus.core.messages import Message, ModelMetadata, Role, Text
from isthmus.edge.http import refusals
from isthmus.edge.http.auth import caller_of, client_of
from isthmus.edge.http.body import decoder, read
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.exchange import EXCHANGE, Exchange
from isthmus.edge.http.reply import JSON, Reply
from isthmus.edge.http.sse import raw_text_stream
from isthmus.edge.http.v1.prompts import texts
from isthmus.edge.services import Services
from isthmus.gateway.converse import SCOPES, ConverseRequest
from isthmus.routing.metadata import MetadataBody

Upto100: TypeAlias = Annotated[str, Meta(max_length=100)]
Stop: TypeAlias = Annotated[str, Meta(max_length=225)]
Claude: TypeAlias = Literal[
    "claude-sonnet-4-5-20250929",
    "claude-sonnet-4-5@20250929",
    "claude-sonnet-4-6",
    "claude-haiku-4-5-20251001",
]
SelfHosted: TypeAlias = Literal[
    "codegemma",
    "codellama",
    "codestral",
    "codestral-2501",
    "codestral-2508",
    "mistral",
    "mixtral",
    "deepseekcoder",
    "claude_3",
    "gpt",
    "qwen2p5-coder-7b",
    "llama3",
    "general",
]
_SELF_HOSTED = frozenset[str](get_args(SelfHosted))
_LITELLM = "litellm"


class ChatMessage(Struct, frozen=True):
    """One turn."""

    role: Role
    content: str


class ChatParams(Struct, frozen=True):
    """How the model is to write."""

    stop_sequences: Annotated[list[Stop], Meta(min_length=1, max_length=10)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens_to_sample: Annotated[int, Meta(ge=1, le=8192)] | None = None


class ChatPayload(Struct, frozen=True):
    """The conversation, and the model that is to go on with it."""

    content: (
        Annotated[str, Meta(max_length=400_000)]
        | Annotated[list[ChatMessage], Meta(min_length=1, max_length=100)]
    )
    provider: Literal["anthropic", "litellm"] | None = None
    model: Claude | SelfHosted | None = None
    params: ChatParams | None = None
    model_endpoint: str | None = None
    model_api_key: str | None = None
    model_identifier: str | None = None


class ChatMetadata(Struct, frozen=True):
    """Who made a component."""

    source: Upto100
    version: Upto100


class ChatComponent(Struct, frozen=True):
    """What is asked."""

    type: Upto100
    metadata: ChatMetadata
    payload: ChatPayload


class ChatBody(Struct, frozen=True):
    """Exactly one component."""

    prompt_components: Annotated[list[ChatComponent], Meta(min_length=1, max_length=1)]
    stream: bool | None = None


class ReplyMetadata(Struct, frozen=True):
    """Provider and model as the request named them, and when the answer was made."""

    provider: str | None
    model: str | None
    timestamp: int


class ChatReply(Struct, frozen=True):
    """The answer."""

    response: str
    metadata: ReplyMetadata


def converse_request(invokable: str, body: ChatBody) -> ConverseRequest:
    """The body as a request; what it leaves open has the contract's defaults. Raises Invalid."""
    payload = body.prompt_components[0].payload
    params = payload.params or ChatParams()
    content = payload.content
    return ConverseRequest(
        invokable=invokable,
        content=content.strip()
        if isinstance(content, str)
        else tuple(Message(one.role, (Text(one.content),)) for one in content),
        max_tokens=params.max_tokens_to_sample or 8192,
        temperature=0.2 if params.temperature is None else params.temperature,
        stop=tuple(params.stop_sequences or ("\n\nHuman", "Observation:")),
        model=payload.model or "",
        own_server=_own_server(payload),
        streaming=bool(body.stream),
    )


def _own_server(payload: ChatPayload) -> ModelMetadata | None:
    if payload.provider != _LITELLM and payload.model not in _SELF_HOSTED:
        return None
    told = {
        "provider": _LITELLM,
        "name": payload.model,
        "identifier": payload.model_identifier,
        "endpoint": payload.model_endpoint,
        "api_key": payload.model_api_key,
    }
    try:
        return msgspec.convert(told, MetadataBody).metadata()
    except msgspec.ValidationError as error:
        fault = FieldError("prompt_components[0].payload", str(error))
        raise Invalid("Validation error", (fault,)) from error


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module."""
    read_body = decoder(ChatBody)

    async def converse(request: Request) -> Response:
        exchange: Exchange = request.scope[EXCHANGE]
        exchange.refuse = refusals.chat
        body = read_body(await read(request))
        asked = converse_request(request.path_params["chat_invokable"], body)
        caller = caller_of(request)
        prepared = services.converse.prepare(asked, caller, client_of(request))
        exchange.fields += (
            ("meta.feature_category", "duo_chat"),
            ("meta.unit_primitive", prepared.ask.unit_primitive),
        )
        if asked.streaming:
            return raw_text_stream(texts(services.invoke.stream(prepared, caller)))
        told = await services.invoke.whole(prepared, caller)
        payload = body.prompt_components[0].payload
        metadata = ReplyMetadata(payload.provider, payload.model, int(exchange.wall_s()))
        return Reply(msgspec.json.encode(ChatReply(told.text, metadata)), [JSON])

    return [
        Endpoint(
            method="POST",
            path="/v1/chat/{chat_invokable}",
            handle=converse,
            summary="Go on with a conversation",
            body=ChatBody,
            reply=ChatReply,
            stream_type="text/event-stream",
            scopes="by `chat_invokable`, such as `duo_chat`",
            models="Anthropic, or the server named",
            stability="deprecated",
            refusals=(404, 500, 502, 504),
            choices={"chat_invokable": tuple(SCOPES)},
        )
    ]
