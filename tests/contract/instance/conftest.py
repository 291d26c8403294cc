"""A stand of the instance API, on SQLite; its routes are imported before any loop runs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.instance_stand import InstanceStand, open_instance, prepare


@pytest.fixture(scope="session", autouse=True)
def what_a_start_reads_is_read() -> None:
    prepare()


@pytest.fixture(name="stand")
async def _stand(tmp_path: Path) -> AsyncIterator[InstanceStand]:
    async with open_instance(tmp_path) as stand:
        yield stand
