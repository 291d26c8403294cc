"""The UsageStore port, on each kind of database."""

import asyncio

import pytest

from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.usage import SqlUsageStore
from isthmus.core.errors import Invalid
from isthmus.core.usage import (
    BUCKETS,
    DIMENSIONS,
    Tally,
    UsageBatch,
    UsageKey,
    UsageQuery,
    UsageRow,
    bucket,
)

HOUR = 490_000
ONE = Tally(1, 0, 100, 10, 50, 20, 5, 123, 0, 40_000, 1, 9_000)
ALL = UsageQuery(since=0, until=10**7)


@pytest.fixture
def store(database: Database) -> SqlUsageStore:
    return SqlUsageStore(database)


def row(tally: Tally = ONE, hour: int = HOUR, **labels: str) -> UsageRow:
    return UsageRow(UsageKey(hour, **labels), tally)


def by(*names: str, **more: object) -> UsageQuery:
    return UsageQuery(**{"since": 0, "until": 10**7, "by": names} | more)  # pyright: ignore[reportArgumentType] - as tests say


async def test_a_batch_counts_once_however_often_it_is_added(store: SqlUsageStore) -> None:
    batch = UsageBatch("1", (row(user="a"), row(user="b")))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(store.add(batch)) for _ in range(10)]
    assert sorted(task.result() for task in tasks) == [False] * 9 + [True]
    page = await store.page(by("user"))
    assert [(each.by, each.tally) for each in page.groups] == [(("a",), ONE), (("b",), ONE)]
    assert page.total == 2


async def test_rows_of_a_key_are_added_up(store: SqlUsageStore) -> None:
    slow = Tally(1, 1, latency=(*[0] * (BUCKETS - 1), 1))
    for index in range(3):
        await store.add(UsageBatch(str(index), (row(user="a", model="m"), row(slow, user="b"))))
    (group,) = (await store.page(ALL)).groups
    assert group.by == ()
    assert group.tally == Tally(
        6, 3, 300, 30, 150, 60, 15, 369, 0, 120_000, 3, 27_000, latency=(*[0] * (BUCKETS - 1), 3)
    )


async def test_nothing_is_no_group(store: SqlUsageStore) -> None:
    for query in (ALL, by("user", "day")):
        page = await store.page(query)
        assert (list(page.groups), page.total) == ([], 0)


async def test_groups_are_by_any_dimension_and_time(store: SqlUsageStore) -> None:
    labels = {name: f"{name}'\"\\ü☃" for name in DIMENSIONS}
    hours = (HOUR, HOUR + 24)
    rows = (*(UsageRow(UsageKey(each, **labels), ONE) for each in hours), row(hour=HOUR + 25))
    await store.add(UsageBatch("1", rows))
    for name in DIMENSIONS:
        page = await store.page(by(name))
        assert [each.by for each in page.groups] == [(labels[name],), ("",)]
        assert [each.tally.requests for each in page.groups] == [2, 1]
        found = await store.page(by(where=((name, labels[name]),)))
        assert [each.tally.requests for each in found.groups] == [2]
    page = await store.page(by("day", "hour"))
    day = HOUR // 24
    told = [(day, HOUR), (day + 1, HOUR + 24), (day + 1, HOUR + 25)]
    assert [each.by for each in page.groups] == told
    found = await store.page(by("hour", since=HOUR + 1, until=HOUR + 25))
    assert [each.by for each in found.groups] == [(HOUR + 24,)]
    with pytest.raises(Invalid):
        await store.page(by("digest"))
    with pytest.raises(Invalid):
        await store.page(by(where=(("hour", "1"),)))


async def test_pages_show_every_group_once(store: SqlUsageStore) -> None:
    rows = tuple(row(Tally(index // 2), user=f"u{index:02d}") for index in range(25))
    await store.add(UsageBatch("1", rows))
    pages = [await store.page(by("user", page=number, per_page=10)) for number in (1, 2, 3, 4)]
    assert [len(page.groups) for page in pages] == [10, 10, 5, 0]
    assert {page.total for page in pages} == {25}
    told = [each.by[0] for page in pages for each in page.groups]
    assert sorted(map(str, told)) == [f"u{index:02d}" for index in range(25)]
    assert told[:3] == ["u24", "u22", "u23"]


async def test_old_hours_and_old_batches_are_forgotten(store: SqlUsageStore) -> None:
    await store.add(UsageBatch("1", (row(), row(hour=HOUR + 1))))
    assert await store.prune(HOUR + 1, "1") == 1
    assert not await store.add(UsageBatch("1", (row(),)))
    assert await store.prune(HOUR + 1, "2") == 0
    assert await store.add(UsageBatch("1", (row(),)))
    assert [each.by for each in (await store.page(by("hour"))).groups] == [(HOUR,), (HOUR + 1,)]


async def test_a_batch_is_added_whole_or_not_at_all(
    store: SqlUsageStore, database: Database
) -> None:
    bad = [row(Tally(2**63))]
    if database.dialect == "postgresql":
        bad.append(row(user="\0"))
    for each in bad:
        with pytest.raises(Invalid):
            await store.add(UsageBatch("1", (row(), each)))
    assert (await store.page(ALL)).total == 0
    assert await store.add(UsageBatch("1", (row(),)))


def test_quantiles_are_told_from_buckets() -> None:
    latency = [0] * BUCKETS
    for ms in range(1, 1_001):
        latency[bucket(ms)] += 1
    tally = Tally(1_000, latency=tuple(latency))
    half, most = tally.quantile_ms(0.5), tally.quantile_ms(0.95)
    assert half is not None
    assert most is not None
    assert half == pytest.approx(500, rel=0.1)
    assert most == pytest.approx(950, rel=0.1)
    assert Tally().quantile_ms(0.5) is None
    slow = Tally(1, latency=(*[0] * (BUCKETS - 1), 1))
    assert slow.quantile_ms(0.5) == pytest.approx(316_228, rel=0.01)
