"""What may be changed: the fields of Mutation. Source: instance contract, section 4.4."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from isthmus.core.errors import Conflict, Forbidden, Invalid, Rejected
from isthmus.core.workflow import Terms, Workflow
from isthmus.edge.graphql.gid import NAMESPACES, WORKFLOW, number, tail
from isthmus.edge.graphql.inquiry import Ask, Inquiry, Resolver
from isthmus.edge.graphql.refusal import NO_ACCESS, NO_NAMESPACE, NO_WORKFLOW, coded
from isthmus.instance.accounts import require
from isthmus.instance.workflows import Order

Input: TypeAlias = Mapping[str, Any]
Change: TypeAlias = Callable[[Inquiry, Input], Awaitable[dict[str, object]]]


async def _create(inquiry: Inquiry, given: Input) -> dict[str, object]:
    project, namespace = given.get("projectId"), given.get("namespaceId")
    order = Order(
        goal=given.get("goal") or "",
        definition=given.get("workflowDefinition") or Order().definition,
        project=None if project is None else number(project, "Project"),
        namespace=None if namespace is None else number(namespace, *NAMESPACES),
        terms=_terms(given),
    )
    with coded(NO_ACCESS), coded(NO_NAMESPACE, Rejected):
        return _changed(await inquiry.instance.workflows.create(inquiry.member, order))


def _terms(given: Input) -> Terms:
    own = Terms()
    asks, searches = given.get("allowAgentToRequestUser"), given.get("webSearchEnabled")
    return Terms(
        privileges=_privileges(given, "agentPrivileges", own.privileges),
        preapproved=_privileges(given, "preApprovedAgentPrivileges", own.preapproved),
        allow_agent_to_request_user=own.allow_agent_to_request_user if asks is None else asks,
        environment=(given.get("environment") or "").lower(),
        issue_id=tail(given.get("issueId")),
        merge_request_id=tail(given.get("mergeRequestId")),
        catalog_item_version_id=tail(given.get("aiCatalogItemVersionId")),
        web_search=bool(searches),
    )


async def _delete(inquiry: Inquiry, given: Input) -> dict[str, object]:
    with coded(NO_WORKFLOW):
        await inquiry.instance.runs.delete(inquiry.member, _id(given))
    return {"success": True, "errors": ()}


async def _approve(inquiry: Inquiry, given: Input) -> dict[str, object]:
    with coded(NO_WORKFLOW):
        changed = await inquiry.instance.workflows.approve_calls(
            inquiry.member,
            _id(given),
            given["toolName"],
            args=given.get("toolCallArgs") or "",
            pattern=given.get("pattern") or "",
        )
    return _changed(changed)


async def _set_privileges(inquiry: Inquiry, given: Input) -> dict[str, object]:
    workflows = inquiry.instance.workflows
    with coded(NO_WORKFLOW):
        terms = (await workflows.own(inquiry.member, _id(given))).terms
        privileges = _privileges(given, "agentPrivileges", terms.privileges)
        preapproved = _privileges(given, "preApprovedAgentPrivileges", terms.preapproved)
        return _changed(
            await workflows.set_privileges(inquiry.member, _id(given), privileges, preapproved)
        )


async def _set_web_search(inquiry: Inquiry, given: Input) -> dict[str, object]:
    on: bool = given["webSearchEnabled"]
    with coded(NO_WORKFLOW):
        return _changed(
            await inquiry.instance.workflows.set_web_search(inquiry.member, _id(given), on=on)
        )


def _id(given: Input) -> str:
    return str(number(given["workflowId"], WORKFLOW))


def _privileges(given: Input, name: str, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    wanted = given.get(name)
    return otherwise if wanted is None else tuple(wanted)


def _changed(workflow: Workflow) -> dict[str, object]:
    return {"workflow": workflow, "errors": ()}


def _by_owner(change: Change) -> Resolver[None]:
    """Owners change their workflows; sessions, which may act for a model, change none.

    What does not fit is an answer, with its reasons in `errors`.
    """

    async def resolve(_: None, ask: Ask) -> dict[str, object]:
        member = ask.inquiry.member
        require(member, "api")
        if member.through_relay:
            raise Forbidden("A session cannot do this.")
        try:
            return await change(ask.inquiry, ask.args["input"])
        except (Invalid, Rejected, Conflict, Forbidden) as failure:
            return {"workflow": None, "success": False, "errors": [failure.detail]}

    return resolve


MUTATION: Final[Mapping[str, Resolver[None]]] = {
    "aiDuoWorkflowCreate": _by_owner(_create),
    "deleteDuoWorkflowsWorkflow": _by_owner(_delete),
    "updateDuoWorkflowToolCallApprovals": _by_owner(_approve),
    "updateDuoWorkflowAgentPrivileges": _by_owner(_set_privileges),
    "updateDuoWorkflowWebSearch": _by_owner(_set_web_search),
}
