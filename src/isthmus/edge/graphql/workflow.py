"""Fields of a workflow. Source: instance contract, sections 2.3, 2.5, 4.2, 4.3 and 4.5."""

from collections.abc import Mapping
from typing import Final, cast

import msgspec

from isthmus.core import approval
from isthmus.core.accounts import Namespace, Project
from isthmus.core.approval import Match
from isthmus.core.records import RecordQuery
from isthmus.core.workflow import PRIVILEGES, WAITING, Status, ToolApproval, Workflow
from isthmus.edge.graphql.event import Event, event
from isthmus.edge.graphql.gid import CATALOG_ITEM_VERSION, WORKFLOW, gid
from isthmus.edge.graphql.inquiry import Ask, Resolver
from isthmus.edge.graphql.paging import nothing
from isthmus.edge.graphql.refusal import NO_ACCESS, coded

GROUPS: Final[Mapping[str, frozenset[Status]]] = {
    "ACTIVE": frozenset({Status.CREATED, Status.RUNNING}),
    "PAUSED": frozenset({Status.PAUSED}),
    "AWAITING_INPUT": WAITING,
    "COMPLETED": frozenset({Status.FINISHED}),
    "FAILED": frozenset({Status.FAILED}),
    "CANCELED": frozenset({Status.STOPPED}),
}
"""Group -> its statuses. Source: instance contract, section 2.2."""
_GROUP_OF = {status: group for group, statuses in GROUPS.items() for status in statuses}
_ALLOWED = {"readDuoWorkflow": True, "updateDuoWorkflow": True, "deleteDuoWorkflow": True}
_NO_MATCH = {"matched": False, "matchType": None, "matchedPattern": None}


async def _project(workflow: Workflow, ask: Ask) -> Project | None:
    if workflow.project_id is None:
        return None
    with coded(NO_ACCESS):
        return await ask.inquiry.project(workflow.project_id)


async def _namespace(workflow: Workflow, ask: Ask) -> Namespace | None:
    if workflow.namespace_id is None:
        return None
    with coded(NO_ACCESS):
        return await ask.inquiry.namespace(workflow.namespace_id)


async def _stalled(workflow: Workflow, ask: Ask) -> bool:
    return workflow.status != Status.CREATED and await ask.inquiry.latest(workflow) is None


async def _first(workflow: Workflow, ask: Ask) -> Event | None:
    record = await ask.inquiry.instance.checkpoints.first(workflow)
    return event(workflow, ask.inquiry.charged(record))


async def _latest(workflow: Workflow, ask: Ask) -> Event | None:
    ns = ask.args.get("checkpointNs")
    if not ns:
        return event(workflow, await ask.inquiry.latest(workflow))
    query = RecordQuery(workflow.workflow_id, ns=ns, per_page=1)
    page = await ask.inquiry.instance.checkpoints.page(ask.inquiry.member, query)
    return event(workflow, ask.inquiry.charged(next(iter(page.items), None)))


def _names(privileges: tuple[int, ...]) -> list[str]:
    return [PRIVILEGES[privilege] for privilege in privileges if privilege in PRIVILEGES]


def _member(text: str, key: str) -> str | None:
    """A member of a JSON object; none when the text is no such thing."""
    try:
        value: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    member = cast("dict[str, object]", value).get(key)
    return None if member is None else str(member)[:1024]


def _match(workflow: Workflow, ask: Ask) -> Mapping[str, object]:
    """Whether, and by what, a call was approved before; everything else means: ask the user."""
    tool, args = ask.args["toolName"], ask.args["toolCallArgs"]
    known = workflow.approvals.get(tool)
    if known is None or not ask.inquiry.instance.settings.tool_approval_for_session:
        return _NO_MATCH
    match approval.matches(known, tool, args):
        case Match.NO:
            return _NO_MATCH
        case Match.CALL:
            return {"matched": True, "matchType": "EXACT_HASH", "matchedPattern": None}
        case Match.PATTERN:
            found = (
                pattern
                for pattern in known.patterns
                if approval.matches(ToolApproval(patterns=(pattern,)), tool, args)
            )
            return {"matched": True, "matchType": "PATTERN", "matchedPattern": next(found, None)}


