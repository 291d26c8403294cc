"""Something that opens when it is first asked for, and is owned by one task from then on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar

from isthmus.core.errors import Unavailable

Opened = TypeVar("Opened")


class Late(Generic[Opened]):
    """Opens once. When that fails, whoever waits is told, and the next one to ask tries again."""

    def __init__(self, open_it: Callable[[], AbstractAsyncContextManager[Opened]]) -> None:
        self._open = open_it
        self._wanted = asyncio.Event()
        self._closing = asyncio.Event()
        self._opened: asyncio.Future[Opened] = _promise()

    async def get(self) -> Opened:
        """What was opened; waits for it. Raises what opening raised, Unavailable at the end."""
        if self._closing.is_set():
            raise Unavailable("The server is stopping; try again.")
        self._wanted.set()
        return await asyncio.shield(self._opened)

    @property
    def opened(self) -> Opened | None:
        """What was opened; None while it is not."""
        told = self._opened
        return told.result() if told.done() and told.exception() is None else None

    async def keep(self) -> None:
        """The owner's task: opens when wanted, closes at `close`."""
        while not self._closing.is_set():
            await self._wanted.wait()
            if not self._closing.is_set():
                await self._hold()

    async def _hold(self) -> None:
        self._wanted.clear()
        try:
            async with self._open() as opened:
                self._opened.set_result(opened)
                await self._closing.wait()
        except Exception as error:
            if self._opened.done():
                raise
            failed, self._opened = self._opened, _promise()
            failed.set_exception(error)
            failed.exception()  # it counts as told: nobody may be waiting

    def close(self) -> None:
        """Let the owner close it."""
        self._closing.set()
        self._wanted.set()


def _promise() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


@asynccontextmanager
async def open_late(
    open_it: Callable[[], AbstractAsyncContextManager[Opened]],
) -> AsyncIterator[Late[Opened]]:
    """A Late with its owner; what was opened is closed at the end."""
    late, group = Late(open_it), asyncio.TaskGroup()
    await group.__aenter__()
    group.create_task(late.keep())
    try:
        yield late
    finally:
        late.close()
        # What ended the body is the body's: as part of an exception group nobody would know it.
        await group.__aexit__(None, None, None)
