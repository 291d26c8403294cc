"""A workflow as a row of the database: what fits, how it is written, how it is read back."""

from typing import Final

import msgspec
from sqlalchemy import Row

from isthmus.adapters.stores.instants import utc
from isthmus.adapters.stores.text import MAX_ID, check_key, check_text, invalid
from isthmus.core.workflow import STORED, NewWorkflow, Status, Terms, ToolApproval, Workflow

GOAL_LIMIT: Final = 16_384
MODEL_FIELD: Final = "model_metadata_json"
METADATA_LIMIT: Final = 1_024
OWNER_BYTES: Final = 1_024

_DEFINITION_LIMIT: Final = 255
_TITLE_LIMIT: Final = 40
_SUMMARY_LIMIT: Final = 1_024
_JOB_LIMIT: Final = 4_096
_DEPLOYMENT_LIMIT = 256
_IMAGE_LIMIT: Final = 2_048
_BRANCH_LIMIT: Final = 1_024
_ENVIRONMENT_LIMIT: Final = 32
_TERMS_BYTES: Final = 32 * 1024
_APPROVALS_BYTES: Final = 1024 * 1024
_STATUS: Final = {number: status for status, number in STORED.items()}
# Sets come out sorted, so equal records are equal text.
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_TERMS: Final = msgspec.json.Decoder(Terms)
_APPROVALS: Final = msgspec.json.Decoder(dict[str, ToolApproval])


def new_values(new: NewWorkflow, now_us: int) -> dict[str, object]:
    """The row of a new record, but its id. Raises Invalid."""
    check_text("goal", new.goal, limit=GOAL_LIMIT)
    check_text("workflowDefinition", new.definition, limit=_DEFINITION_LIMIT)
    check_text("title", new.title, limit=_TITLE_LIMIT)
    check_key("owner", new.owner, limit_bytes=OWNER_BYTES)
    for field, number in (("project_id", new.project_id), ("namespace_id", new.namespace_id)):
        if number is not None and not 1 <= number <= MAX_ID:
            raise invalid(field, "must be a positive number of 63 bits")
    if new.project_id is not None and new.namespace_id is not None:
        raise invalid("namespace_id", "must not come with project_id")
    return {
        "definition": new.definition,
        "goal": new.goal,
        "owner": new.owner,
        "status": STORED[Status.CREATED],
        "model": "",
        "created_at_us": now_us,
        "updated_at_us": now_us,
        "project_id": new.project_id,
        "namespace_id": new.namespace_id,
        "title": new.title,
        "environment": new.terms.environment,
        "terms": _terms(new.terms),
    }


def changed_values(record: Workflow) -> dict[str, object]:
    """The columns that a change may write. Raises Invalid."""
    check_text("title", record.title, limit=_TITLE_LIMIT)
    check_text("summary", record.summary, limit=_SUMMARY_LIMIT)
    check_text("flow_metadata_json", record.flow, limit=METADATA_LIMIT)
    check_text("job", record.job, limit=_JOB_LIMIT)
    check_text("deployment", record.deployment, limit=_DEPLOYMENT_LIMIT)
    return {
        "title": record.title,
        "summary": record.summary,
        "flow": record.flow,
        "job": record.job,
        "deployment": record.deployment,
        "environment": record.terms.environment,
        "terms": _terms(record.terms),
        "approvals": _encoded("tool_call_approvals", record.approvals, _APPROVALS_BYTES),
    }


def workflow(row: Row[tuple[object, ...]]) -> Workflow:
    """The record that a row holds."""
    return Workflow(
        workflow_id=str(row.id),
        definition=row.definition,
        goal=row.goal,
        owner=row.owner,
        status=_STATUS[row.status],
        model=row.model,
        created_at=utc(row.created_at_us),
        updated_at=utc(row.updated_at_us),
        project_id=row.project_id,
        namespace_id=row.namespace_id,
        title=row.title,
        summary=row.summary,
        flow=row.flow,
        job=row.job,
        deployment=row.deployment,
        terms=_TERMS.decode(row.terms),
        approvals=_APPROVALS.decode(row.approvals),
    )


def _terms(terms: Terms) -> str:
    check_text("image", terms.image, limit=_IMAGE_LIMIT)
    check_text("source_branch", terms.source_branch, limit=_BRANCH_LIMIT)
    check_text("environment", terms.environment, limit=_ENVIRONMENT_LIMIT)
    return _encoded("terms", terms, _TERMS_BYTES)


def _encoded(field: str, value: object, limit_bytes: int) -> str:
    try:
        data = _ENCODER.encode(value)
    except UnicodeEncodeError:
        raise invalid(field, "must be well-formed Unicode") from None
    if len(data) > limit_bytes:
        raise invalid(field, f"must be at most {limit_bytes} bytes long")
    return data.decode()
