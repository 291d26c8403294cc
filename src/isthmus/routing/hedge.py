"""Asks a second deployment when the first is slow; the loser is stopped, and told as stopped."""

import asyncio
from collections.abc import Callable, Coroutine

from isthmus.core.errors import Failure, Unavailable
from isthmus.core.messages import Answer
from isthmus.routing.ask import Ask
from isthmus.routing.walk import Walk

Run = Callable[[Walk[Ask]], Coroutine[None, None, Answer]]


async def raced(walk: Walk[Ask], run: Run) -> Answer:
    """What `run` makes of the walk, or of another one beside it, whichever answers first.

    The other one starts once the first is slower than 95 % of its deployment's calls were; where
    too few of these are known, it never does. Raises what the first raises when both fail.
    """
    slow_s = walk.seat.health.p95_s()
    if slow_s is None:
        return await run(walk)
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(_outcome(run(walk)))]
        await asyncio.wait(runs, timeout=slow_s)
        if not runs[0].done() and (other := _beside(walk)) is not None:
            runs.append(group.create_task(_outcome(run(other))))
        found = await _first(runs)
        for each in runs:
            each.cancel()
    if isinstance(found, Failure):
        raise found
    return found


def _beside(walk: Walk[Ask]) -> Walk[Ask] | None:
    try:
        return walk.beside()
    except Unavailable:
        return None


async def _outcome(run: Coroutine[None, None, Answer]) -> Answer | Failure:
    """A failure as a value: it must not stop the other run."""
    try:
        return await run
    except Failure as failure:
        return failure


async def _first(runs: list[asyncio.Task[Answer | Failure]]) -> Answer | Failure:
    """The first answer; the first run's failure when there is none."""
    left = set(runs)
    while left:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            if isinstance(found := each.result(), Answer):
                return found
    return runs[0].result()
