"""`/v4` code suggestions: the requests and plain answers of the third version, streamed as events.

Source: HTTP gateway contract, section 4.8.
"""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response

from isthmus.edge.http.cut import CUTS, told
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.envelope import SuggestionBody
from isthmus.edge.http.events import EventStream, event
from isthmus.edge.http.v2.code import REFUSALS, answer
from isthmus.edge.http.v3.code import SuggestionReply, reply, shape
from isthmus.edge.services import Services
from isthmus.gateway.suggestion import Origin, SuggestionStream


def events(stream: SuggestionStream, now_s: int) -> Response:
    """A stream as events."""
    return EventStream(_events(stream, now_s))


async def _events(stream: SuggestionStream, now_s: int) -> AsyncGenerator[bytes, None]:
    async with aclosing(stream.text) as texts:
        yield event("stream_start", {"metadata": _metadata(stream.origin, now_s)})
        try:
            async for text in texts:
                choice = {"delta": {"content": text}, "index": 0}
                yield event("content_chunk", {"choices": [choice]})
        except CUTS as failure:
            yield event("error", {"error": told(failure)})
            raise
    yield event("stream_end", None)


def _metadata(origin: Origin, now_s: int) -> dict[str, object]:
    """Who answers is always the prompt."""
    return {
        "model": {"engine": "agent", "name": origin.prompt_name},
        "timestamp": now_s,
        "enabled_feature_flags": origin.flags,
        "region": origin.region,
    }


def routes(services: Services) -> list[Endpoint]:
    """Completions and generations, by component."""

    def suggestions(request: Request) -> Awaitable[Response]:
        return answer(request, services, shape, reply, events)

    return [
        Endpoint(
            method="POST",
            path="/v4/code/suggestions",
            handle=suggestions,
            summary="Complete or generate code at the cursor",
            body=SuggestionBody,
            reply=SuggestionReply,
            stream_type="text/event-stream",
            scopes="`complete_code` or `generate_code`",
            models="`code_completions`, `code_generations`",
            refusals=REFUSALS,
        )
    ]
