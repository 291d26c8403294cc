"""A session's record at its instance: the query for it, and what the answer says. Pure.

Source: agent-platform contract, sections 6.2 and 6.6; instance contract, section 4.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec

from isthmus.core.site import Site
from isthmus.core.workflow import PRIVILEGES, Status, Terms, Workflow
from isthmus.platform.versions import at_least

_NUMBERS: Final = {name: number for number, name in PRIVILEGES.items()}
_STATUSES: Final = frozenset(Status)
_BRANCH: Final = "/-/tree/"
_ROOT: Final = "duoWorkflowWorkflows"
_PROJECT: Final = (
    "id name description httpUrlToRepo webUrl languages { name share } "
    "statisticsDetailsPaths { repository }"
)
_PLACE: Final = "id name description webUrl"
_SETTINGS: Final = "aiSettings { promptInjectionProtectionLevel }"
_OLDEST: Final = (18, 2, 0)
_FIELDS: Final[tuple[tuple[tuple[int, int, int], Mapping[str, str]], ...]] = (
    (
        _OLDEST,
        {
            "": "statusName projectId agentPrivilegesNames preApprovedAgentPrivilegesNames "
            "mcpEnabled allowAgentToRequestUser",
            "project": _PROJECT,
            "firstCheckpoint": "checkpoint",
        },
    ),
    (
        (18, 3, 0),
        {
            "": "namespaceId archived stalled",
            "project": "duoContextExclusionSettings { exclusionRules }",
            "namespace": _PLACE,
        },
    ),
    (
        (18, 8, 0),
        {
            "project": f"namespace {{ {_SETTINGS} }}",
            "namespace": _SETTINGS,
            "firstCheckpoint": "",
            "latestCheckpoint": "threadTs parentTs metadata checkpoint",
        },
    ),
    ((19, 0, 0), {"latestCheckpoint": "threadTs parentTs metadata compressedCheckpoint"}),
    (
        (19, 2, 0),
        {
            "": "incrementalCheckpointsEnabled",
            "project": "duoWorkflowStatusCheck "
            "{ foundationalFlowsEnabled enabledFoundationalFlows }",
        },
    ),
    ((19, 3, 0), {"": "webSearchEnabled"}),
)
"""From an instance's version on -> what it knows more: fields of the record, and of its parts.

A checkpoint's fields replace the older ones; an empty text takes them away.
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A checkpoint as an instance sends it; `blob_group` is None where it did not say."""

    thread_ts: str
    parent_ts: str | None
    metadata: Mapping[str, Any]
    checkpoint: Mapping[str, Any] | str
    """The object, or base64 of the same deflated."""
    writes: tuple[Mapping[str, Any], ...] = ()
    blob_group: int | None = None
    ns: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What the instance says of a session.

    `latest` is its newest checkpoint; None means that there is none, unless it is `elsewhere`.
    `incremental`: blobs are wanted with each checkpoint.
    """

    workflow: Workflow
    latest: Snapshot | None = None
    elsewhere: bool = False
    incremental: bool = False


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Level(msgspec.Struct, frozen=True, rename="camel"):
    prompt_injection_protection_level: str | None = None


class _Namespace(msgspec.Struct, frozen=True, rename="camel"):
    id: str = ""
    name: str | None = None
    description: str | None = None
    web_url: str | None = None
    ai_settings: _Level | None = None


class _Paths(msgspec.Struct, frozen=True):
    repository: str | None = None


class _Exclusions(msgspec.Struct, frozen=True, rename="camel"):
    exclusion_rules: tuple[str, ...] | None = None


class _FlowsAllowed(msgspec.Struct, frozen=True, rename="camel"):
    foundational_flows_enabled: bool | None = None
    enabled_foundational_flows: tuple[str, ...] | None = None


class _Project(msgspec.Struct, frozen=True, rename="camel"):
    id: str = ""
    name: str | None = None
    description: str | None = None
    http_url_to_repo: str | None = None
    web_url: str | None = None
    languages: tuple[_Named, ...] | None = None
    statistics_details_paths: _Paths | None = None
    duo_context_exclusion_settings: _Exclusions | None = None
    duo_workflow_status_check: _FlowsAllowed | None = None
    namespace: _Namespace | None = None


class _Checkpoint(msgspec.Struct, frozen=True, rename="camel"):
    thread_ts: str = ""
    parent_ts: str | None = None
    metadata: str | dict[str, Any] | None = None
    checkpoint: str | dict[str, Any] | None = None
    compressed_checkpoint: str | None = None


class _Node(msgspec.Struct, frozen=True, rename="camel"):
    status_name: str
    project_id: str | None = None
    project: _Project | None = None
    namespace_id: str | None = None
    namespace: _Namespace | None = None
    agent_privileges_names: tuple[str, ...] | None = None
    pre_approved_agent_privileges_names: tuple[str, ...] | None = None
    mcp_enabled: bool | None = None
    allow_agent_to_request_user: bool | None = None
    archived: bool | None = None
    stalled: bool | None = None
    first_checkpoint: _Checkpoint | None = None
    latest_checkpoint: _Checkpoint | None = None
    incremental_checkpoints_enabled: bool | None = None
    web_search_enabled: bool | None = None


def query(version: str) -> str:
    """The query that an instance of this version understands whole."""
    parts: dict[str, str] = {}
    for since, added in _FIELDS:
        if since != _OLDEST and not at_least(version, since):
            break
        for name, fields in added.items():
            whole = name.endswith("Checkpoint") or name not in parts
            parts[name] = fields if whole else f"{parts[name]} {fields}"
    below = " ".join(f"{name} {{ {text} }}" for name, text in parts.items() if name and text)
    return _asking("", f"{parts['']} {below}")


