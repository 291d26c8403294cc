"""A session's checkpoints at its GitLab instance, over the client's own actions.

Source: agent-platform contract, sections 6.1 and 6.5.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import quote

import msgspec

from isthmus.core.checkpoint import (
    Blob,
    CheckpointQuery,
    PendingWrites,
    StepKey,
    StoredCheckpoint,
    Thread,
)
from isthmus.core.errors import Conflict, NotFound, StoreDown, ToolRefused
from isthmus.core.lease import Lease
from isthmus.core.page import Page
from isthmus.platform import checkpoints, instance_packing
from isthmus.platform.instance_api import Reply
from isthmus.platform.instance_packing import VALUES, Labels, Packed, Sent, Strategy
from isthmus.platform.instance_record import Snapshot
from isthmus.platform.instance_store import InstanceWorkflows, called, checked

PAGE: Final = 20
MAX_PAGES: Final = 1_000
INLINE_BYTES: Final = 32_768
_TOO_LARGE: Final = "response body exceeded size limit"
_NOT_OURS: Final = "The instance keeps the checkpoints of its sessions itself."


class InstanceCheckpoints:
    """The checkpoints of one session. Raises StoreDown when the instance cannot be asked."""

    def __init__(self, workflows: InstanceWorkflows) -> None:
        self._workflows = workflows
        self._client, self._bond = workflows.client, workflows.bond
        self._path = f"{workflows.path}/checkpoints"
        self._sent = Sent("", {}, 0)
        self._group_known = True
        self._blobs: dict[tuple[str, int], tuple[Blob, ...]] = {}
        self._wrote = False
        self._walked = ("", 1)

    async def put(
        self, checkpoint: StoredCheckpoint, lease: Lease | None = None, calls: Sequence[str] = ()
    ) -> None:
        """Store a checkpoint, in the form that the instance wants."""
        del lease, calls  # The instance knows of none.
        self._check(checkpoint.thread.thread_id)
        whole = self._whole(checkpoint)
        strategy: Strategy = self._strategy()
        if strategy != "full" and not self._group_known:
            await self._learn_group()
        work: tuple[StoredCheckpoint, tuple[Strategy, Labels], Sent]
        work = (whole, (strategy, self._labels()), self._sent)
        size = sum(len(blob.data) for blob in whole.blobs)
        packed = _packed(*work) if size <= INLINE_BYTES else await asyncio.to_thread(_packed, *work)
        path = f"{self._path}?checkpoint_strategy={packed.strategy}"
        checked(await called(self._client, "POST", path, packed.body), "store a checkpoint")
        self._sent, self._wrote = packed.sent, True
        self._blobs = _chains(whole)

    async def put_writes(self, writes: PendingWrites, lease: Lease | None = None) -> None:
        """Store a pause; other writes are of no use to a later turn, and not sent."""
        del lease
        self._check(writes.thread.thread_id)
        bodies = instance_packing.write_bodies(writes.writes)
        if not bodies:
            return
        body = {"thread_ts": writes.checkpoint_id, "checkpoint_writes": bodies}
        path = f"{self._workflows.path}/checkpoint_writes_batch"
        checked(await called(self._client, "POST", path, body), "store a pause")
        self._wrote = True

    async def get(self, thread: Thread, checkpoint_id: str | None) -> StoredCheckpoint | None:
        """The checkpoint with this id, or the latest."""
        if thread != Thread(self._bond.thread_id):
            return None
        if checkpoint_id is None:
            snapshot = await self._latest()
        else:
            snapshot = await self._named(checkpoint_id)
        return None if snapshot is None else await self._read(snapshot)

    async def page(self, query: CheckpointQuery) -> Page[StoredCheckpoint]:
        """Checkpoints, newest first. Blobs come along, asked for or not."""
        if query.thread_id != self._bond.thread_id:
            return Page((), more=False)
        first = 1
        if query.before_id is not None and query.before_id == self._walked[0]:
            first = self._walked[1]
        items: list[StoredCheckpoint] = []
        async with aclosing(self._rows(first)) as rows:
            async for number, row in rows:
                below = row.thread_ts
                if query.before_id is not None and below >= query.before_id:
                    continue
                if items and below >= items[-1].checkpoint_id:
                    continue
                if len(items) == query.limit:
                    return Page(tuple(items), more=True)
                items.append(await self._read(row, keep=False))
                self._walked = (below, number)
        return Page(tuple(items), more=False)

    async def prune(
        self, thread_id: str, gone: Sequence[StepKey], lease: Lease | None = None
    ) -> int:
        """Raises Conflict: an instance forgets a session's checkpoints with the session."""
        del thread_id, gone, lease
        raise Conflict(_NOT_OURS)

    async def delete(self, thread_id: str) -> None:
        """Raises Conflict: an instance forgets a session's checkpoints with the session."""
        del thread_id
        raise Conflict(_NOT_OURS)

    def _strategy(self) -> Strategy:
        found = self._workflows.found
        if found is None or not found.incremental:
            return "full"
        return "incremental_only" if self._bond.parts_only else "incremental"

    def _labels(self) -> Labels:
        return Labels(self._workflows.model, self._bond.flow)

    def _whole(self, checkpoint: StoredCheckpoint) -> StoredCheckpoint:
        """The same with every blob that its channels are made of, those of earlier steps too."""
        new = _chains(checkpoint)
        keys = [(ref.channel, ref.group) for ref in checkpoint.refs]
        chains = [(*self._blobs.get(key, ()), *new.get(key, ())) for key in keys]
        return replace(checkpoint, blobs=tuple(blob for chain in chains for blob in chain))

    async def _latest(self) -> Snapshot | None:
        found = self._workflows.found
        if found is not None and not self._wrote and not found.elsewhere:
            return await self._stateful(found.latest)
        async with aclosing(self._rows(1, size=1)) as rows:
            async for _, row in rows:
                return await self._stateful(row)
        return None

    async def _stateful(self, snapshot: Snapshot | None) -> Snapshot | None:
        """The same with its state: one that was stored in parts is put together by its id alone."""
        if snapshot is None or isinstance(snapshot.checkpoint, str):
            return snapshot
        if VALUES in snapshot.checkpoint:
            return snapshot
        return await self._single(snapshot.thread_ts) or snapshot

    async def _single(self, checkpoint_id: str) -> Snapshot | None:
        stamp = quote(checkpoint_id, safe="")
        path = f"{self._path}/by_thread_ts?thread_ts={stamp}&accept_compressed=true"
        reply = await called(self._client, "GET", path)
        if reply.status == 404:
            return None
        return _snapshot(checked(reply, "read a checkpoint").json())

    async def _named(self, checkpoint_id: str) -> Snapshot | None:
        found = self._workflows.found
        latest = None if found is None or self._wrote else found.latest
        if latest is not None and latest.thread_ts == checkpoint_id:
            return latest
        if self._bond.single and self._strategy() != "full":
            single = await self._single(checkpoint_id)
            # An instance may not look single ones up at all: its list tells.
            if single is not None:
                return single
        async with aclosing(self._rows(1)) as rows:
            async for _, row in rows:
                if row.thread_ts == checkpoint_id:
                    return row
                if row.thread_ts < checkpoint_id:
                    break
        return None

    async def _learn_group(self) -> None:
        """The number of the group that the newest checkpoint belongs to; the query tells none."""
        async with aclosing(self._rows(1, size=1)) as rows:
            async for _, row in rows:
                self._sent = replace(self._sent, group=row.blob_group or 0)
                break
        self._group_known = True

    async def _rows(
        self, first: int, size: int = PAGE
    ) -> AsyncGenerator[tuple[int, Snapshot], None]:
        """Top-level checkpoints, newest first, each with the number of its page.

        A page that is too large to travel is asked for in halves. What cannot be read is raised:
        it must not look like the end.
        """
        number = first
        for _ in range(MAX_PAGES):
            path = f"{self._path}?per_page={size}&page={number}&accept_compressed=true"
            if size == 1 and first == 1:
                path = f"{self._path}?per_page=1&accept_compressed=true"
            try:
                reply = checked(await called(self._client, "GET", path), "list checkpoints")
            except StoreDown as down:
                if _TOO_LARGE not in down.detail or size == 1:
                    raise
                size //= 2
                continue
            rows = _listed(reply)
            for row in rows:
                if not row.ns:
                    yield number, row
            following = reply.headers.get("x-next-page", "")
            if not rows or not following.isdecimal():
                return
            number = int(following)
        raise StoreDown("The instance has more checkpoints of this session than can be read.")

    async def _read(self, snapshot: Snapshot, *, keep: bool = True) -> StoredCheckpoint:
        thread = Thread(self._bond.thread_id)
        work = instance_packing.stored
        try:
            if len(snapshot.checkpoint) <= INLINE_BYTES:
                stored, sent = work(snapshot, thread)
            else:
                stored, sent = await asyncio.to_thread(work, snapshot, thread)
        except ValueError as error:
            raise Conflict(f"This session cannot go on: {error}.") from error
        if keep:
            self._blobs |= _chains(stored)
            if not self._wrote:
                self._sent = sent
                self._group_known = snapshot.blob_group is not None
        return stored

    def _check(self, thread_id: str) -> None:
        if thread_id != self._bond.thread_id:
            raise NotFound("404 Workflow Not Found")