FIELDS: Final[Mapping[str, Resolver[Workflow]]] = {
    "id": lambda workflow, _: gid(WORKFLOW, workflow.workflow_id),
    # Nobody but its owner sees a workflow.
    "userId": lambda _workflow, ask: gid("User", ask.inquiry.member.user.id),
    "user": lambda _workflow, ask: ask.inquiry.member.user,
    "projectId": lambda workflow, _: gid("Project", workflow.project_id),
    "project": _project,
    "namespaceId": lambda workflow, _: gid("Group", workflow.namespace_id),
    "namespace": _namespace,
    "createdAt": lambda workflow, _: workflow.created_at.isoformat(),
    "updatedAt": lambda workflow, _: workflow.updated_at.isoformat(),
    "goal": lambda workflow, _: workflow.goal,
    "title": lambda workflow, _: workflow.title or None,
    "summary": lambda workflow, _: workflow.summary or None,
    "workflowDefinition": lambda workflow, _: workflow.definition,
    "environment": lambda workflow, _: workflow.terms.environment.upper() or None,
    "status": lambda workflow, _: workflow.status.upper(),
    "statusName": lambda workflow, _: workflow.status.value,
    "statusGroup": lambda workflow, _: _GROUP_OF[workflow.status],
    "humanStatus": lambda workflow, _: workflow.status.replace("_", " "),
    "archived": lambda workflow, ask: ask.inquiry.instance.workflows.archived(workflow),
    "stalled": _stalled,
    "agentPrivilegesNames": lambda workflow, _: _names(workflow.terms.privileges),
    "preApprovedAgentPrivilegesNames": lambda workflow, _: _names(workflow.terms.preapproved),
    "allowAgentToRequestUser": lambda workflow, _: workflow.terms.allow_agent_to_request_user,
    "mcpEnabled": lambda workflow, _: workflow.terms.mcp,
    "externalMcpBlocked": lambda _workflow, _: False,
    "webSearchEnabled": lambda workflow, _: workflow.terms.web_search,
    "incrementalCheckpointsEnabled": lambda workflow, _: workflow.terms.incremental_checkpoints,
    "aiCatalogItemVersionId": lambda workflow, _: gid(
        CATALOG_ITEM_VERSION, workflow.terms.catalog_item_version_id
    ),
    "agentName": lambda _workflow, _: None,
    "modelMetadataName": lambda workflow, _: _member(workflow.model, "name"),
    "modelMetadataIdentifier": lambda workflow, _: _member(workflow.model, "identifier"),
    "flowMetadataId": lambda workflow, _: _member(workflow.flow, "flow_id"),
    "flowMetadataVersion": lambda workflow, _: _member(workflow.flow, "flow_version"),
    "flowMetadataSchemaVersion": lambda workflow, _: _member(workflow.flow, "schema_version"),
    "firstCheckpoint": _first,
    "latestCheckpoint": _latest,
    "toolCallApprovals": lambda workflow, _: {
        tool: {"call_args": sorted(known.calls), "patterns": known.patterns}
        for tool, known in workflow.approvals.items()
    },
    "toolCallApproved": lambda workflow, ask: _match(workflow, ask)["matched"],
    "toolCallApprovalMatch": _match,
    "lastExecutorLogsUrl": lambda _workflow, _: None,
    "allExecutorLogsUrls": lambda _workflow, _: (),
    "workItemLinks": lambda _workflow, _: nothing(),
    "mergeRequestLinks": lambda _workflow, _: nothing(),
    "noteLinks": lambda _workflow, _: nothing(),
    "userPermissions": lambda _workflow, _: _ALLOWED,
}
