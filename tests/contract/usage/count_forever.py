"""A process that counts a call of one user after the other, until it is killed.

Arguments: the database's URL, the folder of files, and the first user's number. Prints how many
users are in files or in the database, whenever there are more of them.
"""

import asyncio
import sys
from pathlib import Path

from msgspec.structs import replace

from isthmus.adapters.stores.database import open_database
from isthmus.adapters.stores.usage import SqlUsageStore
from isthmus.adapters.usage.rollup import Rollup
from isthmus.adapters.usage.spool import Spool
from isthmus.adapters.usage.writer import Writing, open_writer
from isthmus.app.foundation import SystemClock
from isthmus.core.usage import UsageBatch
from isthmus.settings import UsageSettings
from tests.support.sink import MemorySink
from tests.unit.adapters.usage.test_rollup import CALL, WHO


class Told(Spool):
    """A spool that prints what it has kept."""

    kept = 0

    def put(self, batch: UsageBatch) -> int:
        dropped = super().put(batch)
        self.kept += len(batch.rows)
        sys.stdout.write(f"{self.kept}\n")
        sys.stdout.flush()
        return dropped


async def main() -> None:
    url, folder, first = sys.argv[1:]
    rollup, spool, clock = Rollup(), Told(Path(folder), 2**26), SystemClock()
    spool.kept = int(first)
    async with open_database(url, pool_size=2) as database:

        async def opened() -> SqlUsageStore:
            return SqlUsageStore(database)

        settings = UsageSettings(flush_s=0.01)
        async with open_writer(rollup, Writing(spool, opened, clock, MemorySink(), settings), 1.0):
            number = int(first)
            while True:
                for _ in range(7):
                    call = replace(CALL, who=replace(WHO, user=str(number)))
                    rollup.take([(clock.utc().timestamp(), "r", call)])
                    number += 1
                await asyncio.sleep(0.001)


asyncio.run(main())
