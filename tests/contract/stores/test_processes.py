"""What holds between processes: a kill in the middle, several at one file, several that start."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection, func, select

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import open_database
from isthmus.adapters.stores.tables import checkpoint_blobs, checkpoints
from isthmus.core.checkpoint import Thread
from tests.contract.stores.samples import checkpoint, step_id, whole

ROOT = Path(__file__).resolve().parents[3]
WAIT_S = 30.0


@asynccontextmanager
async def putting(url: str, thread_id: str, first: int = 0) -> AsyncIterator[asyncio.StreamReader]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.contract.stores.put_forever",
        url,
        thread_id,
        str(first),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        os.kill(process.pid, signal.SIGKILL)
        await process.stdout.read()
        await process.wait()


async def steps(out: asyncio.StreamReader, count: int) -> int:
    """Wait until so many more steps were stored; the number of the last one."""
    step = -1
    async with asyncio.timeout(WAIT_S):
        for _ in range(count):
            step = int(await out.readline())
    return step


async def test_a_killed_process_leaves_its_last_checkpoint_readable(database_url: str) -> None:
    stored = -1
    for _ in range(2):
        async with putting(database_url, "7", stored + 1) as out:
            told = await steps(out, 25)
        async with open_database(database_url) as database:
            store = SqlCheckpointStore(database)
            latest = await store.get(Thread("7"), None)
            assert latest is not None
            stored = next(n for n in range(told + 500) if step_id(n) == latest.checkpoint_id)
            assert stored >= told
            assert latest == whole(stored)

            def halves(connection: Connection) -> tuple[int, int]:
                kept = connection.execute(select(func.count()).select_from(checkpoints))
                blobs = connection.execute(select(func.count()).select_from(checkpoint_blobs))
                return kept.scalar_one(), blobs.scalar_one()

            kept, blobs = await database.read(halves)
            assert (kept, blobs) == (stored + 1, 2 * (stored + 1))


async def test_processes_share_a_database(database_url: str) -> None:
    # None of them finds a schema: they migrate at the same time.
    async with (
        putting(database_url, "1") as one,
        putting(database_url, "2") as two,
        open_database(database_url) as database,
    ):
        store = SqlCheckpointStore(database)
        for step in range(20):
            await store.put(checkpoint(step, thread=Thread("3")))
        await steps(one, 20)
        await steps(two, 20)
        for thread_id in ("1", "2", "3"):
            found = await store.get(Thread(thread_id), step_id(19))
            assert found == whole(19, thread=Thread(thread_id))
