"""`POST /api/v4/code_suggestions/completions`: code suggestions through the instance.

The gateway is in this process: a suggestion is made as for a client that came to it by itself, and
counts against the same limit of its user. Source: instance contract, section 1.17.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.identity import ClientInfo
from isthmus.core.messages import ContextItem
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.exchange import exchange_of
from isthmus.edge.http.instance._params import reader
from isthmus.edge.http.membership import COMPLETIONS, instance_of, member_of
from isthmus.edge.http.reply import JSON, Reply
from isthmus.edge.http.v2.code import (
    CodeReply,
    completion_reply,
    generation_reply,
    mark,
    raw_text,
)
from isthmus.edge.services import Services
from isthmus.gateway.suggestion import SuggestRequest
from isthmus.instance.accounts import require
from isthmus.instance.broker import caller_of, headers_of

CONTENT_LIMIT_CHARS = 400_000
_Content = Annotated[str, Meta(max_length=CONTENT_LIMIT_CHARS)]
_Name = Annotated[str, Meta(min_length=1, max_length=255)]


class OpenFile(Struct, frozen=True):
    """The file with the cursor."""

    file_name: _Name
    content_above_cursor: _Content
    content_below_cursor: _Content | None = None


class NearFile(Struct, frozen=True):
    """A piece of another file."""

    type: Literal["file", "snippet"]
    name: _Name
    content: _Content


class SuggestionBody(Struct, frozen=True):
    """A request for code at the cursor."""

    current_file: OpenFile
    intent: Literal["completion", "generation"] | None = None
    generation_type: Literal["comment", "small_file", "empty_function"] | None = None
    stream: bool | None = None
    project_path: Annotated[str, Meta(max_length=1_024)] | None = None
    user_instruction: Annotated[str, Meta(max_length=10_000)] | None = None
    context: Annotated[list[NearFile], Meta(max_length=100)] | None = None


_read = reader(SuggestionBody)


def suggestion_request(body: SuggestionBody) -> SuggestRequest:
    """The body as a request; without an intent, one that says what to generate asks for that."""
    told = body.generation_type or body.user_instruction
    kind = body.intent or ("generation" if told else "completion")
    file = body.current_file
    return SuggestRequest(
        kind=kind,
        above=file.content_above_cursor,
        below=file.content_below_cursor or "",
        file_name=file.file_name,
        refusal="Unauthorized to access code suggestions",
        context=tuple(
            ContextItem(near.type, near.name, near.content) for near in body.context or ()
        ),
        variables={"user_instruction": body.user_instruction or ""} if kind == "generation" else {},
        streaming=bool(body.stream),
    )


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module."""

    async def suggest(request: Request) -> Response:
        member, identity = member_of(request), instance_of(request).broker.identity
        require(member, "api", "ai_features")
        asked = suggestion_request(await _read(request))
        caller, exchange = caller_of(member, identity), exchange_of(request.scope)
        client = ClientInfo(dict(exchange.headers) | headers_of(member, identity))
        exchange.fields.append(("code_suggestion_type", f"{asked.kind}s"))
        now_s = int(exchange.wall_s())
        if asked.streaming:
            stream = await services.suggest.stream(asked, caller, client)
            mark(exchange, asked.kind, stream.origin)
            return raw_text(stream, now_s)
        suggestion = await services.suggest.whole(asked, caller, client)
        mark(exchange, asked.kind, suggestion.origin)
        encode = completion_reply if asked.kind == "completion" else generation_reply
        return Reply(encode(suggestion, now_s), [JSON])

    return [
        Endpoint(
            method="POST",
            path=COMPLETIONS,
            handle=suggest,
            summary="Complete or generate code at the cursor.",
            body=SuggestionBody,
            reply=CodeReply,
            stream_type="text/event-stream",
            scopes="`api` or `ai_features`",
            models="`code_completions` or `code_generations`",
        )
    ]
