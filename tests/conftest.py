"""What every test lives under: a blocking call of ours on the event loop fails it."""

from collections.abc import Iterator

import grpc.aio
import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

from tests.support.postgres import let_asyncpg_read_its_files

# A property is about values: how long a shared machine takes for one says nothing.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

pytest_plugins = ["tests.support.fixtures_store", "tests.support.fixtures_npm"]


@pytest.fixture(scope="session", autouse=True)
def one_grpc_for_all() -> None:
    """Else gRPC joins its poller thread whenever the collector takes the last of its objects."""
    grpc.aio.init_grpc_aio()


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[None]:
    with blockbuster_ctx("isthmus") as blocker:
        let_asyncpg_read_its_files(blocker)
        yield
