"""The connection to a store: how long an answer is waited for, and what is left of a broken one."""

import asyncio
import socket
import time
from secrets import token_hex

import pytest

from isthmus.adapters.limits.link import StoreLostError, ValkeyLink, patient
from tests.support.limits import TEXT


async def test_a_loop_that_stood_still_does_not_count_as_a_late_answer() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        async with patient(0.1):
            loop.call_soon(time.sleep, 0.3)
            loop.call_soon(theirs.send, b"+")
            assert await loop.sock_recv(ours, 1) == b"+"


async def test_an_answer_that_never_comes_is_not_waited_for() -> None:
    with pytest.raises(TimeoutError):
        async with patient(0.02):
            await asyncio.Event().wait()


async def test_a_server_that_is_silent_is_lost() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        link = ValkeyLink(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", 0.05, TEXT)
        with pytest.raises(StoreLostError, match="TimeoutError"):
            await link.run((), (0, "me", 0, 0))
        await link.close()


async def test_an_answer_that_came_too_late_is_never_read(redis_url: str) -> None:
    link = ValkeyLink(redis_url, 10.0, TEXT)
    key = f"test:{token_hex(6)}"
    ask = (1_000, "me", 0, 1, 1, 1, 0, 60_000, 100, 1, 0, 0, 0)
    for left in range(99, 89, -1):
        running = asyncio.ensure_future(link.run((key,), ask))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait((running,))
        if running.cancelled():
            # It may have been counted, or not; the next answer is the next one's.
            answer = await link.run((key,), (*ask[:9], 0, *ask[10:]))
            assert len(answer) == 6
            assert answer[3] >= left
    await link.close()


async def test_a_script_that_the_server_forgot_is_sent_again(redis_url: str) -> None:
    link = ValkeyLink(redis_url, 10.0, TEXT + f"\n-- {token_hex(8)}")
    for _ in range(2):
        assert await link.run((), (0, "me", 0, 0)) == []
    await link.close()
