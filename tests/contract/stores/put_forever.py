"""A process that puts checkpoints, one after the other, until it is killed.

Arguments: the database's URL, the thread, and the first step. Prints each step once it is stored.
"""

import asyncio
import sys

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import open_database
from isthmus.core.checkpoint import Thread
from tests.contract.stores.samples import checkpoint


async def main() -> None:
    url, thread_id, first = sys.argv[1:]
    async with open_database(url, pool_size=1) as database:
        store = SqlCheckpointStore(database)
        step = int(first)
        while True:
            await store.put(checkpoint(step, thread=Thread(thread_id)))
            sys.stdout.write(f"{step}\n")
            sys.stdout.flush()
            step += 1


asyncio.run(main())
