"""`POST /api/v4/chat/completions`: one question, one answer. Behind the flag `access_rest_chat`.

What the caller looks at in the instance (`resource_type` and its kin) is not looked up: this one
has no issues or merge requests. Source: instance contract, section 1.18.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.errors import NotFound
from isthmus.core.identity import ClientInfo
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.exchange import exchange_of
from isthmus.edge.http.instance._answer import answer
from isthmus.edge.http.instance._params import reader
from isthmus.edge.http.membership import instance_of, member_of
from isthmus.edge.services import Services
from isthmus.gateway.invoke import Invocation
from isthmus.instance.accounts import require
from isthmus.instance.broker import caller_of, headers_of

FLAG = "access_rest_chat"
PROMPT = "chat/agent"
_Content = Annotated[str, Meta(max_length=400_000)]


class ChatFile(Struct, frozen=True):
    """The file that the user has open."""

    file_name: Annotated[str, Meta(max_length=1_024)] = ""
    content_above_cursor: _Content | None = None
    content_below_cursor: _Content | None = None
    selected_text: _Content | None = None


class ChatContext(Struct, frozen=True):
    """Something else that belongs to the question."""

    category: Annotated[str, Meta(max_length=255)]
    content: _Content
    id: Annotated[str, Meta(max_length=1_024)] = ""


class QuestionBody(Struct, frozen=True):
    """A question, and what it is about."""

    content: Annotated[str, Meta(min_length=1, max_length=1_000)]
    current_file: ChatFile | None = None
    additional_context: Annotated[list[ChatContext], Meta(max_length=100)] | None = None


_read = reader(QuestionBody)


def question(body: QuestionBody) -> dict[str, object]:
    """The variables of the prompt."""
    inputs: dict[str, object] = {"question": body.content}
    if body.current_file is not None:
        file = body.current_file
        around = (file.content_above_cursor or "") + (file.content_below_cursor or "")
        inputs["current_file"] = {
            "file_path": file.file_name,
            "data": file.selected_text or around,
        }
    items = body.additional_context or ()
    inputs["additional_context"] = [msgspec.structs.asdict(item) for item in items]
    return inputs


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module."""

    async def ask(request: Request) -> Response:
        member, instance = member_of(request), instance_of(request)
        require(member, "api", "ai_features")
        if not await instance.flags.on(FLAG, user=member.user):
            raise NotFound("404 Not Found")
        body = await _read(request)
        identity = instance.broker.identity
        caller = caller_of(member, identity)
        said = exchange_of(request.scope).headers
        client = ClientInfo(dict(said) | headers_of(member, identity))
        wanted = Invocation(PROMPT, inputs=question(body))
        prepared = services.invoke.prepare(wanted, caller, client)
        return answer((await services.invoke.whole(prepared, caller)).text, 201)

    return [
        Endpoint(
            method="POST",
            path="/api/v4/chat/completions",
            handle=ask,
            summary="Answer a question.",
            body=QuestionBody,
            reply=str,
            scopes="`api` or `ai_features`",
            models="`duo_chat`",
            status=201,
        )
    ]
