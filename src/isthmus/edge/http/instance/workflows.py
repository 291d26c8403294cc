"""Wire of `/ai/duo_workflows/workflows`: create, read, move and resume records.

Source: instance contract, sections 1.2 and 1.4 to 1.6.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace
from starlette.responses import JSONResponse, Response

from isthmus.core.errors import Invalid, NotFound, Rejected, Unavailable
from isthmus.core.workflow import DEFAULT_PRIVILEGES, Terms
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._entry import ONE, ROOT, Route, Visit, endpoints
from isthmus.edge.http.instance._params import reader
from isthmus.edge.http.instance._shapes import WorkflowShape, reply, shape, shown
from isthmus.edge.services import Services
from isthmus.instance.jobs import Extra
from isthmus.instance.workflows import Order

_Upto2000 = Annotated[str, Meta(max_length=2_000)]
_Number = Annotated[int, Meta(ge=1, le=2**53)]
_Privileges = Annotated[tuple[int, ...], Meta(max_length=100)]
DEFINITION = "software_development"
SUBFLOWS = "agentic_foundational_flow_tool"


class ContextItem(Struct, frozen=True, rename="pascal"):
    """Something a run should know; `Content` is JSON text, `Metadata` that or an object."""

    category: Annotated[str, Meta(max_length=255)]
    content: Annotated[str, Meta(max_length=1_000_000)]
    metadata: object = "{}"


class NewWorkflowBody(Struct, frozen=True, kw_only=True):
    """A workflow that is asked for; without a place it goes to its owner's own namespace."""

    project_id: str | int | None = None
    namespace_id: str | int | None = None
    goal: Annotated[str, Meta(max_length=16_384)] | None = None
    workflow_definition: Annotated[str, Meta(max_length=255)] | None = None
    agent_privileges: _Privileges | None = None
    pre_approved_agent_privileges: _Privileges | None = None
    allow_agent_to_request_user: bool | None = None
    environment: Literal["ide", "web", "chat_partial", "chat", "ambient", "external"] | None = None
    start_workflow: bool | None = None
    image: Annotated[str, Meta(max_length=2_048)] | None = None
    source_branch: Annotated[str, Meta(max_length=1_024)] | None = None
    shallow_clone: bool | None = None
    additional_context: Annotated[tuple[ContextItem, ...], Meta(max_length=100)] | None = None
    ai_catalog_item_consumer_id: _Number | None = None
    ai_catalog_item_version_id: _Number | None = None
    issue_id: _Number | None = None
    merge_request_id: _Number | None = None
    source: (
        Literal[
            "merge_request_code_conflict",
            "merge_request_dependency_bump",
            "merge_request_fix_pipeline",
            "merge_request_resolve_discussion",
            "work_item_to_merge_request",
            "fix_pipeline",
            "convert_platform_ci_pipeline",
        ]
        | None
    ) = None


class StatusBody(Struct, frozen=True):
    """What happened to a workflow."""

    status_event: str


class MovedShape(Struct, frozen=True):
    """The workflow after it."""

    workflow: WorkflowShape


class ResumeBody(Struct, frozen=True):
    """What its owner says to a run that waits."""

    human_approval: bool
    human_message: _Upto2000 | None = None


_read_new = reader(NewWorkflowBody)
_read_status = reader(StatusBody)
_read_resume = reader(ResumeBody)


async def _create(visit: Visit) -> Response:
    return await _created(visit, await _read_new(visit.request))


async def _create_below(visit: Visit) -> Response:
    """Like `_create`, for a session: it cannot grant more than the default."""
    place = await visit.instance.places.place(visit.member)
    if not await visit.instance.flags.on(SUBFLOWS, place, visit.member.user):
        raise NotFound("404 Not Found")
    body = await _read_new(visit.request)
    plain = replace(body, agent_privileges=None, pre_approved_agent_privileges=None)
    return await _created(visit, plain)