def _chains(stored: StoredCheckpoint) -> dict[tuple[str, int], tuple[Blob, ...]]:
    chains: dict[tuple[str, int], tuple[Blob, ...]] = {}
    for blob in stored.blobs:
        key = (blob.ref.channel, blob.ref.group)
        chains[key] = (*chains.get(key, ()), blob)
    return chains


def _packed(whole: StoredCheckpoint, how: tuple[Strategy, Labels], before: Sent) -> Packed:
    return instance_packing.packed(whole, checkpoints.values(whole), how, before)


class _Row(msgspec.Struct, frozen=True):
    thread_ts: str
    parent_ts: str | None = None
    metadata: dict[str, Any] | None = None
    checkpoint: dict[str, Any] | None = None
    compressed_checkpoint: str | None = None
    checkpoint_writes: tuple[dict[str, Any], ...] | None = None
    current_thread: int | None = None
    checkpoint_ns: str | None = None


def _listed(reply: Reply) -> list[Snapshot]:
    try:
        rows = reply.json()
    except ToolRefused as refused:
        raise StoreDown(refused.detail) from None
    if not isinstance(rows, list):
        raise StoreDown("The instance's checkpoints are not a list.")
    return [_snapshot(row) for row in cast("list[object]", rows)]


def _snapshot(row: object) -> Snapshot:
    try:
        told = msgspec.convert(row, _Row)
    except msgspec.ValidationError as error:
        raise StoreDown(f"A checkpoint of the instance cannot be read: {error}") from error
    return Snapshot(
        thread_ts=told.thread_ts,
        parent_ts=told.parent_ts,
        metadata=told.metadata or {},
        checkpoint=told.compressed_checkpoint or told.checkpoint or {},
        writes=told.checkpoint_writes or (),
        blob_group=told.current_thread or 0,
        ns=told.checkpoint_ns or "",
    )
