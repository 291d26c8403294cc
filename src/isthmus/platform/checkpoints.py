"""Engine checkpoints as stored ones: a small header, and blobs that hold only what changed. Pure.

A channel's value is a chain of blobs, a group: the first one holds the value whole, each later one
what to splice into the value before it. A list is spliced once, a dict of lists once a key;
anything else is written whole. A chain has one writer: whoever cannot know that it is the only one
(a fork, a retry after a server was lost) begins new groups.
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeAlias, TypeGuard, cast

from isthmus.core.checkpoint import Blob, BlobRef, StoredCheckpoint, Thread, Write
from isthmus.core.errors import TooLarge

Json: TypeAlias = object
"""dict, list, str, int, float, bool or None, all the way down."""

LONGEST_CHAIN = 256
LONG_ENTRIES = 200
COMPRESS_FROM_BYTES = 1024
DECODED_LIMIT_BYTES = 64 * 1024 * 1024
_PLAIN, _ZLIB = b"\x00", b"\x01"
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
"""Made once: `json.dumps` would make one for each of some ten values a step."""


@dataclass(frozen=True, slots=True)
class Known:
    """A checkpoint as its writer remembers it: what the next one is compared with."""

    checkpoint_id: str
    refs: Mapping[str, BlobRef] = field(default_factory=dict[str, BlobRef])
    values: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class Step:
    """A checkpoint to be stored. `changed` names the channels that differ from the parent's."""

    thread: Thread
    checkpoint_id: str
    parent_id: str | None
    header: Json
    metadata: Json
    values: Mapping[str, Json]
    changed: Iterable[str]


def encode(step: Step, known: Known | None) -> tuple[StoredCheckpoint, Known]:
    """The stored form, and what to remember of it.

    `known` is the parent's; with none, or another one's, every channel begins a new group. Raises
    TypeError for a value that is not JSON.
    """
    known = _parent(step, known)
    changed = set(step.changed)
    refs: dict[str, BlobRef] = {}
    blobs: list[Blob] = []
    for channel, value in step.values.items():
        ref = known.refs.get(channel)
        if ref is not None and channel not in changed:
            refs[channel] = ref
            continue
        ref, blob = _advance(step.checkpoint_id, channel, ref, known.values.get(channel), value)
        refs[channel] = ref
        if blob is not None:
            blobs.append(blob)
    stored = StoredCheckpoint(
        thread=step.thread,
        checkpoint_id=step.checkpoint_id,
        parent_id=step.parent_id,
        header=dumps(step.header),
        metadata=dumps(step.metadata),
        refs=tuple(refs.values()),
        blobs=tuple(blobs),
    )
    return stored, Known(step.checkpoint_id, refs, dict(step.values))


def is_heavy(step: Step, known: Known | None) -> bool:
    """Whether `encode` will write long lists whole: that takes milliseconds for each megabyte."""
    refs = _parent(step, known).refs
    whole = (value for name, value in step.values.items() if _is_last(refs.get(name)))
    return sum(map(_entries, whole)) > LONG_ENTRIES


def values(stored: StoredCheckpoint) -> dict[str, Json]:
    """Every channel's value. Raises ValueError when blobs are missing or damaged."""
    chains: dict[tuple[str, int], list[Blob]] = {}
    for blob in stored.blobs:
        chains.setdefault((blob.ref.channel, blob.ref.group), []).append(blob)
    return {
        ref.channel: _value(ref, chains.get((ref.channel, ref.group), [])) for ref in stored.refs
    }


def known(stored: StoredCheckpoint, decoded: Mapping[str, Json]) -> Known:
    """What its writer would remember of a checkpoint that was read back."""
    return Known(stored.checkpoint_id, {ref.channel: ref for ref in stored.refs}, decoded)


def size_bytes(stored: StoredCheckpoint) -> int:
    """What `put` writes of it."""
    return len(stored.header) + len(stored.metadata) + sum(len(blob.data) for blob in stored.blobs)


def write(task: tuple[str, str], index: int, channel: str, value: Json) -> Write:
    """A pending write of a task (its id and path)."""
    return Write(task[0], index, channel, pack(value), task[1])


def pack(value: Json) -> bytes:
    """JSON, compressed when that pays. Raises TypeError for a value that is not JSON."""
    data = dumps(value)
    if len(data) < COMPRESS_FROM_BYTES:
        return _PLAIN + data
    return _ZLIB + zlib.compress(data, 3)


