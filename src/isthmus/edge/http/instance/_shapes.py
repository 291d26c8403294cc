"""The Workflow object of the wire. Source: instance contract, section 1.2."""

import msgspec

from isthmus.core.workflow import PRIVILEGES, Workflow
from isthmus.edge.http.instance._entry import Visit
from isthmus.edge.http.reply import JSON, Headers, Reply
from isthmus.instance import jobs

FLAGS = b"x-gitlab-enabled-feature-flags"
_encode = msgspec.json.Encoder().encode


class WorkloadShape(msgspec.Struct, frozen=True):
    """The last run that a runner was given, and its log's address; nulls where there is none."""

    id: int | None = None
    message: str | None = None


class WorkflowShape(msgspec.Struct, frozen=True):
    """A workflow as its owner sees it."""

    id: int
    project_id: int | None
    namespace_id: int | None
    status: str
    agent_privileges: tuple[int, ...]
    agent_privileges_names: tuple[str, ...]
    pre_approved_agent_privileges: tuple[int, ...]
    pre_approved_agent_privileges_names: tuple[str, ...]
    workflow_definition: str
    summary: str | None
    title: str
    allow_agent_to_request_user: bool
    image: str | None
    environment: str | None
    ai_catalog_item_version_id: int | None
    workload: WorkloadShape
    mcp_enabled: bool
    incremental_checkpoints_enabled: bool
    gitlab_url: str


def shape(workflow: Workflow, url: str) -> WorkflowShape:
    """`url` is our own."""
    terms, run = workflow.terms, jobs.last(workflow).ref
    return WorkflowShape(
        id=int(workflow.workflow_id),
        project_id=workflow.project_id,
        namespace_id=workflow.namespace_id,
        status=workflow.status.value,
        agent_privileges=terms.privileges,
        agent_privileges_names=_names(terms.privileges),
        pre_approved_agent_privileges=terms.preapproved,
        pre_approved_agent_privileges_names=_names(terms.preapproved),
        workflow_definition=workflow.definition,
        summary=workflow.summary or None,
        title=workflow.title,
        allow_agent_to_request_user=terms.allow_agent_to_request_user,
        image=terms.image or None,
        environment=terms.environment or None,
        ai_catalog_item_version_id=terms.catalog_item_version_id,
        workload=WorkloadShape(run.number, run.url or None) if run else WorkloadShape(),
        mcp_enabled=terms.mcp,
        incremental_checkpoints_enabled=terms.incremental_checkpoints,
        gitlab_url=url,
    )


def reply(value: object, status: int = 200, headers: Headers | None = None) -> Reply:
    """A value as JSON."""
    return Reply(_encode(value), [JSON, *(headers or ())], status)


async def shown(visit: Visit, workflow: Workflow, status: int = 200) -> Reply:
    """A workflow, with the flags that its session is told of."""
    place = await visit.instance.workflows.place(workflow)
    names = await visit.instance.flags.forwarded(place, visit.member.user)
    flags = (FLAGS, ",".join(names).encode())
    return reply(shape(workflow, visit.url), status, [flags])


def _names(privileges: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(PRIVILEGES[one] for one in privileges if one in PRIVILEGES)
