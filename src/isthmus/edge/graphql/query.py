"""What may be asked: the fields of Query, and of what only they lead to.

Source: instance contract, sections 4.1 to 4.5.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from isthmus.core.accounts import Namespace, Project
from isthmus.core.errors import Invalid, NotFound
from isthmus.core.page import Page
from isthmus.core.records import RecordQuery
from isthmus.core.workflow import Workflow, WorkflowQuery
from isthmus.edge.graphql.event import Event
from isthmus.edge.graphql.gid import NAMESPACES, WORKFLOW, number
from isthmus.edge.graphql.inquiry import Ask, Resolver
from isthmus.edge.graphql.paging import connection, nothing, window
from isthmus.edge.graphql.refusal import NO_WORKFLOW, coded
from isthmus.edge.graphql.workflow import GROUPS
from isthmus.instance.accounts import require
from isthmus.instance.discovery import Offered
from isthmus.instance.metadata import CHAT_FEATURE

READ: Final = ("api", "read_api", "ai_workflows")
ASK_FEATURES: Final = (*READ, "ai_features")
"""Scopes of what an editor's features ask for before any workflow begins."""
MAX_EVENTS: Final = 20
MAX_NAMES: Final = 100
SEARCH_LIMIT_CHARS: Final = 1_000


def _open_to(
    scopes: tuple[str, ...], fields: Mapping[str, Resolver[None]]
) -> dict[str, Resolver[None]]:
    def guarded(resolve: Resolver[None]) -> Resolver[None]:
        def guard(source: None, ask: Ask) -> object:
            require(ask.inquiry.member, *scopes)
            return resolve(source, ask)

        return guard

    return {name: guarded(resolve) for name, resolve in fields.items()}


async def _project(_: None, ask: Ask) -> Project:
    return await ask.inquiry.instance.places.project(ask.inquiry.member, ask.args["fullPath"])


async def _namespace(_: None, ask: Ask) -> Namespace:
    return await ask.inquiry.instance.places.namespace(ask.inquiry.member, ask.args["fullPath"])


async def _models(_: None, ask: Ask) -> dict[str, object]:
    args = ask.args
    namespaces = [args[name] for name in ("rootNamespaceId", "namespaceId") if args.get(name)]
    if not namespaces and not args.get("projectId"):
        raise Invalid("Name a project or a namespace.")
    if args.get("projectId"):
        await ask.inquiry.project(number(args["projectId"], "Project"))
    for namespace in namespaces:
        await ask.inquiry.namespace(number(namespace, *NAMESPACES))
    offer = ask.inquiry.instance.discovery.offer(CHAT_FEATURE)
    return {
        "defaultModel": _model(offer.default),
        "selectableModels": [_model(offered) for offered in offer.selectable],
        "pinnedModel": _model(offer.pinned),
    }


def _model(offered: Offered | None) -> dict[str, object] | None:
    if offered is None:
        return None
    return {
        "name": offered.name,
        "ref": offered.ref,
        "modelProvider": offered.provider or None,
        "modelDescription": offered.description or None,
        "costIndicator": offered.cost or None,
    }


async def _flags(_: object, ask: Ask) -> list[dict[str, object]]:
    names: list[str] = list(dict.fromkeys(ask.args["names"]))
    if len(names) > MAX_NAMES:
        raise Invalid(f"At most {MAX_NAMES} flags can be asked for.")
    flags = await ask.inquiry.instance.flags.all()
    user = ask.inquiry.member.user
    return [
        {
            "name": name,
            "enabled": name in flags
            and flags[name].on(namespace_id=user.namespace_id, user_id=user.id),
        }
        for name in names
    ]