def unpack(data: bytes) -> Json:
    """The value again. Raises TooLarge above 64 MiB, ValueError when it is damaged."""
    if data[:1] == _PLAIN:
        return json.loads(data[1:])
    if data[:1] != _ZLIB:
        raise ValueError("a stored blob has an unknown form")
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(data[1:], DECODED_LIMIT_BYTES)
    except zlib.error as error:
        raise ValueError("a stored blob is damaged") from error
    if inflate.unconsumed_tail:
        raise TooLarge("A stored checkpoint is too large.", DECODED_LIMIT_BYTES)
    return json.loads(text)


def loads(text: bytes) -> Json:
    """A header or metadata again."""
    return json.loads(text)


def dumps(value: Json) -> bytes:
    """JSON text. Raises TypeError for anything that is not JSON; NaN is not."""
    try:
        return _encode(value).encode()
    except ValueError as error:
        raise TypeError("a checkpoint holds a value that is not JSON") from error


def _parent(step: Step, known: Known | None) -> Known:
    return known if known is not None and known.checkpoint_id == step.parent_id else Known("")


def _is_last(ref: BlobRef | None) -> bool:
    """Whether a new group begins behind it."""
    return ref is None or ref.seq + 1 >= LONGEST_CHAIN


def _entries(value: Json) -> int:
    if is_list(value):
        return len(value)
    return sum(map(len, value.values())) if is_lists(value) else 0


def _advance(
    checkpoint_id: str, channel: str, ref: BlobRef | None, old: Json, new: Json
) -> tuple[BlobRef, Blob | None]:
    if ref is not None and (old is new or _same(old, new)):
        return ref, None
    change = None if _is_last(ref) else _change(old, new)
    if ref is None or change is None:
        ref, change = BlobRef(channel, _group(checkpoint_id), 0), {"is": new}
    else:
        ref = BlobRef(channel, ref.group, ref.seq + 1)
    return ref, Blob(ref, pack(change))


def _group(checkpoint_id: str) -> int:
    """A number for groups that begin here: 53 bits, the same when a checkpoint is put twice."""
    return int.from_bytes(blake2b(checkpoint_id.encode(), digest_size=8).digest()) >> 11


def _same(old: Json, new: Json) -> bool:
    return type(old) is type(new) and old == new


def _change(old: Json, new: Json) -> Json | None:
    """What makes `new` of `old`; None when writing it whole is as good."""
    if is_list(old) and is_list(new):
        return {"splice": _splice(old, new)}
    if is_lists(old) and is_lists(new):
        each = {
            key: _splice(old.get(key, []), items)
            for key, items in new.items()
            if items is not old.get(key)
        }
        return {"each": each, "gone": [key for key in old if key not in new]}
    return None


def _splice(old: Sequence[Json], new: Sequence[Json]) -> list[Json]:
    """Where to cut, how many to drop, what to put there."""
    most = min(len(old), len(new))
    first = 0
    while first < most and (old[first] is new[first] or _same(old[first], new[first])):
        first += 1
    same = 0
    while same < most - first and (
        old[-1 - same] is new[-1 - same] or _same(old[-1 - same], new[-1 - same])
    ):
        same += 1
    return [first, len(old) - first - same, list(new[first : len(new) - same])]


def _value(ref: BlobRef, chain: Sequence[Blob]) -> Json:
    wanted = [blob for blob in chain if blob.ref.seq <= ref.seq]
    wanted.sort(key=lambda blob: blob.ref.seq)
    if [blob.ref.seq for blob in wanted] != list(range(ref.seq + 1)):
        raise ValueError(f"a stored checkpoint misses blobs of {ref.channel!r}")
    value: Json = None
    for blob in wanted:
        value = _applied(value, unpack(blob.data))
    return value


def _applied(value: Json, change: Json) -> Json:
    said = cast("dict[str, Any]", change) if isinstance(change, dict) else {}
    if "is" in said:
        return said["is"]
    if "splice" in said and is_list(value):
        return _spliced(value, said["splice"])
    if "each" in said and is_lists(value):
        for key in said["gone"]:
            value.pop(key, None)
        for key, splice in said["each"].items():
            value[key] = _spliced(value.get(key, []), splice)
        return value
    raise ValueError("a stored blob does not fit the one before it")


def _spliced(value: list[Json], splice: Sequence[Any]) -> list[Json]:
    first, cut, items = splice
    value[first : first + cut] = items
    return value


def is_list(value: Json) -> TypeGuard[list[Json]]:
    """Whether it is a list."""
    return isinstance(value, list)


def is_lists(value: Json) -> TypeGuard[dict[str, list[Json]]]:
    """Whether it is an object whose every value is a list."""
    if not isinstance(value, dict):
        return False
    return all(isinstance(item, list) for item in cast("dict[str, object]", value).values())
