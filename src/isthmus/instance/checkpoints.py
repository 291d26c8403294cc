"""Checkpoints of a workflow, whoever stored them: a flow service by the contract, or our engine."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final, cast

import msgspec

from isthmus.core.accounts import Member
from isthmus.core.checkpoint import CheckpointQuery, StoredCheckpoint, Thread
from isthmus.core.errors import NotFound, Unavailable
from isthmus.core.ports import CheckpointStore
from isthmus.core.records import (
    Keep,
    NewRecord,
    Record,
    RecordPage,
    RecordQuery,
    RecordStore,
    RecordWrite,
)
from isthmus.core.workflow import Workflow
from isthmus.instance.workflows import Workflows

GOAL_LIMIT: Final = 16_384
MODEL_LIMIT: Final = 1_024
_MISSING: Final = "404 Checkpoint Not Found"
_AT_ONCE: Final = 100
_WALK_LIMIT: Final = 10_000
"""Checkpoints of our engine that a list looks at; a session of so many steps has other troubles."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where checkpoints are. `read` turns one of our engine's into a record of the contract."""

    records: RecordStore
    engine: CheckpointStore
    read: Callable[[StoredCheckpoint], Record]


class Checkpoints:
    """Only the owner's own workflows have any (NotFound).

    A workflow's checkpoints are all of one source; those of the contract are looked for first.
    """

    def __init__(self, workflows: Workflows, sources: Sources, keep: Keep) -> None:
        self._workflows = workflows
        self._sources = sources
        self._keep: Keep = keep

    async def append(self, member: Member, new: NewRecord) -> Record:
        """Raises NotFound, Invalid."""
        workflow = await self._workflows.own(member, new.workflow_id)
        goal = "" if workflow.goal.strip() else goal_of(new.checkpoint)
        return await self._sources.records.append(
            replace(new, goal=goal, model=without_key(new.model)), self._keep
        )

    async def page(self, member: Member, query: RecordQuery) -> RecordPage:
        """Raises NotFound."""
        await self._workflows.own(member, query.workflow_id)
        found = await self._sources.records.page(query)
        if found.total or await self._recorded(query):
            return found
        if query.thread_ts is not None:
            thread = Thread(query.workflow_id, query.ns or "")
            one = await self._sources.engine.get(thread, query.thread_ts)
            return RecordPage((), 0) if one is None else RecordPage((self._read(one),), 1)
        return await self._walked(query)

    async def get(self, member: Member, workflow_id: str, record_id: int) -> Record:
        """Raises NotFound."""
        await self._workflows.own(member, workflow_id)
        try:
            return await self._sources.records.get(workflow_id, record_id)
        except NotFound:
            query = RecordQuery(workflow_id, per_page=1)
            if await self._recorded(query):
                raise NotFound(_MISSING) from None
        stored = [header async for header in self._headers(query)]
        if not 1 <= record_id <= len(stored):
            raise NotFound(_MISSING)
        return await self._whole(stored[-record_id], record_id)

    async def put_writes(
        self, member: Member, workflow_id: str, thread_ts: str, writes: tuple[RecordWrite, ...]
    ) -> None:
        """Raises NotFound, Invalid."""
        await self._workflows.own(member, workflow_id)
        await self._sources.records.put_writes(workflow_id, thread_ts, writes)

    async def latest(self, workflow: Workflow) -> Record | None:
        """The newest top-level checkpoint of a record that is the caller's already."""
        found = await self._sources.records.page(RecordQuery(workflow.workflow_id, "", per_page=1))
        if found.items:
            return found.items[0]
        stored = await self._sources.engine.get(Thread(workflow.workflow_id), None)
        return None if stored is None else self._read(stored)

    async def first(self, workflow: Workflow) -> Record | None:
        """The oldest one."""
        query = RecordQuery(workflow.workflow_id, "", per_page=1)
        found = await self._sources.records.page(query)
        if found.total > 1:
            found = await self._sources.records.page(replace(query, page=found.total))
        if found.items:
            return found.items[0]
        oldest = [header async for header in self._headers(query)][-1:]
        return await self._whole(oldest[0], 1) if oldest else None

    async def _recorded(self, query: RecordQuery) -> bool:
        """Whether the contract's store has any checkpoint of this workflow, of any lineage."""
        every = RecordQuery(query.workflow_id, per_page=1)
        return bool((await self._sources.records.page(every)).total)

    async def _walked(self, query: RecordQuery) -> RecordPage:
        """A page of our engine's, which counts no pages: its headers are small."""
        stored = [header async for header in self._headers(query)]
        begin = (query.page - 1) * query.per_page
        shown = stored[begin : begin + query.per_page]
        items = [
            await self._whole(header, len(stored) - begin - index)
            for index, header in enumerate(shown)
        ]
        return RecordPage(tuple(items), len(stored))

    async def _headers(self, query: RecordQuery) -> AsyncIterator[StoredCheckpoint]:
        """Newest first, without their contents."""
        ask = CheckpointQuery(query.workflow_id, query.ns, limit=_AT_ONCE, with_blobs=False)
        for _ in range(_WALK_LIMIT // _AT_ONCE):
            found = await self._sources.engine.page(ask)
            for header in found.items:
                yield header
            if not found.more:
                return
            ask = replace(ask, before_id=found.items[-1].checkpoint_id)

    async def _whole(self, header: StoredCheckpoint, number: int) -> Record:
        """With its contents; `number` counts from the oldest, so that it stays."""
        stored = await self._sources.engine.get(header.thread, header.checkpoint_id)
        if stored is None:
            raise NotFound(_MISSING)
        return replace(self._read(stored), id=number)

    def _read(self, stored: StoredCheckpoint) -> Record:
        try:
            return self._sources.read(stored)
        except ValueError as error:
            raise Unavailable("A checkpoint of this workflow is damaged.") from error


def goal_of(checkpoint: bytes) -> str:
    """The goal that a first checkpoint says it was started with, cut to what a record holds."""
    start = _dig(_decoded(checkpoint), "channel_values", "__start__")
    for path in (("goal",), ("context", "goal")):
        goal = _dig(start, *path)
        if isinstance(goal, str) and goal.strip():
            return goal[:GOAL_LIMIT]
    return ""


def without_key(model: str) -> str:
    """The text, or nothing when it holds a credential: such a text is not kept."""
    if len(model) <= MODEL_LIMIT and _dig(_decoded(model.encode()), "api_key"):
        return ""
    return model


def _decoded(text: bytes) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _dig(value: object, *path: str) -> object:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, object]", value).get(name)
    return value
