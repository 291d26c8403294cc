"""The engine may not block the event loop, but for what a new PostgreSQL connection reads."""

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

from tests.support.postgres import let_asyncpg_read_its_files


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[None]:
    with blockbuster_ctx("isthmus") as blocker:
        let_asyncpg_read_its_files(blocker)
        yield
