"""Wire of a workflow's `trace.jsonl`: what happened in it, a line each.

Source: instance contract, section 1.7.
"""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct
from starlette.responses import Response

from isthmus.core.errors import TooLarge
from isthmus.core.records import Record
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._entry import ONE, Route, Visit, endpoints
from isthmus.edge.http.instance._params import reader
from isthmus.edge.http.reply import Reply
from isthmus.edge.services import Services
from isthmus.instance import trace

LIMIT_BYTES = 25 * 1024 * 1024
NDJSON = "application/x-ndjson"
_LATEST = "latest"


class TraceParams(Struct, frozen=True):
    """All channels, or those that are safe to show; and of which thread, where there are some."""

    full: bool = False
    thread: Annotated[str, Meta(max_length=20)] = _LATEST


_read_params = reader(TraceParams)


async def _show(visit: Visit) -> Response:
    asked = await _read_params(visit.request)
    workflow = await visit.workflow()
    record = await visit.instance.checkpoints.latest(workflow)
    body = b""
    if _meant(record, asked.thread):
        checkpoint = b"{}" if record is None else record.checkpoint
        body = _within(trace.lines(workflow.goal, checkpoint, full=asked.full))
    return Reply(body, [(b"content-type", NDJSON.encode())])


ROUTES = (
    Route(
        method="GET",
        path=f"{ONE}/trace.jsonl",
        handle=_show,
        summary="Read what happened in a workflow, a JSON line each.",
        scopes=("api", "ai_workflows"),
        stream_type=NDJSON,
    ),
)


def routes(_services: Services) -> list[Endpoint]:
    """The one route of this module."""
    return endpoints(ROUTES)


def _meant(record: Record | None, thread: str) -> bool:
    if thread in {"", _LATEST}:
        return True
    return record is not None and thread == str(record.current_thread)


def _within(lines: Iterator[bytes]) -> bytes:
    found = bytearray()
    for line in lines:
        found += line
        if len(found) > LIMIT_BYTES:
            raise TooLarge("The trace is too large.", LIMIT_BYTES)
    return bytes(found)
