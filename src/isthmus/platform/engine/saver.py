"""LangGraph's checkpoint saver over our CheckpointStore. Only JSON enters and leaves it."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from langgraph.types import Interrupt

from isthmus.core.checkpoint import CheckpointQuery, PendingWrites, StoredCheckpoint, Thread
from isthmus.core.lease import Lease
from isthmus.core.ports import CheckpointStore
from isthmus.platform import checkpoints
from isthmus.platform.engine import order
from isthmus.platform.ledger import Book
from isthmus.platform.turn import Written
from isthmus.platform.walk import walk

PAGE = 50
INLINE_BYTES = 32_768
_INTERRUPTS, _ERROR = "$interrupts", "$error"
_HEADER = ("v", "id", "ts", "channel_versions", "versions_seen", "updated_channels")


class JsonSerde:
    """The engine's serializer, for JSON types alone: it revives no object."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Raises TypeError for anything but JSON."""
        return "json", checkpoints.pack(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Raises ValueError for anything but JSON."""
        if data[0] != "json":
            raise ValueError(f"a checkpoint of type {data[0]!r} is refused")
        return checkpoints.unpack(data[1])


@dataclass(frozen=True, slots=True)
class Habits:
    """How a saver writes.

    `continues`: nobody else writes this thread, so that the groups that were read may be continued.
    `pauses_only`: pending writes are stored for interrupts, resumes and errors alone; a step of one
    task has no use for others. What is written is written under `lease`, where there is one. `book`
    has the actions that a checkpoint settles.
    """

    continues: bool = False
    pauses_only: bool = False
    lease: Lease | None = None
    book: Book | None = None


def _ignore(_: Mapping[str, Any], __: Written) -> None:
    return None


class Saver(BaseCheckpointSaver[int]):
    """One for a stream. Remembers the last checkpoint of a thread, to store differences only."""

    def __init__(
        self,
        store: CheckpointStore,
        habits: Habits | None = None,
        told: Callable[[Mapping[str, Any], Written], None] = _ignore,
    ) -> None:
        super().__init__(serde=JsonSerde())
        self._store = store
        self._habits = habits or Habits()
        self.told = told
        self._known: dict[Thread, checkpoints.Known] = {}
        self._read: CheckpointTuple | None = None

    def values(self, thread_id: str) -> Mapping[str, Any]:
        """The channels of the last checkpoint that was read or written."""
        known = self._known.get(Thread(thread_id))
        return {} if known is None else cast("Mapping[str, Any]", known.values)

    async def head(self, thread_id: str, checkpoint_id: str | None) -> CheckpointTuple | None:
        """The checkpoint to go on from; the engine's own read of it costs nothing more.

        Steps from here on sort behind all that the thread has.
        """
        self._read = await self.aget_tuple(_config(Thread(thread_id), checkpoint_id))
        newest = self._read and get_checkpoint_id(self._read.config)
        if newest and checkpoint_id is not None:
            query = CheckpointQuery(thread_id, "", None, 1, with_blobs=False)
            newest = (await self._store.page(query)).items[0].checkpoint_id
        order.follow(newest or "")
        return self._read

    def unanswered(self) -> None:
        """Leave out answers that an earlier turn gave to the pause that was read: a new one came.

        The engine would take the old answer instead of the new one.
        """
        if self._read is not None:
            writes = [write for write in self._read.pending_writes or [] if write[1] != RESUME]
            self._read = self._read._replace(pending_writes=writes)

    async def latest(
        self, thread_id: str, fits: Callable[[CheckpointTuple], bool]
    ) -> CheckpointTuple | None:
        """The newest checkpoint that fits."""
        async with aclosing(self.alist(_config(Thread(thread_id), None))) as listed:
            async for found in listed:
                if fits(found):
                    return found
        return None

    async def first(self, thread_id: str) -> str | None:
        """The id of a thread's oldest checkpoint."""
        oldest: str | None = None
        query = CheckpointQuery(thread_id, limit=PAGE, with_blobs=False)
        async for stored in walk(self._store, query):
            oldest = stored.checkpoint_id
        return oldest

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that `config` names, or the latest."""
        thread, wanted = _thread(config), get_checkpoint_id(config)
        ready, self._read = self._read, None
        if ready is not None and wanted in (None, get_checkpoint_id(ready.config)):
            return ready
        stored = await self._store.get(thread, wanted)
        if stored is None:
            return None
        values = await _decoded(stored)
        known = checkpoints.known(stored, values)
        if not self._habits.continues or wanted is not None:
            # Not ours to continue: its values are known, its groups are left alone.
            known = checkpoints.Known("", {}, known.values)
        self._known[thread] = known
        return _tuple(stored, values)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - the library's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[CheckpointTuple, None]:
        """Checkpoints of one thread, newest first; a listing over all threads is refused."""
        if config is None:
            raise NotImplementedError("checkpoints are listed one thread at a time")
        left = limit
        async for stored in self._pages(config, get_checkpoint_id(before) if before else None):
            found = _tuple(stored, await _decoded(stored))
            if any(found.metadata.get(key) != value for key, value in (filter or {}).items()):
                continue
            if left is not None and left <= 0:
                return
            left = None if left is None else left - 1
            yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; the id in `config` is its parent's."""
        thread = _thread(config)
        began = time.perf_counter()
        step = checkpoints.Step(
            thread=thread,
            checkpoint_id=checkpoint["id"],
            parent_id=get_checkpoint_id(config),
            header={name: cast("dict[str, Any]", checkpoint).get(name) for name in _HEADER},
            metadata=dict(get_checkpoint_metadata(config, metadata)),
            values=checkpoint["channel_values"],
            changed=new_versions,
        )
        stored, known = await _encoded(step, self._known.get(thread))
        book = self._habits.book
        closing = () if book is None else book.closing
        await self._store.put(stored, self._habits.lease, closing)
        if book is not None:
            await book.closed(closing)
        self._known[thread] = known
        spent_s = time.perf_counter() - began
        written = Written(checkpoints.size_bytes(stored), len(stored.blobs), spent_s)
        self.told(checkpoint["channel_values"], written)
        return _config(thread, stored.checkpoint_id)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store writes of a task whose step has not ended."""
        if self._habits.pauses_only and not any(name in WRITES_IDX_MAP for name, _ in writes):
            return
        stored = tuple(
            checkpoints.write(
                (task_id, task_path), WRITES_IDX_MAP.get(name, index), name, _plain(name, value)
            )
            for index, (name, value) in enumerate(writes)
        )
        checkpoint_id = get_checkpoint_id(config)
        if checkpoint_id is None:
            raise ValueError("writes belong to a checkpoint")
        pending = PendingWrites(_thread(config), checkpoint_id, stored)
        await self._store.put_writes(pending, self._habits.lease)

    async def adelete_thread(self, thread_id: str) -> None:
        """Forget a thread."""
        await self._store.delete(thread_id)
        self._known = {at: known for at, known in self._known.items() if at.thread_id != thread_id}

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Forget all of these threads (`delete`), or all but the newest of each namespace.

        Raises ValueError for any other strategy.
        """
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"threads are not pruned by {strategy!r}")
        for thread_id in thread_ids:
            if strategy == "delete":
                await self.adelete_thread(thread_id)
                continue
            query = CheckpointQuery(thread_id, None, limit=PAGE, with_blobs=False)
            # The store itself keeps the newest.
            gone = [(at.thread.ns, at.checkpoint_id) async for at in walk(self._store, query)]
            await self._store.prune(thread_id, gone, self._habits.lease)

    async def _pages(
        self, config: RunnableConfig, before_id: str | None
    ) -> AsyncIterator[StoredCheckpoint]:
        if checkpoint_id := get_checkpoint_id(config):
            one = await self._store.get(_thread(config), checkpoint_id)
            if one is not None and (before_id is None or one.checkpoint_id < before_id):
                yield one
            return
        configurable = config.get("configurable", {})
        query = CheckpointQuery(
            thread_id=configurable["thread_id"],
            ns=configurable.get("checkpoint_ns"),
            before_id=before_id,
            limit=PAGE,
        )
        async for stored in walk(self._store, query):
            yield stored