APPROVAL_FIELD: Final = "toolCallApproved"


def approval_query() -> str:
    """Whether the owner allowed a call for the rest of the session."""
    asked = f"{APPROVAL_FIELD}(toolName: $toolName, toolCallArgs: $toolCallArgs)"
    return _asking(", $toolName: String!, $toolCallArgs: String!", asked)


def variables(workflow_id: str) -> dict[str, object]:
    """The variable that names a workflow."""
    return {"workflowId": f"gid://gitlab/Ai::DuoWorkflows::Workflow/{workflow_id}"}


def nodes(data: Mapping[str, Any]) -> list[Any]:
    """The workflows in an answer: one, or none."""
    root = data.get(_ROOT)
    found = cast("dict[str, Any]", root).get("nodes") if isinstance(root, dict) else None
    return cast("list[Any]", found) if isinstance(found, list) else []


def found_in(node: object, blank: Workflow) -> Found:
    """What the answer says; `blank` is the record with what only the session knows.

    Raises ValueError when it is not what this query is answered with.
    """
    try:
        told = msgspec.convert(node, _Node)
    except msgspec.ValidationError as error:
        raise ValueError(f"the workflow cannot be read: {error}") from error
    if told.status_name not in _STATUSES:
        raise ValueError("the workflow is in a status that is not known")
    latest, first = told.latest_checkpoint, told.first_checkpoint
    return Found(
        workflow=_workflow(told, blank),
        latest=None if latest is None else _snapshot(latest),
        elsewhere=latest is None and first is not None,
        incremental=bool(told.incremental_checkpoints_enabled),
    )


def blank(workflow_id: str, definition: str, owner: str) -> Workflow:
    """A record of which nothing is known yet."""
    never = datetime.fromtimestamp(0, UTC)
    return Workflow(workflow_id, definition, "", owner, Status.CREATED, "", never, never)


def _asking(more_variables: str, fields: str) -> str:
    return (
        f"query sessionRecord($workflowId: AiDuoWorkflowsWorkflowID!{more_variables}) "
        f"{{ {_ROOT}(workflowId: $workflowId) {{ nodes {{ {fields} }} }} }}"
    )


def _closed(told: _Node) -> str:
    if told.archived:
        return "This session is archived: its checkpoints are gone. Start a new workflow."
    if told.stalled:
        return "This session stalled before its first checkpoint. Start a new workflow."
    return ""


def _workflow(told: _Node, blank: Workflow) -> Workflow:
    return replace(
        blank,
        status=Status(told.status_name),
        project_id=_number(told.project_id),
        namespace_id=_number(told.namespace_id),
        terms=Terms(
            privileges=_privileges(told.agent_privileges_names),
            preapproved=_privileges(told.pre_approved_agent_privileges_names),
            allow_agent_to_request_user=told.allow_agent_to_request_user is not False,
            web_search=bool(told.web_search_enabled),
            incremental_checkpoints=bool(told.incremental_checkpoints_enabled),
            mcp=bool(told.mcp_enabled),
        ),
        site=_site(told),
        closed=_closed(told),
    )


def _privileges(names: tuple[str, ...] | None) -> tuple[int, ...]:
    return tuple(_NUMBERS[name] for name in names or () if name in _NUMBERS)


def _number(gid: str | None) -> int | None:
    tail = (gid or "").rpartition("/")[2]
    return int(tail) if tail.isdecimal() and tail.isascii() and len(tail) < 19 else None


def _site(told: _Node) -> Site:
    project, namespace = told.project, told.namespace
    if project is None:
        if namespace is None:
            return Site()
        return Site(
            namespace_name=namespace.name or "",
            description=namespace.description or "",
            web_url=namespace.web_url or "",
            protection=_level(namespace),
        )
    paths, rules = project.statistics_details_paths, project.duo_context_exclusion_settings
    repository = "" if paths is None else paths.repository or ""
    return Site(
        project_name=project.name or "",
        description=project.description or "",
        web_url=project.web_url or "",
        clone_url=project.http_url_to_repo or "",
        default_branch=repository.partition(_BRANCH)[2],
        languages=tuple(language.name for language in project.languages or ()),
        excluded=() if rules is None else rules.exclusion_rules or (),
        protection=_level(project.namespace),
        flows=_flows(project.duo_workflow_status_check),
    )


def _level(namespace: _Namespace | None) -> str:
    settings = None if namespace is None else namespace.ai_settings
    return (settings.prompt_injection_protection_level if settings else None) or "LOG_ONLY"


def _flows(allowed: _FlowsAllowed | None) -> frozenset[str] | None:
    if allowed is None:
        return None
    if allowed.foundational_flows_enabled is False:
        return frozenset()
    named = allowed.enabled_foundational_flows
    return None if named is None else frozenset(named)


def _snapshot(latest: _Checkpoint) -> Snapshot:
    checkpoint = latest.compressed_checkpoint or latest.checkpoint or {}
    if latest.compressed_checkpoint is None and isinstance(checkpoint, str):
        checkpoint = _object(checkpoint)
    metadata = latest.metadata or {}
    return Snapshot(
        thread_ts=latest.thread_ts,
        parent_ts=latest.parent_ts,
        metadata=_object(metadata) if isinstance(metadata, str) else metadata,
        checkpoint=checkpoint,
    )


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError("a checkpoint of the workflow cannot be read") from error
