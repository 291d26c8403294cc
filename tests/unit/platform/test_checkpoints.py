"""The codec of checkpoints: what it writes, and that it reads the same again."""

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.core.checkpoint import Blob, StoredCheckpoint, Thread
from isthmus.core.errors import TooLarge
from isthmus.platform import checkpoints
from isthmus.platform.checkpoints import Known, Step, encode, pack, unpack, values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
STATES = st.lists(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), min_size=1, max_size=6)


class Chain:
    """Writes states one after another, and keeps every blob."""

    def __init__(self) -> None:
        self.known: Known | None = None
        self.blobs: list[Blob] = []
        self.parent: str | None = None
        self.number = 0

    def put(self, state: dict[str, Any]) -> StoredCheckpoint:
        self.number += 1
        name = f"{self.number:04}"
        step = Step(Thread("7"), name, self.parent, {}, {}, state, state.keys())
        stored, self.known = encode(step, self.known)
        self.blobs += stored.blobs
        self.parent = name
        return stored

    def back(self, stored: StoredCheckpoint) -> dict[str, Any]:
        wanted = {(ref.channel, ref.group) for ref in stored.refs}
        kept = [blob for blob in self.blobs if (blob.ref.channel, blob.ref.group) in wanted]
        whole = StoredCheckpoint(
            stored.thread, stored.checkpoint_id, None, b"{}", b"{}", stored.refs, tuple(kept)
        )
        return values(whole)


@given(STATES)
def test_any_sequence_of_states_is_read_as_it_was_written(states: list[dict[str, Any]]) -> None:
    chain = Chain()
    written = [(chain.put(state), state) for state in states]
    for stored, state in written:
        assert chain.back(stored) == state


def test_an_appended_list_costs_what_was_appended() -> None:
    chain = Chain()
    log: list[dict[str, Any]] = []
    sizes: list[int] = []
    stored = chain.put({"log": log, "histories": {"agent": log}})
    for number in range(200):
        log = [*log, {"n": number, "text": f"entry {number:05}"}]
        stored = chain.put({"log": log, "histories": {"agent": log}})
        sizes.append(checkpoints.size_bytes(stored))
    assert sizes[199] < sizes[20] * 1.05
    assert chain.back(stored)["log"] == log


def test_a_changed_middle_costs_what_changed() -> None:
    chain = Chain()
    log = [{"n": number} for number in range(100)]
    chain.put({"log": log})
    log = [*log[:50], {"n": "new"}, *log[51:]]
    stored = chain.put({"log": log})
    assert unpack(stored.blobs[0].data) == {"splice": [50, 1, [{"n": "new"}]]}


def test_an_unchanged_channel_writes_nothing() -> None:
    chain = Chain()
    first = chain.put({"a": [1], "b": {"x": 1}})
    second = chain.put({"a": [1], "b": {"x": 1}})
    assert second.blobs == ()
    assert second.refs == first.refs


def test_true_and_one_are_different_values() -> None:
    chain = Chain()
    chain.put({"a": 1})
    assert chain.back(chain.put({"a": True}))["a"] is True


def test_an_unknown_parent_begins_new_groups() -> None:
    chain = Chain()
    first = chain.put({"a": [1]})
    chain.parent = "elsewhere"
    second = chain.put({"a": [1, 2]})
    assert second.refs[0].seq == 0
    assert second.refs[0].group != first.refs[0].group


def test_a_checkpoint_put_twice_is_the_same() -> None:
    step = Step(Thread("7"), "0001", None, {}, {}, {"a": [1]}, ["a"])
    assert encode(step, None)[0] == encode(step, None)[0]


def test_a_chain_has_a_greatest_length() -> None:
    chain = Chain()
    state: list[int] = []
    longest = 0
    for number in range(checkpoints.LONGEST_CHAIN + 5):
        state = [*state, number]
        longest = max(longest, chain.put({"a": state}).refs[0].seq)
    assert longest == checkpoints.LONGEST_CHAIN - 1


def test_long_lists_are_heavy_only_where_they_are_written_whole() -> None:
    chain = Chain()
    heavy: list[int] = []
    log = list(range(checkpoints.LONG_ENTRIES))
    for number in range(checkpoints.LONGEST_CHAIN + 2):
        log = [*log, number]
        state: dict[str, Any] = {"log": {"agent": log}, "status": str(number)}
        step = Step(Thread("7"), f"{number + 1:04}", chain.parent, {}, {}, state, state.keys())
        if checkpoints.is_heavy(step, chain.known):
            heavy.append(number)
        chain.put(state)
    assert heavy == [0, checkpoints.LONGEST_CHAIN]
    short = Step(Thread("7"), "x", None, {}, {}, {"log": [1], "text": "x" * 9_999}, ["log"])
    assert not checkpoints.is_heavy(short, None)


@pytest.mark.parametrize("value", [b"x", {1, 2}, object(), float("nan"), Exception("x")])
def test_only_json_is_written(value: object) -> None:
    with pytest.raises(TypeError):
        pack(value)


def test_long_values_are_compressed_and_short_ones_are_not() -> None:
    assert len(pack("x" * 100_000)) < 1000
    assert pack([1]) == b"\x00[1]"
    assert unpack(pack("x" * 100_000)) == "x" * 100_000


def test_a_blob_that_inflates_without_bound_is_refused() -> None:
    bomb = b"\x01" + zlib.compress(b" " * (checkpoints.DECODED_LIMIT_BYTES + 1), 9)
    with pytest.raises(TooLarge):
        unpack(bomb)


@pytest.mark.parametrize("data", [b"", b"\x02[]", b"\x01broken", b"\x00{"])
def test_a_damaged_blob_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the class is all that is promised
        unpack(data)


def test_a_checkpoint_that_misses_blobs_is_refused() -> None:
    chain = Chain()
    chain.put({"a": [1]})
    stored = chain.put({"a": [1, 2]})
    with pytest.raises(ValueError, match="misses blobs of 'a'"):
        values(stored)
