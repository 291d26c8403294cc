"""`POST /v2/prompts/{prompt_id}`: a registered prompt; its answer is told with its tokens.

Source: HTTP gateway contract, section 6.1.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.responses import Response

from isthmus.core.messages import Delta, ModelChoice, Usage
from isthmus.edge.http.cut import CUTS, told
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.lines import line_stream
from isthmus.edge.http.sse import EVENT_STREAM
from isthmus.edge.http.v1.prompts import Shape, endpoint
from isthmus.edge.services import Services
from isthmus.gateway.invoke import Prepared, Told, model_name


class Tokens(Struct, frozen=True):
    """Tokens of one call."""

    input_tokens: int
    output_tokens: int


class PromptReply(Struct, frozen=True):
    """An answer, or a line of one. `usage` says what each model took, where that is known."""

    content: str
    usage: dict[str, Tokens] | UnsetType = UNSET


class PromptCut(Struct, frozen=True):
    """The last line of an answer that a limit or a guard of ours cut."""

    error: dict[str, str]


def tokens(model: str, usage: Usage) -> dict[str, Tokens]:
    """The tokens as replies name them."""
    return {model: Tokens(usage.input_tokens, usage.output_tokens)}


def _whole(told: Told) -> bytes:
    usage = UNSET if told.usage is None else tokens(told.model, told.usage)
    return msgspec.json.encode(PromptReply(told.text, usage))


def _stream(deltas: AsyncGenerator[Delta, None], prepared: Prepared) -> Response:
    return line_stream(_lines(deltas, prepared.choice), EVENT_STREAM)


async def _lines(
    deltas: AsyncGenerator[Delta, None], choice: ModelChoice
) -> AsyncGenerator[PromptReply | PromptCut, None]:
    """A line a text; the tokens stand on the last one, as counts before the end are not final."""
    usage: Usage | None = None
    begun = False
    async with aclosing(deltas):
        try:
            async for delta in deltas:
                usage, choice = delta.usage or usage, delta.choice or choice
                if delta.text:
                    begun = True
                    yield PromptReply(delta.text)
        except CUTS as failure:
            if begun:
                yield PromptCut(told(failure))
            raise
    if usage is not None:
        yield PromptReply("", tokens(model_name(choice), usage))


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module."""
    shape = Shape("/v2/prompts/{prompt_id:path}", PromptReply, _whole, _stream)
    return [endpoint(services, shape)]