async def _read(visit: Visit) -> Response:
    return await shown(visit, await visit.workflow())


async def _move(visit: Visit) -> Response:
    event = (await _read_status(visit.request)).status_event
    moved = await visit.instance.runs.move(visit.member, visit.workflow_id, event)
    return reply(MovedShape(shape(moved.workflow, visit.url)))


async def _resume(visit: Visit) -> Response:
    body = await _read_resume(visit.request)
    resumed = await visit.instance.runs.resume(
        visit.member,
        visit.workflow_id,
        approved=body.human_approval,
        message=body.human_message or "",
    )
    return await shown(visit, resumed, 201)


ROUTES = (
    Route(
        method="POST",
        path=f"{ROOT}/workflows",
        handle=_create,
        summary="Create a workflow, and start it where a runner is to carry it out.",
        scopes=("api",),
        body=NewWorkflowBody,
        reply=WorkflowShape,
        status=201,
    ),
    Route(
        method="POST",
        path=f"{ROOT}/agent_workflows",
        handle=_create_below,
        summary="Create a workflow for a session that hands work on.",
        scopes=("ai_workflows",),
        body=NewWorkflowBody,
        reply=WorkflowShape,
        status=201,
    ),
    Route(
        method="GET",
        path=ONE,
        handle=_read,
        summary="Read a workflow.",
        scopes=("api", "ai_workflows"),
        relayed=True,
        reply=WorkflowShape,
    ),
    Route(
        method="PATCH",
        path=ONE,
        handle=_move,
        summary="Say what happened to a workflow.",
        scopes=("api", "ai_workflows"),
        body=StatusBody,
        reply=MovedShape,
    ),
    Route(
        method="POST",
        path=f"{ONE}/resume",
        handle=_resume,
        summary="Let a runner go on with a workflow that waits.",
        scopes=("api",),
        body=ResumeBody,
        reply=WorkflowShape,
        status=201,
    ),
)


def routes(_services: Services) -> list[Endpoint]:
    """The routes of a record."""
    return endpoints(ROUTES)


async def _created(visit: Visit, body: NewWorkflowBody) -> Response:
    if body.ai_catalog_item_consumer_id is not None:
        if body.project_id in {None, ""}:
            raise Rejected("A flow of the catalogue needs a project.")
        raise NotFound("404 Item Consumer Not Found")
    order = Order(
        goal=body.goal or "",
        definition=body.workflow_definition or DEFINITION,
        project=body.project_id,
        namespace=body.namespace_id,
        terms=_terms(body),
    )
    workflow = await visit.instance.workflows.create(visit.member, order)
    if not body.start_workflow:
        return await shown(visit, workflow, 201)
    context = tuple(map(_item, body.additional_context or ()))
    extra = Extra(context=context, shallow=body.shallow_clone is not False)
    try:
        started = await visit.instance.runs.start(visit.member, workflow, extra)
    except (Invalid, Rejected, Unavailable) as failure:
        return JSONResponse({"message": failure.detail}, 422)
    return await shown(visit, started, 201)


def _item(item: ContextItem) -> dict[str, str]:
    told = item.metadata
    metadata = told if isinstance(told, str) else msgspec.json.encode(told).decode()
    return {"Category": item.category, "Content": item.content, "Metadata": metadata}


def _terms(body: NewWorkflowBody) -> Terms:
    granted = body.agent_privileges
    return Terms(
        privileges=DEFAULT_PRIVILEGES if granted is None else tuple(dict.fromkeys(granted)),
        preapproved=tuple(dict.fromkeys(body.pre_approved_agent_privileges or ())),
        allow_agent_to_request_user=body.allow_agent_to_request_user is not False,
        environment=body.environment or "",
        image=body.image or "",
        source_branch=body.source_branch or "",
        issue_id=body.issue_id,
        merge_request_id=body.merge_request_id,
        catalog_item_version_id=body.ai_catalog_item_version_id,
    )