async def _workflows(_: None, ask: Ask) -> dict[str, object]:
    member, workflows, args = ask.inquiry.member, ask.inquiry.instance.workflows, ask.args
    if args.get("workflowId") is not None:
        try:
            found = (await workflows.own(member, str(number(args["workflowId"], WORKFLOW))),)
        except NotFound:
            found = ()
        return _page(found)
    wanted = window(args)
    oldest_first = args["sort"].upper() == "CREATED_ASC"
    query = WorkflowQuery(
        project_id=await _project_id(ask),
        **_narrowed(args),
        # The page before a cursor is the one behind it in the other order.
        oldest_first=oldest_first != wanted.backwards,
        after_id=wanted.edge,
        limit=wanted.limit,
    )
    page: Page[Workflow] = await workflows.page(member, query)
    beyond = wanted.edge is not None
    if wanted.backwards:
        return _page(page.items[::-1], earlier=page.more, later=beyond)
    return _page(page.items, earlier=beyond, later=page.more)


def _page(
    workflows: Sequence[Workflow], *, earlier: bool = False, later: bool = False
) -> dict[str, object]:
    marks = [workflow.workflow_id for workflow in workflows]
    return connection(workflows, marks, earlier=earlier, later=later)


async def _project_id(ask: Ask) -> int | None:
    path = ask.args.get("projectPath")
    if path is None:
        return None
    return (await ask.inquiry.instance.places.project(ask.inquiry.member, path)).id


def _narrowed(args: Mapping[str, Any]) -> dict[str, Any]:
    """What narrows a list, as a WorkflowQuery says it. Raises Invalid."""
    search = args.get("search") or ""
    lists = [args.get(name) or () for name in ("ids", "excludeTypes")]
    if len(search) > SEARCH_LIMIT_CHARS or any(len(each) > MAX_NAMES for each in lists):
        raise Invalid("The list is narrowed by too much.")
    environment = args.get("environment")
    return {
        "definitions": (args["type"],) if args.get("type") else (),
        "excluded": tuple(lists[1]),
        "ids": tuple(str(number(each, WORKFLOW)) for each in lists[0]),
        "environment": None if environment is None else environment.lower(),
        "statuses": tuple(sorted(GROUPS.get(args.get("statusGroup") or "", ()))),
        "search": search,
        "updated_after": _moment(args.get("updatedAfter")),
    }


def _moment(text: object) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text if isinstance(text, str) else "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid("`updatedAfter` is no time by ISO 8601.") from None


async def _events(_: None, ask: Ask) -> dict[str, object]:
    inquiry = ask.inquiry
    workflow_id = str(number(ask.args["workflowId"], WORKFLOW))
    wanted = window(ask.args, default=1, most=MAX_EVENTS)
    seen = int(wanted.edge or 0)
    if seen % wanted.limit:
        raise Invalid("Keep `first` as it is from page to page.")
    with coded(NO_WORKFLOW):
        workflow = await inquiry.instance.workflows.own(inquiry.member, workflow_id)
    number_of_page = seen // wanted.limit + 1
    query = RecordQuery(workflow_id, ns="", page=number_of_page, per_page=wanted.limit)
    page = await inquiry.instance.checkpoints.page(inquiry.member, query)
    for record in page.items:
        inquiry.charged(record)
    events = [Event(workflow, record) for record in page.items]
    last = seen + len(events)
    marks = map(str, range(seen + 1, last + 1))
    return connection(events, marks, earlier=seen > 0, later=last < page.total)


QUERY: Final[Mapping[str, Resolver[None]]] = {
    **_open_to(
        ASK_FEATURES,
        {
            "metadata": lambda _, _ask: {},
            "currentUser": lambda _, ask: ask.inquiry.member.user,
            "aiChatAvailableModels": _models,
            "aiFoundationalChatAgents": lambda _, _ask: nothing(),
        },
    ),
    **_open_to(
        READ,
        {
            "project": _project,
            "namespace": _namespace,
            "duoWorkflowWorkflows": _workflows,
            "duoWorkflowEvents": _events,
        },
    ),
}

METADATA: Final[Mapping[str, Resolver[object]]] = {
    "version": lambda _, ask: ask.inquiry.instance.settings.version,
    "featureFlags": _flags,
}
