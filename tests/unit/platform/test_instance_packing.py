"""Checkpoints as the instance API carries them: whole, in parts, and pauses."""

import json
import pickle
import zlib
from base64 import b64decode, b64encode
from typing import Any

import msgspec
import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt

from isthmus.core.checkpoint import StoredCheckpoint, Thread, Write
from isthmus.platform import checkpoints, instance_packing
from isthmus.platform.instance_packing import Labels, Packed, Sent, Strategy
from isthmus.platform.instance_record import Snapshot

NOTHING = Sent("", {}, 0)
FIRST: dict[str, Any] = {
    "log": ["a"],
    "histories": {"chat": [1], "idle": []},
    "status": "Execution",
    "context": {"goal": "x"},
}


def stored(number: int, values: dict[str, Any], parent: int | None) -> StoredCheckpoint:
    versions = dict.fromkeys(values, f"0000{number}.5")
    step = checkpoints.Step(
        thread=Thread("7"),
        checkpoint_id=f"id-{number}",
        parent_id=None if parent is None else f"id-{parent}",
        header={"v": 4, "channel_versions": versions},
        metadata={"step": number},
        values=values,
        changed=values,
    )
    return checkpoints.encode(step, None)[0]


def packed(
    number: int,
    values: dict[str, Any],
    before: Sent = NOTHING,
    strategy: Strategy = "incremental",
    *,
    parent: int | None = None,
) -> Packed:
    return instance_packing.packed(
        stored(number, values, parent), values, (strategy, Labels()), before
    )


def blobs(made: Packed) -> dict[str, tuple[str, Any]]:
    listed: Any = made.body["channel_blobs"]
    return {
        blob["channel"]: (
            blob["step_action"],
            json.loads(zlib.decompress(b64decode(blob["data"]))),
        )
        for blob in listed
    }


def test_a12_50_a_new_group_holds_every_channel_and_later_steps_what_grew() -> None:
    first = packed(0, FIRST)
    assert blobs(first) == {name: ("compaction", value) for name, value in FIRST.items()}
    assert first.body["current_thread"] == 0
    assert "compressed_checkpoint" in first.body
    grown = {
        "log": ["a", "b"],
        "histories": {"chat": [1, 2], "idle": [], "new": [3]},
        "status": "input_required",
        "context": {"goal": "x"},
    }
    second = packed(1, grown, first.sent, parent=0)
    assert blobs(second) == {
        "log": ("conversation", ["b"]),
        "histories": ("conversation", {"chat": [2], "new": [3]}),
        "status": ("compaction", "input_required"),
    }
    assert second.body["current_thread"] == 0
    third = packed(2, grown | {"log": ["z"]}, second.sent, parent=1)
    assert set(blobs(third)) == set(grown)
    assert {action for action, _ in blobs(third).values()} == {"compaction"}
    assert third.body["current_thread"] == 1
    shrunk = packed(3, grown | {"histories": {"chat": [2]}}, second.sent, parent=1)
    assert shrunk.body["current_thread"] == 1
    other = packed(4, grown, second.sent, parent=0)
    assert other.body["current_thread"] == 1
    assert set(blobs(other)) == set(grown)


def test_a12_50_a_number_that_becomes_a_word_or_true_one_is_a_change() -> None:
    first = packed(0, {"n": 1, "m": [1]})
    assert blobs(packed(1, {"n": True, "m": [1]}, first.sent, parent=0)) == {
        "n": ("compaction", True)
    }


def test_a12_51_a_client_with_the_whole_state_gets_the_skeleton_sent() -> None:
    made = packed(0, FIRST, strategy="incremental_only")
    assert made.strategy == "incremental_only"
    assert "compressed_checkpoint" not in made.body
    assert made.body["checkpoint"] == {"v": 4, "channel_versions": dict.fromkeys(FIRST, "00000.5")}
    assert made.body["channel_keys"] == list(FIRST)
    listed: Any = made.body["channel_blobs"]
    assert {blob["version"] for blob in listed} == {"00000.5"}


@pytest.mark.parametrize(
    "values",
    [{"log": ["x" * 1_048_577]}, {f"c{n}": n for n in range(101)}, {"x" * 256: 1}],
)
def test_more_than_the_instance_takes_in_parts_goes_whole(values: dict[str, Any]) -> None:
    made = packed(0, values, strategy="incremental_only")
    assert made.strategy == "full"
    assert "channel_blobs" not in made.body
    text: Any = made.body["compressed_checkpoint"]
    assert instance_packing.inflated(text)["channel_values"] == values
    after = packed(1, {"log": []}, made.sent, parent=0)
    assert after.body["current_thread"] == 1
    assert blobs(after) == {"log": ("compaction", [])}


