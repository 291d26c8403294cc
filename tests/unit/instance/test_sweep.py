"""Which workflows are given up."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf

import pytest

from isthmus.core.errors import Unavailable
from isthmus.core.events import Noted
from isthmus.core.workflow import NewWorkflow, Status, StatusEvent, Workflow
from isthmus.instance.sweep import Evenness, once, period_s, stuck, sweep
from isthmus.settings import InstanceSettings
from tests.support.clock import HandClock
from tests.support.memory_store import MemoryWorkflows
from tests.support.sink import MemorySink

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("status", list(Status))
def test_only_what_claims_to_run_can_be_stuck(status: Status) -> None:
    workflow = Workflow("1", "chat", "", "o", status, "", NOW, NOW)
    assert stuck(workflow, NOW + timedelta(seconds=1)) is (status in {"created", "running"})
    assert not stuck(workflow, NOW)


def test_rounds_are_short_beside_the_time_that_is_allowed() -> None:
    assert period_s(1_800.0) == 60.0
    assert period_s(10.0) == 1.0


class Listed(MemoryWorkflows):
    """A store that says which of its records are stuck, whatever happened since."""

    def __init__(self, *ids: str) -> None:
        super().__init__()
        self.ids = ids
        self.down = False
        self.asked = asyncio.Event()

    async def stuck(self, before: datetime, limit: int = 100) -> Sequence[str]:
        self.asked.set()
        if self.down:
            raise Unavailable("down")
        assert limit
        assert before == HandClock().utc() - timedelta(seconds=1_800)
        return self.ids

    async def record(self, workflow_id: str, status: Status, idle_s: float) -> None:
        made = await self.create(NewWorkflow("chat", "", workflow_id=workflow_id))
        at = HandClock().utc() - timedelta(seconds=idle_s)
        self.records[workflow_id] = replace(made, status=status, updated_at=at)


async def test_what_moved_since_it_was_listed_lives() -> None:
    store = Listed("1", "2", "3", "4")
    await store.record("1", Status.RUNNING, idle_s=1_801)
    await store.record("2", Status.RUNNING, idle_s=5)
    await store.record("3", Status.INPUT_REQUIRED, idle_s=9_000)
    assert await once(store, HandClock().utc() - timedelta(seconds=1_800)) == ["1"]
    assert store.moves == [StatusEvent.DROP]
    assert store.records["1"].status == Status.FAILED


async def test_a_store_that_is_down_is_told_of_and_asked_again() -> None:
    store, sink = Listed("1"), MemorySink()
    await store.record("1", Status.CREATED, idle_s=1_801)
    quick = InstanceSettings(stuck_after_s=0.001)
    store.down = True
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(sweep(store, HandClock(), quick, sink))
        for _ in range(2):
            store.asked.clear()
            await store.asked.wait()
        task.cancel()
    assert [(fact.level, fact.details) for fact in sink.of(Noted)][:1] == [
        ("warning", (("failure", "Unavailable"),))
    ]


def test_after_a_leap_of_the_clock_what_lives_has_time_to_be_touched() -> None:
    evenness, hour_s = Evenness(60.0), 3_600.0
    assert evenness.lasted_s(0.0, 1_000.0) == inf
    assert evenness.lasted_s(60.0, 1_060.0) == inf
    # Small steps, and steps back, make nothing look old.
    assert evenness.lasted_s(120.0, 1_150.0) == inf
    assert evenness.lasted_s(180.0, 1_210.0 - 3 * hour_s) == inf
    # The clock is set right again.
    assert evenness.lasted_s(240.0, 1_270.0) == 0.0
    assert evenness.lasted_s(300.0, 1_330.0) == 60.0
    # It leaps once more, before the time is over.
    assert evenness.lasted_s(360.0, 1_390.0 + hour_s) == 0.0
    assert evenness.lasted_s(3_960.0, 4_990.0 + hour_s) == hour_s
