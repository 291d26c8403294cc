"""Wire of a workflow's `events` and `audit_events`: messages between users and running flows.

Source: instance contract, sections 1.10 and 1.11.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct
from starlette.responses import Response

from isthmus.core.records import EventStatus, FlowEvent
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._entry import ONE, Route, Visit, endpoints
from isthmus.edge.http.instance._paging import Paging, headers
from isthmus.edge.http.instance._params import path_number, reader
from isthmus.edge.http.instance._shapes import reply
from isthmus.edge.services import Services

_Upto255 = Annotated[str, Meta(max_length=255)]


class EventBody(Struct, frozen=True):
    """A message."""

    event_type: Literal["pause", "resume", "stop", "message", "response", "require_input"]
    message: Annotated[str, Meta(max_length=16_384)]
    correlation_id: UUID | None = None


class EventShape(Struct, frozen=True):
    """A message as it is kept."""

    id: int
    correlation_id: str | None
    event_type: str
    event_status: str
    message: str


class MarkBody(Struct, frozen=True):
    """Whether a message has been read."""

    event_status: EventStatus


class AuditEvent(Struct, frozen=True):
    """Something that a session did, as a cloud event."""

    id: UUID
    type: Annotated[str, Meta(min_length=1, max_length=255)]
    source: Annotated[str, Meta(min_length=1, max_length=2_048)]
    time: datetime


class AuditBody(Struct, frozen=True):
    """A batch of them."""

    events: Annotated[tuple[AuditEvent, ...], Meta(min_length=1, max_length=1_000)]


_read_event = reader(EventBody)
_read_mark = reader(MarkBody)
_read_audit = reader(AuditBody)
_read_paging = reader(Paging)


async def _add(visit: Visit) -> Response:
    body = await _read_event(visit.request)
    workflow = await visit.workflow()
    correlation = "" if body.correlation_id is None else str(body.correlation_id)
    new = FlowEvent(workflow.workflow_id, body.event_type, body.message, correlation)
    return reply(_shape(await visit.instance.events.add(new)), 201)


async def _list_queued(visit: Visit) -> Response:
    paging = await _read_paging(visit.request)
    workflow_id = (await visit.workflow()).workflow_id
    found = await visit.instance.events.page(workflow_id, paging.page, paging.size)
    told = headers(visit, paging, found.total)
    return reply([_shape(event) for event in found.items], headers=told)


async def _mark(visit: Visit) -> Response:
    body = await _read_mark(visit.request)
    workflow_id = (await visit.workflow()).workflow_id
    number = path_number(visit.request, "event_id", "404 Event Not Found")
    return reply(_shape(await visit.instance.events.mark(workflow_id, number, body.event_status)))


async def _audit(visit: Visit) -> Response:
    await _read_audit(visit.request)
    await visit.workflow()
    return reply({}, 202)


ROUTES = (
    Route(
        method="POST",
        path=f"{ONE}/events",
        handle=_add,
        summary="Leave a message for a running flow.",
        scopes=("api", "ai_workflows"),
        body=EventBody,
        reply=EventShape,
        status=201,
    ),
    Route(
        method="GET",
        path=f"{ONE}/events",
        handle=_list_queued,
        summary="List the messages that nobody has read.",
        scopes=("api", "ai_workflows"),
    ),
    Route(
        method="PUT",
        path=f"{ONE}/events/{{event_id}}",
        handle=_mark,
        summary="Say that a message has been read.",
        scopes=("ai_workflows",),
        body=MarkBody,
        reply=EventShape,
    ),
    Route(
        method="POST",
        path=f"{ONE}/audit_events",
        handle=_audit,
        summary="Take what a session did, and keep nothing: sessions here tell it as facts.",
        scopes=("ai_workflows",),
        body=AuditBody,
        status=202,
    ),
)


def routes(_services: Services) -> list[Endpoint]:
    """The routes of a workflow's messages."""
    return endpoints(ROUTES)


def _shape(event: FlowEvent) -> EventShape:
    return EventShape(
        id=event.id,
        correlation_id=event.correlation_id or None,
        event_type=event.event_type,
        event_status=event.status,
        message=event.message,
    )
