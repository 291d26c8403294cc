"""A killed process loses what it counted since its last batch; nothing counts twice."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from isthmus.adapters.stores.database import open_database
from isthmus.adapters.stores.usage import SqlUsageStore
from isthmus.adapters.usage.rollup import Rollup
from isthmus.adapters.usage.spool import Spool
from isthmus.adapters.usage.writer import Writing, open_writer
from isthmus.app.foundation import SystemClock
from isthmus.core.usage import UsageQuery
from isthmus.settings import UsageSettings
from tests.support.sink import MemorySink

ROOT = Path(__file__).resolve().parents[3]
WAIT_S = 60.0


async def killed(url: str, folder: Path, first: int, batches: int) -> int:
    """Count from `first` on, and kill after so many batches; how many were said to be kept."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.usage.count_forever"),
        *(url, str(folder), str(first)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    kept = first
    try:
        async with asyncio.timeout(WAIT_S):
            for _ in range(batches):
                kept = int(await process.stdout.readline())
    finally:
        os.kill(process.pid, signal.SIGKILL)
        rest = await process.stdout.read()
        await process.wait()
    whole = rest.rpartition(b"\n")[0].split()
    return int(whole[-1]) if whole else kept


async def test_of_a_killed_process_all_but_the_last_batch_is_counted_once(
    database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "usage"
    kept, known = 0, set[int]()
    for batches in (1, 5, 17):
        first = max(known, default=-1) + 1
        kept = await killed(database_url, folder, first, batches)
        async with open_database(database_url) as database:
            store = SqlUsageStore(database)

            async def opened(store: SqlUsageStore = store) -> SqlUsageStore:
                return store

            spool = Spool(folder, 2**26)
            left = len(await asyncio.to_thread(spool.ids))
            writing = Writing(spool, opened, SystemClock(), MemorySink(), UsageSettings())
            async with open_writer(Rollup(), writing, WAIT_S):
                pass
            query = UsageQuery(since=0, until=10**7, by=("user",), per_page=100_000)
            groups = (await store.page(query)).groups
        assert {group.tally.requests for group in groups} == {1}, f"{left} files were left"
        known = {int(group.by[0]) for group in groups}
        # A gap would be a batch in the middle; less than what was kept, one that was promised.
        assert known == set(range(len(known)))
        assert len(known) >= kept
