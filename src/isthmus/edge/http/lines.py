"""Streams of JSON values, one a line."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from starlette.responses import Response

from isthmus.edge.http.sse import raw_text_stream

NDJSON = "application/x-ndjson; charset=utf-8"

_encode = msgspec.json.Encoder().encode


def line_stream(values: AsyncGenerator[msgspec.Struct, None], media_type: str = NDJSON) -> Response:
    """An answer of one line a value, as they come; otherwise as `raw_text_stream`."""
    return raw_text_stream(_lines(values), media_type)


async def _lines(values: AsyncGenerator[msgspec.Struct, None]) -> AsyncGenerator[str, None]:
    async with aclosing(values):
        async for value in values:
            yield f"{_encode(value).decode()}\n"
