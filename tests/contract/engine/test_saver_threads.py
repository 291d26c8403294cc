"""Writers of one thread: who continues what was read, and who must not."""

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT
from langgraph.types import Interrupt

from isthmus.platform.checkpoints import LONG_ENTRIES
from isthmus.platform.engine.saver import Habits, JsonSerde, Saver
from tests.support.memory_store import MemoryCheckpoints

LONG = [f"entry {number} " + "x" * 50 for number in range(100)]


async def put(saver: Saver, config: RunnableConfig | None, log: list[Any]) -> RunnableConfig:
    checkpoint: Checkpoint = {
        **empty_checkpoint(),
        "channel_values": {"log": log},
        "channel_versions": {"log": len(log)},
    }
    root: RunnableConfig = {"configurable": {"thread_id": "7", "checkpoint_ns": ""}}
    return await saver.aput(
        config or root, checkpoint, {"source": "loop", "step": 0}, {"log": len(log)}
    )


async def log_of(store: MemoryCheckpoints, config: RunnableConfig) -> Any:
    found = await Saver(store).aget_tuple(config)
    assert found is not None
    return found.checkpoint["channel_values"]["log"]


async def test_a_resumed_thread_is_continued_at_the_price_of_what_is_new() -> None:
    store = MemoryCheckpoints()
    await put(Saver(store), None, LONG)
    resumed = Saver(store, Habits(continues=True))
    head = await resumed.head("7", None)
    assert head is not None
    last = await put(resumed, head.config, [*LONG, "new"])
    assert store.written[1] < store.written[0]
    assert await log_of(store, last) == [*LONG, "new"]


async def test_a_long_state_is_written_whole_as_it_is() -> None:
    store = MemoryCheckpoints()
    long = [f"entry {number}" for number in range(LONG_ENTRIES + 1)]
    config = await put(Saver(store), None, long)
    assert await log_of(store, config) == long


async def test_two_writers_that_cannot_know_of_each_other_do_not_mix() -> None:
    store = MemoryCheckpoints()
    first = await put(Saver(store), None, LONG)
    branches: list[RunnableConfig] = []
    savers = [Saver(store), Saver(store)]
    heads = [await saver.head("7", None) for saver in savers]
    for number, (saver, head) in enumerate(zip(savers, heads, strict=True)):
        assert head is not None
        config = head.config
        for step in range(2):
            config = await put(saver, config, [*LONG, f"{number}-{step}"])
        branches.append(config)
    assert await log_of(store, first) == LONG
    assert [(await log_of(store, config))[-1] for config in branches] == ["0-1", "1-1"]


async def test_interrupts_come_back_as_such_and_errors_by_name_alone() -> None:
    store = MemoryCheckpoints()
    saver = Saver(store)
    config = await put(saver, None, [])
    await saver.aput_writes(config, [(INTERRUPT, (Interrupt({"a": 1}, id="i"),))], "t1")
    await saver.aput_writes(config, [(ERROR, ValueError("secret words"))], "t2")
    found = await Saver(store).aget_tuple(config)
    assert found is not None
    assert found.pending_writes is not None
    written = {channel: value for _, channel, value in found.pending_writes}
    assert written == {INTERRUPT: (Interrupt({"a": 1}, id="i"),), ERROR: "ValueError"}


async def test_a_saver_of_pauses_leaves_other_writes_out() -> None:
    store = MemoryCheckpoints()
    saver = Saver(store, Habits(pauses_only=True))
    config = await put(saver, None, [])
    await saver.aput_writes(config, [("log", ["x"])], "t1")
    await saver.aput_writes(config, [(INTERRUPT, (Interrupt(1, id="i"),))], "t2")
    found = await Saver(store).aget_tuple(config)
    assert found is not None
    assert [channel for _, channel, _ in found.pending_writes or ()] == [INTERRUPT]


@pytest.mark.parametrize("value", [object(), b"x", {1}, ValueError("x")])
async def test_nothing_but_json_is_stored(value: object) -> None:
    saver = Saver(MemoryCheckpoints())
    with pytest.raises(TypeError):
        await put(saver, None, [value])
    with pytest.raises(TypeError):
        JsonSerde().dumps_typed(value)


def test_a_serialised_object_is_refused() -> None:
    with pytest.raises(ValueError, match="refused"):
        JsonSerde().loads_typed(("pickle", b"\x80\x04."))
