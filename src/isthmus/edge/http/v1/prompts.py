"""`POST /v1/prompts/{prompt_id}`: a registered prompt; its answer is a bare text.

Source: HTTP gateway contract, section 6.1.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.messages import Delta
from isthmus.edge.http import refusals
from isthmus.edge.http.auth import caller_of, client_of
from isthmus.edge.http.body import decoder, read
from isthmus.edge.http.endpoint import Endpoint, Handle
from isthmus.edge.http.exchange import EXCHANGE, Exchange
from isthmus.edge.http.metadata import ABSENT, lenient
from isthmus.edge.http.reply import JSON, Reply
from isthmus.edge.http.sse import raw_text_stream
from isthmus.edge.services import Services
from isthmus.gateway.invoke import USUAL, Invocation, Prepared, Told

STREAM_TYPE = "text/event-stream"


class PromptBody(msgspec.Struct, frozen=True):
    """The template's variables, and which version of the prompt is run."""

    inputs: dict[str, object]
    prompt_version: str | None = None
    stream: bool | None = None
    model_metadata: msgspec.Raw = msgspec.field(default_factory=lambda: ABSENT)


@dataclass(frozen=True, slots=True)
class Shape:
    """What differs on the wire between the versions: how a whole answer and a stream are written.

    `reply` is what the whole answer is, for the document of this API.
    """

    path: str
    reply: type
    whole: Callable[[Told], bytes]
    stream: Callable[[AsyncGenerator[Delta, None], Prepared], Response]


def endpoint(services: Services, shape: Shape) -> Endpoint:
    """The route of one version."""
    return Endpoint(
        method="POST",
        path=shape.path,
        handle=_handler(services, shape),
        summary="Run a registered prompt",
        body=PromptBody,
        reply=shape.reply,
        stream_type=STREAM_TYPE,
    )


def _handler(services: Services, shape: Shape) -> Handle:
    read_body = decoder(PromptBody)
    invoke = services.invoke

    async def handle(request: Request) -> Response:
        exchange: Exchange = request.scope[EXCHANGE]
        exchange.refuse = refusals.prompts
        body = read_body(await read(request))
        asked = Invocation(
            prompt_id=request.path_params["prompt_id"],
            version=body.prompt_version or USUAL,
            inputs=body.inputs,
            model=lenient(body.model_metadata),
            streaming=bool(body.stream),
        )
        caller = caller_of(request)
        prepared = invoke.prepare(asked, caller, client_of(request))
        exchange.fields.append(("meta.unit_primitive", prepared.ask.unit_primitive))
        if asked.streaming:
            return shape.stream(invoke.stream(prepared, caller), prepared)
        return Reply(shape.whole(await invoke.whole(prepared, caller)), [JSON])

    return handle


async def texts(deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[str, None]:
    """What the answer says."""
    async with aclosing(deltas):
        async for delta in deltas:
            yield delta.text


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module."""
    shape = Shape(
        path="/v1/prompts/{prompt_id:path}",
        reply=str,
        whole=lambda told: msgspec.json.encode(told.text),
        stream=lambda deltas, _: raw_text_stream(texts(deltas)),
    )
    return [endpoint(services, shape)]
