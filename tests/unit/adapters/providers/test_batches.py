"""Texts that wait for threads: who shares a batch, who waits, and who is turned away."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from isthmus.adapters.providers._batches import (
    BATCH_CHARS,
    BATCH_TEXTS,
    WAITING_TEXTS,
    Batches,
    Slice,
    Vectors,
    Work,
)
from isthmus.core.deadline import Deadline
from isthmus.core.errors import MisconfiguredProvider, UpstreamLimited, UpstreamTimeout
from tests.support.clock import HandClock

LONG = Deadline(at_s=HandClock().now_s() + 3600)


class Model:
    """Makes a vector of a text's number; waits for `gate`, and remembers what it was given."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.batches: list[list[str]] = []
        self.at_once = 0
        self.most = 0
        self.loads = 0
        self._lock = threading.Lock()

    def load(self) -> Work:
        self.loads += 1
        return self.work

    def work(self, slices: Sequence[Slice]) -> list[tuple[Vectors, int]]:
        with self._lock:
            self.batches.append([text for texts, _ in slices for text in texts])
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.begun.release()
        assert self.gate.wait(10)
        with self._lock:
            self.at_once -= 1
        return [([[float(text)] * size for text in texts], len(texts)) for texts, size in slices]

    async def working(self, batches: int = 1) -> None:
        for _ in range(batches):
            assert await asyncio.to_thread(self.begun.acquire, timeout=10)


def numbers(*found: int) -> tuple[str, ...]:
    return tuple(map(str, found))


async def test_small_requests_share_a_batch_while_the_thread_is_busy() -> None:
    model = Model()
    batches = Batches(1, HandClock(), model.load)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(batches.vectors(numbers(0), 1, LONG))
        await model.working()
        rest = [group.create_task(batches.vectors(numbers(n, n), 2, LONG)) for n in range(1, 9)]
        await asyncio.sleep(0)
        model.gate.set()
    assert first.result() == ([[0.0]], 1)
    assert [task.result() for task in rest] == [([[n, n], [n, n]], 2) for n in range(1, 9)]
    assert [len(batch) for batch in model.batches] == [1, 16]
    assert model.loads == 1


async def test_no_more_threads_than_allowed_work_at_once() -> None:
    model = Model()
    batches = Batches(2, HandClock(), model.load)
    many = numbers(*range(BATCH_TEXTS * 6))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(batches.vectors(many, 1, LONG))
        await model.working(2)
        model.gate.set()
    vectors, tokens = task.result()
    assert vectors == [[float(n)] for n in range(len(many))]
    assert tokens == len(many)
    assert model.most == 2
    assert model.loads == 1


async def test_a_long_request_lets_small_ones_pass() -> None:
    model = Model()
    batches = Batches(1, HandClock(), model.load)
    async with asyncio.TaskGroup() as group:
        group.create_task(batches.vectors(numbers(*[0] * BATCH_TEXTS * 4), 1, LONG))
        group.create_task(batches.vectors(numbers(*[1] * BATCH_TEXTS * 4), 1, LONG))
        await model.working()
        group.create_task(batches.vectors(numbers(7), 1, LONG))
        await asyncio.sleep(0)
        model.gate.set()
    assert "7" in model.batches[1]
    order = [text for batch in model.batches for text in batch if text != "7"]
    assert order == sorted(order), "long requests go one after another"


async def test_a_batch_is_bounded_by_characters_too() -> None:
    model = Model()
    model.gate.set()
    wide = "1".rjust(BATCH_CHARS // 2, " ")
    await Batches(1, HandClock(), model.load).vectors((wide,) * 5, 1, LONG)
    assert [len(batch) for batch in model.batches] == [2, 2, 1]


async def test_those_who_left_hold_nobody_up() -> None:
    model = Model()
    batches = Batches(1, HandClock(), model.load)
    first = asyncio.ensure_future(batches.vectors(numbers(0), 1, LONG))
    await model.working()
    left = [
        asyncio.ensure_future(batches.vectors(numbers(n), 1, LONG))
        for n in range(1, BATCH_TEXTS * 3)
    ]
    stayed = asyncio.ensure_future(batches.vectors(numbers(5), 1, LONG))
    await asyncio.sleep(0)
    for task in left:
        task.cancel()
    await asyncio.wait(left)
    model.gate.set()
    assert await asyncio.wait_for(stayed, 10) == ([[5.0]], 1)
    assert await first == ([[0.0]], 1)
    assert model.batches == [["0"], ["5"]]


async def test_whoever_leaves_while_a_thread_works_for_it_is_forgotten() -> None:
    model = Model()
    batches = Batches(1, HandClock(), model.load)
    gone = asyncio.ensure_future(batches.vectors(numbers(0), 1, LONG))
    await model.working()
    gone.cancel()
    await asyncio.wait([gone])
    model.gate.set()
    assert await batches.vectors(numbers(3), 1, LONG) == ([[3.0]], 1)


async def test_too_much_that_waits_is_turned_away() -> None:
    model = Model()
    batches = Batches(1, HandClock(), model.load)
    first = asyncio.ensure_future(batches.vectors(numbers(0), 1, LONG))
    await model.working()
    with pytest.raises(UpstreamLimited) as raised:
        await batches.vectors(("1",) * WAITING_TEXTS, 1, LONG)
    assert raised.value.retry_after_s is not None
    model.gate.set()
    await first


async def test_a_deadline_ends_the_wait() -> None:
    model = Model()
    batches = Batches(1, HandClock(), model.load)
    with pytest.raises(UpstreamTimeout) as raised:
        await batches.vectors(numbers(0), 1, Deadline(at_s=HandClock().now_s() + 0.01))
    assert raised.value.phase == "total"
    model.gate.set()


@pytest.mark.parametrize(
    ("error", "text"),
    [(ModuleNotFoundError("x"), r"isthmus\[embeddings\]"), (FileNotFoundError("x"), "reinstall")],
)
async def test_a_model_that_is_not_there_is_named_and_tried_again(
    error: Exception, text: str
) -> None:
    model = Model()
    model.gate.set()
    failures = [error]

    def load() -> Work:
        if failures:
            raise failures.pop()
        return model.work

    loading: Callable[[], Work] = load
    batches = Batches(1, HandClock(), loading)
    with pytest.raises(MisconfiguredProvider, match=text):
        await batches.vectors(numbers(1), 1, LONG)
    assert await batches.vectors(numbers(1), 1, LONG) == ([[1.0]], 1)


async def test_no_texts_need_no_model() -> None:
    model = Model()
    assert await Batches(1, HandClock(), model.load).vectors((), 1, LONG) == ([], 0)
    assert model.loads == 0
