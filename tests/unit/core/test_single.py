"""Calls that share a run: how often it runs, and whose leaving ends it."""

import asyncio

import pytest

from isthmus.core.errors import UpstreamFailed
from isthmus.core.single import Single


class Source:
    """Counts its runs; each ends when it is told how."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.stopping = asyncio.Event()
        self.may_stop = asyncio.Event()
        self.may_stop.set()

    async def __call__(self) -> str:
        self.runs += 1
        try:
            return await self.ending
        except asyncio.CancelledError:
            self.stopping.set()
            await self.may_stop.wait()
            self.cancelled += 1
            raise


async def waiters(
    single: Single[str, str], source: Source, count: int, key: str = "k"
) -> "list[asyncio.Task[str]]":
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(single.do(key, source)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_all_who_ask_meanwhile_get_the_one_answer() -> None:
    single, source = Single[str, str](), Source()
    tasks = await waiters(single, source, 5)
    source.ending.set_result("v")
    assert await asyncio.gather(*tasks) == ["v"] * 5
    assert source.runs == 1


async def test_the_next_to_ask_gets_a_new_one() -> None:
    single, source = Single[str, str](), Source()
    source.ending.set_result("v")
    assert [await single.do("k", source) for _ in range(2)] == ["v", "v"]
    assert source.runs == 2


async def test_other_keys_have_runs_of_their_own() -> None:
    single, source = Single[str, str](), Source()
    tasks = [*await waiters(single, source, 2, "a"), *await waiters(single, source, 2, "b")]
    source.ending.set_result("v")
    await asyncio.gather(*tasks)
    assert source.runs == 2


async def test_a_failure_goes_to_all_and_is_not_kept() -> None:
    single, source = Single[str, str](), Source()
    tasks = await waiters(single, source, 3)
    source.ending.set_exception(UpstreamFailed("broke"))
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UpstreamFailed] * 3
    better = Source()
    better.ending.set_result("v")
    assert await single.do("k", better) == "v"


async def test_who_leaves_does_not_end_it_for_the_others_even_if_it_began_it() -> None:
    single, source = Single[str, str](), Source()
    tasks = await waiters(single, source, 3)
    for task in tasks[:2]:
        task.cancel()
    await asyncio.wait(tasks[:2])
    source.ending.set_result("v")
    assert await tasks[2] == "v"
    assert (source.runs, source.cancelled) == (1, 0)


async def test_the_last_who_leaves_ends_it_and_waits_for_that() -> None:
    single, source = Single[str, str](), Source()
    tasks = await waiters(single, source, 2)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    assert source.cancelled == 1


async def test_nobody_joins_a_run_that_is_being_ended() -> None:
    single, source = Single[str, str](), Source()
    source.may_stop.clear()
    (last,) = await waiters(single, source, 1)
    last.cancel()
    await source.stopping.wait()
    better = Source()
    better.ending.set_result("v")
    assert await single.do("k", better) == "v"
    assert not last.done()
    source.may_stop.set()
    with pytest.raises(asyncio.CancelledError):
        await last
