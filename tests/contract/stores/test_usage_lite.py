"""Usage that is added without the stores is what the stores read."""

import asyncio
from pathlib import Path

import pytest

from isthmus.adapters.stores.database import open_database, sqlite_url
from isthmus.adapters.stores.schema import OURS
from isthmus.adapters.stores.usage import SqlUsageStore
from isthmus.adapters.stores.usage_lite import REVISION, LiteUsage
from isthmus.core.errors import Invalid, Unavailable
from isthmus.core.usage import Tally, UsageBatch, UsageKey, UsageQuery, UsageRow

ROWS = tuple(UsageRow(UsageKey(490_000, user=name, model="\"'ü"), Tally(3, 1)) for name in "ab")
BY_USER = UsageQuery(since=0, until=10**7, by=("user", "model"))


async def test_both_ways_share_a_file_and_count_once(tmp_path: Path) -> None:
    file = tmp_path / "odd ?#%41 name.db"
    lite = LiteUsage(file)
    assert not await lite.usable()
    assert not await asyncio.to_thread(file.exists)
    async with open_database(sqlite_url(file)) as database:
        store = SqlUsageStore(database)
        assert await lite.usable()
        one, two = UsageBatch("1", ROWS), UsageBatch("2", ROWS)
        async with asyncio.TaskGroup() as group:
            for each in (lite.add(one), store.add(one), lite.add(two), store.add(two)):
                group.create_task(each)
        page = await store.page(BY_USER)
        assert [(each.by, each.tally) for each in page.groups] == [
            ((name, "\"'ü"), Tally(6, 2)) for name in "ab"
        ]
        assert await lite.prune(490_001, "2") == 2
        assert await lite.add(one)
        assert not await lite.add(two)


async def test_rows_that_it_does_not_take_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "isthmus.db"
    async with open_database(sqlite_url(file)) as database:
        lite, store = LiteUsage(file), SqlUsageStore(database)
        bad = UsageRow(UsageKey(490_000), Tally(2**63))
        with pytest.raises(Invalid):
            await lite.add(UsageBatch("1", (*ROWS, bad)))
        assert (await store.page(BY_USER)).total == 0
        assert await lite.add(UsageBatch("1", ROWS))


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
async def test_what_is_no_database_of_ours_is_not_used(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "isthmus.db"
    await asyncio.to_thread(file.write_bytes, content)
    assert not await LiteUsage(file).usable()
    with pytest.raises(Unavailable):
        await LiteUsage(file).add(UsageBatch("1", ROWS))


def test_its_tables_are_there_from_its_revision_on() -> None:
    assert OURS.pre >= REVISION
