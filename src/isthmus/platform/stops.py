"""Which of the sessions that run were stopped elsewhere: over the instance API, or by a command."""

from collections.abc import Sequence
from typing import Final

from isthmus.core.ports import WorkflowStore
from isthmus.core.workflow import Status, WorkflowQuery

LOOK_S: Final = 1.0
"""How often records are looked at: a session that was stopped goes on for so long."""
_AT_ONCE: Final = 100


async def stopped(workflows: WorkflowStore, ids: Sequence[str]) -> Sequence[str]:
    """Those of `ids` whose record says so. Who asks knows that each ran before."""
    found: list[str] = []
    for first in range(0, len(ids), _AT_ONCE):
        query = WorkflowQuery(
            ids=tuple(ids[first : first + _AT_ONCE]), statuses=(Status.STOPPED,), limit=_AT_ONCE
        )
        found += [record.workflow_id for record in (await workflows.page(query)).items]
    return found
