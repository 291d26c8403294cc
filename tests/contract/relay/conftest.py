"""A relay for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.relay_stand import RelayStand, open_relay, prepare


@pytest.fixture(scope="session", autouse=True)
def prepared() -> None:
    prepare()


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[RelayStand]:
    """With every setting at its default."""
    async with open_relay(tmp_path) as stand:
        yield stand
