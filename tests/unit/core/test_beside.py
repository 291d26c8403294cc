"""Work beside a block: it ends with the block, and each one's faults are heard."""

import asyncio

import pytest

from isthmus.core.beside import beside


async def forever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("work")


async def test_work_ends_with_the_block_and_its_fault_stays_as_it_was() -> None:
    ended: list[str] = []

    async def block() -> None:
        async with beside(forever(ended), forever(ended)):
            await asyncio.sleep(0)
            raise KeyError

    with pytest.raises(KeyError):
        await block()
    assert ended == ["work", "work"]


async def test_a_fault_of_the_work_ends_the_block() -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with beside(broken()):
            await asyncio.Event().wait()


async def test_two_faults_are_told_together() -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(BaseExceptionGroup):
        async with beside(broken(), broken()):
            await asyncio.Event().wait()