def test_labels_go_along_where_there_are_any() -> None:
    labels = Labels('{"name":"m"}', '{"flow_id":"f"}')
    made = instance_packing.packed(stored(0, FIRST, None), FIRST, ("full", labels), NOTHING)
    assert made.body["model_metadata_json"] == '{"name":"m"}'
    assert made.body["flow_metadata_json"] == '{"flow_id":"f"}'
    assert "model_metadata_json" not in packed(0, FIRST).body


INTERRUPT = {"$interrupts": [{"value": {"tool_calls": ["c1"]}, "id": "abc"}]}


def pause(data: bytes, write_type: str = "msgpack") -> Snapshot:
    row = {
        "task": "t",
        "channel": "__interrupt__",
        "data": b64encode(data).decode(),
        "write_type": write_type,
        "idx": -3,
    }
    return Snapshot("id-0", None, {}, {"channel_values": {}}, (row,))


def test_a12_52_an_interrupt_travels_as_the_engines_library_packs_it() -> None:
    write = checkpoints.write(("t", ""), -3, "__interrupt__", INTERRUPT)
    (body,) = instance_packing.write_bodies([write])
    assert isinstance(body, dict)
    revived = JsonPlusSerializer().loads_typed(("msgpack", b64decode(str(body["data"]))))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    assert list(revived) == [Interrupt(value={"tool_calls": ["c1"]}, id="abc")]
    theirs = JsonPlusSerializer().dumps_typed((Interrupt(value={"tool_calls": ["c1"]}, id="abc"),))
    found, _ = instance_packing.stored(pause(theirs[1]), Thread("7"))
    assert checkpoints.unpack(found.writes[0].data) == INTERRUPT


def test_a12_52_anything_but_an_interrupt_is_refused_on_load() -> None:
    packs = msgspec.msgpack
    evil = packs.Ext(2, packs.encode(("os", "system", {"command": "true"})))
    typed = packs.Ext(0, packs.encode(("builtins", "set", [1])))
    nested = packs.Ext(2, packs.encode(("langgraph.types", "Interrupt", "no fields")))
    for data in (
        packs.encode([evil]),
        packs.encode([typed]),
        packs.encode([nested]),
        packs.encode([{"value": 1}]),
        packs.encode("text"),
        packs.encode(7),
        b"\xc1",
        b"",
    ):
        with pytest.raises(ValueError, match="pending write"):
            instance_packing.stored(pause(data), Thread("7"))
    interrupt = JsonPlusSerializer().dumps_typed((Interrupt(value=1, id="i"),))[1]
    for write_type in ("json", "pickle", ""):
        with pytest.raises(ValueError, match="type that is refused"):
            instance_packing.stored(pause(interrupt, write_type), Thread("7"))
    with pytest.raises(ValueError, match="pending write"):
        instance_packing.stored(pause(pickle.dumps([1])), Thread("7"))


def test_other_writes_and_long_ones_are_not_sent() -> None:
    other = checkpoints.write(("t", ""), 0, "status", "x")
    pauses = checkpoints.write(("t", ""), -3, "__interrupt__", INTERRUPT)
    long = {"$interrupts": [{"value": "x" * 10_000, "id": "abc"}]}
    large = checkpoints.write(("t", ""), -3, "__interrupt__", long)
    written: list[tuple[list[Write], int]] = [
        ([], 0),
        ([other, pauses], 0),
        ([pauses, other], 1),
        ([large], 0),
    ]
    for writes, count in written:
        assert len(instance_packing.write_bodies(writes)) == count


@pytest.mark.parametrize(
    "checkpoint",
    [
        {},
        {"channel_values": None},
        "!!",
        b64encode(b"not deflated").decode(),
        b64encode(zlib.compress(b"[]")).decode(),
        b64encode(zlib.compress(b'{"channel_values":{}}'))[:20].decode(),
    ],
)
def test_a_damaged_checkpoint_is_no_empty_one(checkpoint: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each is damaged in a way of its own
        instance_packing.stored(Snapshot("id-0", None, {}, checkpoint), Thread("7"))
