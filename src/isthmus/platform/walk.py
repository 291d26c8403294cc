"""Walks over the checkpoints of a thread, newest first."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from isthmus.core.checkpoint import CheckpointQuery, StoredCheckpoint
from isthmus.core.ports import CheckpointStore


async def walk(
    store: CheckpointStore, query: CheckpointQuery
) -> AsyncGenerator[StoredCheckpoint, None]:
    """All that `query` asks for, read a page of its `limit` at a time."""
    while True:
        page = await store.page(query)
        for stored in page.items:
            yield stored
        if not page.more or not page.items:
            return
        query = replace(query, before_id=page.items[-1].checkpoint_id)
