"""Unit tests are pure: a socket in one of them is an error."""

import sys
from collections.abc import Iterator

import pytest

_REFUSED = {"socket.connect", "socket.bind", "socket.sendto"}
_watching = False


def _hook(event: str, args: tuple[object, ...]) -> None:
    if _watching and event in _REFUSED:
        raise RuntimeError(f"a unit test used a socket: {event}{args!r}")


sys.addaudithook(_hook)


@pytest.fixture(autouse=True)
def no_sockets() -> Iterator[None]:
    global _watching  # noqa: PLW0603 - an audit hook cannot be removed, only told to rest
    _watching = True
    yield
    _watching = False
