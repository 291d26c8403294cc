"""The engine's own conformance suite, through our saver."""

from collections.abc import AsyncGenerator

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database
from isthmus.platform.engine.saver import Habits, Saver
from tests.support.memory_store import MemoryCheckpoints

CAPABILITIES = {"put", "put_writes", "get_tuple", "list", "delete_thread", "prune"}


@pytest.mark.parametrize("continues", [True, False])
async def test_the_saver_passes_the_engines_suite(continues: bool) -> None:
    @checkpointer_test(name=f"memory-{continues}")
    async def factory() -> AsyncGenerator[Saver, None]:
        yield Saver(MemoryCheckpoints(), Habits(continues=continues))

    report = await validate(factory, capabilities=CAPABILITIES)
    failures = [failure for result in report.results.values() for failure in result.failures]
    assert not failures, "\n".join(failures)
    assert report.passed_all_base()


async def test_the_saver_passes_the_engines_suite_on_a_database(database: Database) -> None:
    @checkpointer_test(name="sql")
    async def factory() -> AsyncGenerator[Saver, None]:
        yield Saver(SqlCheckpointStore(database), Habits(continues=True))

    report = await validate(factory, capabilities=CAPABILITIES)
    failures = [failure for result in report.results.values() for failure in result.failures]
    assert not failures, "\n".join(failures)
    assert report.passed_all_base()
