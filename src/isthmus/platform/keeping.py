"""Where a session's records are kept: in our database, or at its GitLab instance."""

import json
from hashlib import blake2b

from isthmus.core.ports import CheckpointStore
from isthmus.platform.instance_checkpoints import InstanceCheckpoints
from isthmus.platform.instance_store import Bond, InstanceApprovals, InstanceWorkflows
from isthmus.platform.opening import Opening, StoresOf
from isthmus.platform.stores import SessionRecords, SessionStores
from isthmus.platform.tool import Client

SINGLE_FLAGS = frozenset({"dw_read_blobs_api", "duo_workflow_read_incremental_checkpoints"})
"""Both must be on for one checkpoint to be asked for. Source: agent-platform contract, 3.7."""


def embedded(workflows: SessionRecords, checkpoints: CheckpointStore) -> StoresOf:
    """The same stores for every session."""
    kept = SessionStores(workflows, checkpoints)

    def stores(_opening: Opening, _client: Client) -> SessionStores:
        return kept

    return stores


def at_instance(opening: Opening, client: Client) -> SessionStores:
    """Stores that reach the session's own instance through its client."""
    start, selector = opening.start, opening.selector
    named = {
        "flow_id": selector.flow_id,
        "flow_version": selector.version,
        "schema_version": selector.schema,
    }
    flow = {key: text for key, text in named.items() if text}
    bond = Bond(
        thread_id=start.workflow_id,
        given_id=start.given_id,
        definition=opening.definition,
        owner=opening.owner,
        version=opening.client.get("x-gitlab-version"),
        flow=json.dumps(flow) if flow else "",
        parts_only=opening.has("incremental_checkpoints_only"),
        single={flag.strip() for flag in opening.client.feature_flags} >= SINGLE_FLAGS,
    )
    workflows = InstanceWorkflows(client, bond)
    approvals = InstanceApprovals(client, start.given_id)
    apart = blake2b(opening.owner.encode(), digest_size=16).hexdigest()
    return SessionStores(workflows, InstanceCheckpoints(workflows), approvals, apart)
