"""Prunes sessions: steps that nobody can go back to are forgotten, all others read as before.

Kept are the end of every branch, every pause, and every step that began a turn, the first one too,
with the step that it began from: a session is resumed, recovered or forked from no others.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, cast

from isthmus.core.beside import beside
from isthmus.core.checkpoint import CheckpointQuery, StepKey, StoredCheckpoint
from isthmus.core.errors import Conflict, Interrupted, NotFound, Unavailable
from isthmus.core.lease import Lease
from isthmus.core.ports import CheckpointStore
from isthmus.core.workflow import Status, WorkflowQuery
from isthmus.platform import checkpoints
from isthmus.platform.lease import BEAT_S
from isthmus.platform.owner import Shared
from isthmus.platform.walk import walk

RESTING: Final = tuple(set(Status) - {Status.CREATED, Status.RUNNING})
_AT_ONCE: Final = 100
_ON_ITS_WAY: Final = "loop"
"""The `source` of a step that a turn takes; others begin one. Source: LangGraph's metadata."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """A session, and how many of its steps went."""

    workflow_id: str
    steps: int


@dataclass(frozen=True, slots=True)
class Step:
    """What tells whether a step can be gone back to.

    `begins`: a turn, of which it is the first step. `waits`: it has pending writes, as a pause has.
    """

    ns: str
    checkpoint_id: str
    parent_id: str | None
    begins: bool
    waits: bool


class Pruning:
    """Prunes sessions whose checkpoints are kept here, each while nobody else may run it.

    `runner` is an id of its own among those that hold sessions; it prunes one at a time.
    """

    def __init__(self, shared: Shared, store: CheckpointStore, runner: str) -> None:
        self._workflows, self._leases = shared.workflows, shared.leases
        self._store = store
        self._runner = runner
        self._beat = 0

    async def one(self, workflow_id: str, *, dry: bool = False) -> Pruned:
        """Prune a session; `dry` only tells how many steps would go.

        Raises NotFound, Conflict when it has not begun, runs or is damaged, Interrupted when
        another server took it meanwhile: less has gone then.
        """
        record = await self._workflows.get(workflow_id)
        if record.status not in RESTING:
            raise Conflict(f"Session {workflow_id} is {record.status}: it cannot be pruned.")
        gone = await self._unreachable(workflow_id)
        if dry or not gone:
            return Pruned(workflow_id, len(gone))
        try:
            lease = await self._hold(workflow_id)
            async with beside(self._live()):
                # It may have gone on until it was ours.
                gone = await self._unreachable(workflow_id)
                return Pruned(workflow_id, await self._store.prune(workflow_id, gone, lease))
        finally:
            await self._leases.leave(self._runner)

    async def idle(
        self, before: datetime, after: datetime | None = None, *, dry: bool = False
    ) -> AsyncGenerator[Pruned, None]:
        """Prune the sessions that were last touched before `before`, and later than `after`.

        Those that run by now, and damaged ones, are left out.
        """
        query = WorkflowQuery(
            statuses=RESTING,
            updated_after=after,
            updated_before=before,
            oldest_first=True,
            limit=_AT_ONCE,
        )
        while True:
            page = await self._workflows.page(query)
            for record in page.items:
                try:
                    yield await self.one(record.workflow_id, dry=dry)
                except (Conflict, Interrupted, NotFound):
                    continue
            if not page.more:
                return
            query = replace(query, after_id=page.items[-1].workflow_id)

    async def _hold(self, workflow_id: str) -> Lease:
        try:
            return await self._leases.take(workflow_id, self._runner)
        except Unavailable as error:
            if error.retry_after_s is None:
                raise
            raise Conflict(f"Session {workflow_id} runs: it cannot be pruned.") from error

    async def _unreachable(self, workflow_id: str) -> Sequence[StepKey]:
        query = CheckpointQuery(workflow_id, None, limit=_AT_ONCE, with_blobs=False)
        try:
            return unreachable([_step(stored) async for stored in walk(self._store, query)])
        except ValueError as error:
            raise Conflict(
                f"Session {workflow_id} has a damaged step: it is left alone."
            ) from error

    async def _live(self) -> None:
        """Beat, lest others take the session from the dead."""
        while True:
            self._beat += 1
            await self._leases.beats({self._runner: self._beat})
            await asyncio.sleep(BEAT_S)


def unreachable(steps: Sequence[Step]) -> list[StepKey]:
    """The steps that nobody can go back to. What is left of a thread has none: once is enough."""
    parents = {(step.ns, step.parent_id) for step in steps}
    begun_from = {(step.ns, step.parent_id) for step in steps if step.begins}
    return [
        key
        for step in steps
        if (key := (step.ns, step.checkpoint_id)) in parents
        and not (step.begins or step.waits or key in begun_from)
    ]


def _step(stored: StoredCheckpoint) -> Step:
    metadata = cast("dict[str, Any]", checkpoints.loads(stored.metadata))
    return Step(
        stored.thread.ns,
        stored.checkpoint_id,
        stored.parent_id,
        begins=metadata.get("source") != _ON_ITS_WAY,
        waits=bool(stored.writes),
    )
