"""Memory is given back again and again, where the C library can be told to."""

import platform

from isthmus.app.trim import MINUTE_S, keep_small, trim_heap


async def test_memory_is_given_back_each_minute_until_it_cannot_be() -> None:
    paused: list[float] = []
    answers = iter((True, True, False))

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    await keep_small(lambda: next(answers), pause)
    assert paused == [MINUTE_S] * 3
    assert not list(answers)


def test_the_c_library_is_told_where_it_is_glibc() -> None:
    assert trim_heap() == (platform.libc_ver()[0] == "glibc")
