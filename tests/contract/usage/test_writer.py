"""What was counted reaches the database once: outages, full disks, stops and files left behind."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from msgspec.structs import replace

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.usage import SqlUsageStore
from isthmus.adapters.usage.rollup import Rollup, Told
from isthmus.adapters.usage.spool import Spool
from isthmus.adapters.usage.writer import Writing, open_writer
from isthmus.app.foundation import SystemClock
from isthmus.core.errors import Unavailable
from isthmus.core.events import Noted
from isthmus.core.usage import Tally, UsageBatch, UsageKey, UsagePage, UsageQuery, UsageRow
from isthmus.settings import UsageSettings
from tests.support.sink import MemorySink
from tests.unit.adapters.usage.test_rollup import CALL, WHO

WAIT_S = 30.0
QUICK = UsageSettings(flush_s=0.01)
NEVER = UsageSettings(flush_s=600)
BY_USER = UsageQuery(since=0, until=10**7, by=("user",), per_page=10_000)
BRIEF = UsageSettings(flush_s=600, keep_days=1)


def calls(*users: str) -> list[Told]:
    at_s = SystemClock().utc().timestamp()
    return [(at_s, "r", replace(CALL, who=replace(WHO, user=user))) for user in users]


class Fickle:
    """A store that fails before or after it did what it was asked, as long as `away` says so."""

    def __init__(self, store: SqlUsageStore) -> None:
        self.store = store
        self.away = ""
        self.added = asyncio.Event()
        self.refused = asyncio.Event()

    async def opened(self) -> "Fickle":
        return self

    async def add(self, batch: UsageBatch) -> bool:
        if self.away == "before":
            self.refused.set()
            raise Unavailable("The database is not available.")
        new = await self.store.add(batch)
        if self.away == "after":
            self.refused.set()
            raise Unavailable("The database is not available.")
        self.added.set()
        return new

    async def page(self, query: UsageQuery) -> UsagePage:
        return await self.store.page(query)

    async def prune(self, before_hour: int, before_id: str) -> int:
        return await self.store.prune(before_hour, before_id)

    async def users(self) -> dict[str | int, int]:
        page = await self.page(BY_USER)
        return {group.by[0]: group.tally.requests for group in page.groups}


@pytest.fixture
def store(database: Database) -> Fickle:
    return Fickle(SqlUsageStore(database))


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


Write = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture
def write(store: Fickle, sink: MemorySink, tmp_path: Path) -> Write:
    def opened(
        rollup: Rollup, settings: UsageSettings = QUICK, folder: Path | None = None
    ) -> AbstractAsyncContextManager[None]:
        spool = Spool(folder or tmp_path / "usage", settings.spool_limit_bytes)
        writing = Writing(spool, store.opened, SystemClock(), sink, settings)
        return open_writer(rollup, writing, WAIT_S)

    return opened


async def within(awaited: Awaitable[object]) -> None:
    async with asyncio.timeout(WAIT_S):
        await awaited


def files(tmp_path: Path) -> list[str]:
    return sorted(path.suffix for path in (tmp_path / "usage").iterdir())


async def test_what_is_counted_is_written_soon(write: Write, store: Fickle, tmp_path: Path) -> None:
    rollup = Rollup()
    async with write(rollup):
        rollup.take(calls("a", "b"))
        await within(store.added.wait())
    rollup = Rollup()
    async with write(rollup):
        rollup.take(calls("a"))
    assert await store.users() == {"a": 2, "b": 1}
    assert files(tmp_path) == []


async def test_much_is_written_at_once(write: Write, store: Fickle) -> None:
    rollup = Rollup()
    async with write(rollup, NEVER):
        rollup.take(calls(*(f"u{index}" for index in range(1_500))))
        await within(store.added.wait())
        assert len(await store.users()) == 1_500


async def test_a_stop_writes_what_was_counted_last(write: Write, store: Fickle) -> None:
    rollup = Rollup()
    async with write(rollup, NEVER):
        rollup.take(calls("a"))
    assert await store.users() == {"a": 1}


async def test_hours_are_kept_for_as_many_days_as_are_set(write: Write, store: Fickle) -> None:
    days_ago_s = SystemClock().utc().timestamp() - 3 * 86_400
    rollup = Rollup()
    async with write(rollup, BRIEF):
        rollup.take([(days_ago_s, "r", CALL), *calls("a")])
    assert await store.users() == {"a": 1}


async def test_nothing_counted_opens_nothing(sink: MemorySink, tmp_path: Path) -> None:
    async def opened() -> Fickle:
        raise AssertionError("there was nothing to write")

    spool = Spool(tmp_path / "usage", 2**20)
    async with open_writer(Rollup(), Writing(spool, opened, SystemClock(), sink, QUICK), WAIT_S):
        pass
    assert not (tmp_path / "usage").exists()


@pytest.mark.parametrize("away", ["before", "after"])
async def test_an_outage_loses_nothing_and_counts_nothing_twice(
    write: Write, store: Fickle, sink: MemorySink, tmp_path: Path, away: str
) -> None:
    rollup = Rollup()
    async with write(rollup):
        store.away = away
        rollup.take(calls("a"))
        await within(store.refused.wait())
        rollup.take(calls("a", "b"))
        store.away = ""
        await within(store.added.wait())
    assert await store.users() == {"a": 2, "b": 1}
    assert files(tmp_path) == []
    told = [fact.event for fact in sink.of(Noted)]
    assert told[0].startswith("usage waits in files")
    assert told[-1] == "usage is written again"


@pytest.mark.parametrize("away", ["before", "after"])
async def test_what_a_stop_leaves_behind_is_written_at_the_next_start(
    write: Write, store: Fickle, tmp_path: Path, away: str
) -> None:
    store.away, rollup = away, Rollup()
    async with write(rollup, NEVER):
        rollup.take(calls("a"))
    assert files(tmp_path) == [".json"]
    store.away = ""
    async with write(Rollup(), NEVER):
        await within(store.added.wait())
    assert await store.users() == {"a": 1}
    assert files(tmp_path) == []


async def test_two_processes_with_one_folder_count_once(write: Write, store: Fickle) -> None:
    store.away, first, second = "after", Rollup(), Rollup()
    async with write(first), write(second):
        first.take(calls("a"))
        second.take(calls("b"))
        await within(store.refused.wait())
        store.away = ""
        await within(store.added.wait())
    async with write(Rollup()):
        pass
    assert await store.users() == {"a": 1, "b": 1}


async def test_where_no_file_can_be_written_the_database_still_gets_it(
    write: Write, store: Fickle, sink: MemorySink, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.touch()
    rollup = Rollup()
    async with write(rollup, QUICK, blocked / "usage"):
        store.away = "before"
        rollup.take(calls("a"))
        await within(store.refused.wait())
        store.away = ""
        rollup.take(calls("b"))
        await within(store.added.wait())
    assert await store.users() == {"a": 1, "b": 1}
    assert any("no file can be written" in fact.event for fact in sink.of(Noted))


async def test_a_file_that_is_no_batch_is_set_aside(
    write: Write, store: Fickle, tmp_path: Path
) -> None:
    folder = tmp_path / "usage"
    folder.mkdir()
    for index, content in enumerate((b"", b"{", b'{"id":"x","rows":[[1]]}', b"\xff" * 100)):
        (folder / f"{index}.json").write_bytes(content)
    rollup = Rollup()
    async with write(rollup):
        rollup.take(calls("a"))
        await within(store.added.wait())
    assert await store.users() == {"a": 1}
    assert files(tmp_path) == [".refused"] * 4


async def test_a_batch_that_waited_too_long_is_set_aside(
    write: Write, store: Fickle, sink: MemorySink, tmp_path: Path
) -> None:
    old = UsageBatch("0" * 20, (UsageRow(UsageKey(1, user="old"), Tally(1)),))
    await asyncio.to_thread(Spool(tmp_path / "usage", 2**20).put, old)
    rollup = Rollup()
    async with write(rollup):
        rollup.take(calls("a"))
        await within(store.added.wait())
    assert await store.users() == {"a": 1}
    assert files(tmp_path) == [".refused"]
    assert any("too old" in fact.event for fact in sink.of(Noted))


def test_a_full_spool_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    rows = tuple(UsageRow(UsageKey(1, user=f"{index:0100d}"), Tally(1)) for index in range(2_000))
    size = 0
    spool = Spool(tmp_path / "usage", 2**20)
    dropped = 0
    for index in range(8):
        dropped += spool.put(UsageBatch(f"{index}", rows))
        size = sum(path.stat().st_size for path in (tmp_path / "usage").iterdir())
        assert size <= 2**20
    kept = spool.ids()
    assert list(kept) == [f"{index}" for index in range(8)][-len(kept) :]
    assert dropped + len(kept) == 8
    assert dropped > 0
