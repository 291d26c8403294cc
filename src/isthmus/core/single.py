"""Calls for the same thing at the same time share one run."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Run(Generic[V]):
    __slots__ = ("task", "waiting")

    def __init__(self, task: "asyncio.Task[V]") -> None:
        self.task = task
        self.waiting = 0


class Single(Generic[K, V]):
    """Runs that are under way, by what they are for. Nothing is kept once a run has ended."""

    def __init__(self) -> None:
        self._runs: dict[K, _Run[V]] = {}

    async def do(self, key: K, make: Callable[[], Coroutine[None, None, V]]) -> V:
        """What `make` returns or raises, from the run that is under way for `key`, or a new one.

        The run belongs to all who wait for it: one that is cancelled leaves it alone, and the last
        one takes it along and waits for its end.
        """
        run = self._runs.get(key)
        if run is None or run.task.done():
            run = _Run(asyncio.get_running_loop().create_task(make()))
            self._runs[key] = run
        run.waiting += 1
        try:
            await asyncio.wait((run.task,))
        except asyncio.CancelledError:
            if run.waiting == 1:
                self._forget(key, run)
                run.task.cancel()
                await asyncio.gather(run.task, return_exceptions=True)
            raise
        finally:
            run.waiting -= 1
            if run.task.done():
                self._forget(key, run)
        return run.task.result()

    def _forget(self, key: K, run: _Run[V]) -> None:
        if self._runs.get(key) is run:
            del self._runs[key]
