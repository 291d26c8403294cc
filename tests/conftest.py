"""What every test lives under: a blocking call of ours on the event loop fails it."""

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

from tests.support.postgres import let_asyncpg_read_its_files

# A property is about values: how long a shared machine takes for one says nothing.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

pytest_plugins = ["tests.support.fixtures_store"]


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[None]:
    with blockbuster_ctx("isthmus") as blocker:
        let_asyncpg_read_its_files(blocker)
        # gRPC joins its poller thread when the collector takes the last of its objects.
        blocker.functions["threading.Lock.acquire"].can_block_in("threading.py", "join")
        yield
