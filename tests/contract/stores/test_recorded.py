"""What is stored of a session, read step by step, on each kind of database."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.records import SqlRecordStore
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.checkpoint import PendingWrites, Thread
from isthmus.core.errors import Unavailable
from isthmus.core.records import NewRecord, RecordWrite
from isthmus.core.workflow import NewWorkflow
from isthmus.platform import checkpoints
from isthmus.platform.recorded import Recorded
from tests.contract.stores.samples import step_id
from tests.support.clock import HandClock


class Place:
    """Both stores, and what reads them; workflow 7 is there."""

    def __init__(self, database: Database) -> None:
        clock = HandClock()
        self.workflows = SqlWorkflowStore(database, clock)
        self.engine = SqlCheckpointStore(database)
        self.records = SqlRecordStore(database, clock)
        self.recorded = Recorded(self.engine, self.records)

    async def steps(self, *, full: bool = False) -> list[dict[str, Any]]:
        return [cast("dict[str, Any]", one) async for one in self.recorded.steps("7", full=full)]


@pytest.fixture(name="place")
async def _place(database: Database) -> Place:
    place = Place(database)
    await place.workflows.create(NewWorkflow("chat", "x", "u1", "7"))
    return place


async def put(
    place: Place,
    number: int,
    values: dict[str, object],
    before: checkpoints.Known | None,
    parent: int | None = None,
    ns: str = "",
) -> checkpoints.Known:
    """A step as the engine stores it; `before` is what its writer remembers."""
    step = checkpoints.Step(
        thread=Thread("7", ns),
        checkpoint_id=step_id(number),
        parent_id=None if parent is None else step_id(parent),
        header={"ts": f"2026-01-01T00:00:{number:02}+00:00"},
        metadata={"source": "loop", "step": number},
        values=values,
        changed=values,
    )
    stored, known = checkpoints.encode(step, before)
    await place.engine.put(stored)
    return known


def entry(text: str) -> dict[str, object]:
    return {"message_id": text, "content": text}


async def test_steps_tell_what_changed_along_every_branch(place: Place) -> None:
    log: list[object] = [entry("a")]
    first = await put(place, 1, {"status": "x", "ui_chat_log": log, "branch:to": 1}, None)
    second: dict[str, object] = {"status": "x", "ui_chat_log": [*log, entry("b")]}
    await put(place, 2, second, first, 1)
    await put(place, 3, {"status": "y", "ui_chat_log": log}, first, 1)
    await put(place, 4, {"inner": {"deep": 1}}, None, None, "sub")
    pending = PendingWrites(
        Thread("7"), step_id(3), (checkpoints.write(("t", ""), 0, "out", {"k": "v"}),)
    )
    await place.engine.put_writes(pending)
    told = await place.steps()
    assert [(one["step"], one["id"], one["ns"]) for one in told] == [
        (1, step_id(1), ""),
        (2, step_id(2), ""),
        (3, step_id(3), ""),
        (4, step_id(4), "sub"),
    ]
    assert told[0]["changed"] == {"status": {"is": "x"}, "ui_chat_log": {"is": [entry("a")]}}
    assert told[1]["changed"] == {"ui_chat_log": {"splice": [1, 0, [entry("b")]]}}
    assert (told[1]["parent"], told[1]["at"]) == (step_id(1), "2026-01-01T00:00:02+00:00")
    # A fork of the first step: what the second one added is no part of its past.
    assert told[2]["changed"] == {"status": {"is": "y"}}
    assert told[2]["writes"] == [{"task": "t", "channel": "out", "value": {"k": "v"}}]
    assert told[1]["gone"] == []
    full = await place.steps(full=True)
    assert full[1]["values"] == second
    assert full[3]["values"] == {"inner": {"deep": 1}}
    assert "changed" not in full[1]
    assert await place.recorded.count("7") == 4


async def test_the_log_is_read_again_only_when_it_is_newer(place: Place) -> None:
    assert await place.recorded.log("7") is None
    known = await put(place, 1, {"ui_chat_log": [entry("a")]}, None)
    log = await place.recorded.log("7")
    assert log is not None
    assert (log.checkpoint_id, log.entries) == (step_id(1), [entry("a")])
    assert await place.recorded.log("7", log.checkpoint_id) is None
    await put(place, 2, {"ui_chat_log": [entry("a"), entry("b")]}, known, 1)
    log = await place.recorded.log("7", log.checkpoint_id)
    assert log is not None
    assert len(log.entries) == 2


async def append(place: Place, number: int, values: Sequence[object] | None) -> None:
    checkpoint: dict[str, object] = {"ts": str(number)}
    if values is not None:
        checkpoint["channel_values"] = {"ui_chat_log": values}
    new = NewRecord(
        workflow_id="7",
        thread_ts=step_id(number),
        parent_ts=step_id(number - 1) if number > 1 else None,
        ns="",
        current_thread=0,
        metadata=b"{}",
        checkpoint=json.dumps(checkpoint).encode(),
    )
    await place.records.append(new, "first")


async def test_what_a_flow_service_stored_is_read_from_its_oldest_on(place: Place) -> None:
    for number in range(1, 4):
        await append(place, number, [entry(str(one)) for one in range(number)])
    await append(place, 4, None)
    await place.records.put_writes("7", step_id(2), [RecordWrite("t", 0, "c", "json", "e30=")])
    seen: list[dict[str, Any]] = []
    async for one in place.recorded.steps("7"):
        step = cast("dict[str, Any]", one)
        seen.append(step)
        if step["step"] == 2:
            # It goes on while it is read: nothing is told twice, nothing is left out.
            await append(place, 5, [entry("last")])
    assert [one["id"] for one in seen] == [step_id(number) for number in range(1, 6)]
    assert [one["step"] for one in seen] == [1, 2, 3, 4, 5]
    assert seen[0]["values"] == {"ui_chat_log": [entry("0")]}
    assert seen[1]["writes"] == [{"task": "t", "channel": "c", "data": "e30="}]
    assert seen[3]["checkpoint"] == {"ts": "4"}
    assert await place.recorded.count("7") == 5
    log = await place.recorded.log("7")
    assert log is not None
    assert log.entries == [entry("last")]


async def test_a_damaged_step_is_told_as_one(place: Place) -> None:
    step = checkpoints.Step(Thread("7"), step_id(1), None, {}, {}, {"a": [1]}, ["a"])
    stored, _ = checkpoints.encode(step, None)
    await place.engine.put(replace(stored, blobs=()))
    with pytest.raises(Unavailable, match="damaged"):
        await place.steps()
    with pytest.raises(Unavailable, match="damaged"):
        await place.recorded.log("7")