async def _encoded(
    step: checkpoints.Step, known: checkpoints.Known | None
) -> tuple[StoredCheckpoint, checkpoints.Known]:
    """The stored form; a large state that is written whole is so on a thread."""
    if checkpoints.is_heavy(step, known):
        return await asyncio.to_thread(checkpoints.encode, step, known)
    return checkpoints.encode(step, known)


async def _decoded(stored: StoredCheckpoint) -> dict[str, Any]:
    """Every channel's value; a large state is read on a thread, so that the loop goes on."""
    if sum(len(blob.data) for blob in stored.blobs) <= INLINE_BYTES:
        return checkpoints.values(stored)
    return await asyncio.to_thread(checkpoints.values, stored)


def _thread(config: RunnableConfig) -> Thread:
    configurable = config.get("configurable", {})
    return Thread(configurable["thread_id"], configurable.get("checkpoint_ns") or "")


def _config(thread: Thread, checkpoint_id: str | None) -> RunnableConfig:
    configurable = {"thread_id": thread.thread_id, "checkpoint_ns": thread.ns}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def _tuple(stored: StoredCheckpoint, values: dict[str, Any]) -> CheckpointTuple:
    header = cast("dict[str, Any]", checkpoints.loads(stored.header))
    writes = sorted(
        stored.writes, key=lambda item: writes_sort_key(item.task_path, item.task_id, item.index)
    )
    pending: list[PendingWrite] = [
        (item.task_id, item.channel, _revived(item.channel, checkpoints.unpack(item.data)))
        for item in writes
    ]
    parent = _config(stored.thread, stored.parent_id) if stored.parent_id else None
    return CheckpointTuple(
        config=_config(stored.thread, stored.checkpoint_id),
        checkpoint=cast("Checkpoint", {**header, "channel_values": values}),
        metadata=cast("CheckpointMetadata", checkpoints.loads(stored.metadata)),
        parent_config=parent,
        pending_writes=pending,
    )


def _plain(channel: str, value: Any) -> object:
    """A write as JSON: the engine's interrupts by value and id, its errors by their class."""
    if channel == ERROR and isinstance(value, BaseException):
        return {_ERROR: type(value).__name__}
    if channel == INTERRUPT and isinstance(value, list | tuple):
        interrupts = cast("Sequence[object]", value)
        return {
            _INTERRUPTS: [
                {"value": one.value, "id": one.id}
                for one in interrupts
                if isinstance(one, Interrupt)
            ]
        }
    return value


def _revived(channel: str, value: Any) -> object:
    if not isinstance(value, dict):
        return value
    said = cast("dict[str, Any]", value)
    if channel == INTERRUPT and _INTERRUPTS in said:
        return tuple(Interrupt(value=one["value"], id=one["id"]) for one in said[_INTERRUPTS])
    if channel == ERROR and _ERROR in said:
        return said[_ERROR]
    return said
