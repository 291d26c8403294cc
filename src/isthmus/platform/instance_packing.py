"""A checkpoint as the instance API carries it: whole, as what changed, or both. Pure.

The state of a session travels as our engine keeps it, one JSON value a channel.
Source: agent-platform contract, section 6.5.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeGuard, cast

import msgspec
from msgspec.msgpack import Ext

from isthmus.core.checkpoint import Blob, BlobRef, StoredCheckpoint, Thread, Write
from isthmus.core.errors import TooLarge
from isthmus.platform import checkpoints
from isthmus.platform.checkpoints import DECODED_LIMIT_BYTES, Json
from isthmus.platform.instance_record import Snapshot

Strategy: TypeAlias = Literal["full", "incremental", "incremental_only"]

MAX_BLOBS: Final = 100
MAX_BLOB_BYTES: Final = 1_048_576
MAX_WRITE_CHARS: Final = 10_000
MAX_NAME_CHARS: Final = 255
INTERRUPT: Final = "__interrupt__"
_MARKED: Final = "$interrupts"
_CONSTRUCTED: Final = 2
"""The extension type under which the engine's library packs an object by its class and fields."""
_CLASS: Final = ("langgraph.types", "Interrupt")
VALUES: Final = "channel_values"


@dataclass(frozen=True, slots=True)
class Sent:
    """A checkpoint that the instance has, as its writer remembers it."""

    checkpoint_id: str
    values: Mapping[str, Json]
    group: int


@dataclass(frozen=True, slots=True)
class Labels:
    """What goes along with every checkpoint; texts of JSON, empty for none."""

    model: str = ""
    flow: str = ""


@dataclass(frozen=True, slots=True)
class Packed:
    """The body of a POST, the strategy that it follows, and what to remember."""

    body: Mapping[str, Json]
    strategy: Strategy
    sent: Sent


def packed(
    stored: StoredCheckpoint,
    values: Mapping[str, Json],
    how: tuple[Strategy, Labels],
    before: Sent,
) -> Packed:
    """The body for a checkpoint whose channels have these values.

    `before` is the last one that the instance got; with another parent than that, or where a list
    lost something, every channel is sent again as a new group.
    """
    wanted, labels = how
    header = cast("dict[str, Json]", checkpoints.loads(stored.header))
    body: dict[str, Json] = {
        "thread_ts": stored.checkpoint_id,
        "parent_ts": stored.parent_id,
        "metadata": checkpoints.loads(stored.metadata),
    }
    if labels.model:
        body["model_metadata_json"] = labels.model
    if labels.flow:
        body["flow_metadata_json"] = labels.flow
    strategy, sent = wanted, Sent(stored.checkpoint_id, values, before.group)
    if strategy != "full":
        versions = cast("Mapping[str, Json]", header.get("channel_versions") or {})
        blobs, group = _blobs(values, versions, before, stored.parent_id)
        if blobs is None:
            # More than the instance takes in parts: whole now, and the next step begins a group.
            strategy, sent = "full", Sent("", {}, before.group)
        else:
            body |= {"channel_blobs": blobs, "current_thread": group}
            sent = Sent(stored.checkpoint_id, values, group)
    if strategy == "incremental_only":
        body["checkpoint"] = header
        body["channel_keys"] = list(values)
    else:
        body["compressed_checkpoint"] = deflated(header | {VALUES: values})
    return Packed(body, strategy, sent)


def stored(snapshot: Snapshot, thread: Thread) -> tuple[StoredCheckpoint, Sent]:
    """What the instance has, as a store returns it: each channel whole, in a group of its own.

    Raises ValueError when it is damaged, or holds what is not revived; TooLarge over the limit.
    """
    checkpoint = snapshot.checkpoint
    if isinstance(checkpoint, str):
        checkpoint = inflated(checkpoint)
    channels = checkpoint.get(VALUES)
    if not _is_object(channels):
        raise ValueError("a checkpoint of this session came without its state")
    group = zlib.crc32(snapshot.thread_ts.encode())
    refs = tuple(BlobRef(channel, group, 0) for channel in channels)
    found = StoredCheckpoint(
        thread=thread,
        checkpoint_id=snapshot.thread_ts,
        parent_id=snapshot.parent_ts,
        header=checkpoints.dumps({k: v for k, v in checkpoint.items() if k != VALUES}),
        metadata=checkpoints.dumps(snapshot.metadata),
        refs=refs,
        blobs=tuple(Blob(ref, checkpoints.pack({"is": channels[ref.channel]})) for ref in refs),
        writes=tuple(map(_write, snapshot.writes)),
    )
    return found, Sent(snapshot.thread_ts, channels, snapshot.blob_group or 0)


def write_bodies(writes: Sequence[Write]) -> list[Json]:
    """Pending writes for the instance: interrupts, and nothing else.

    One that is larger than it takes is left out: the status tells of the pause too.
    """
    if not writes or writes[0].channel != INTERRUPT:
        return []
    bodies: list[Json] = []
    for write in writes:
        if write.channel != INTERRUPT:
            continue
        said = cast("Mapping[str, Any]", checkpoints.unpack(write.data))
        interrupts = [
            Ext(_CONSTRUCTED, msgspec.msgpack.encode((*_CLASS, one))) for one in said[_MARKED]
        ]
        data = b64encode(msgspec.msgpack.encode(interrupts)).decode()
        if len(data) <= MAX_WRITE_CHARS:
            bodies.append(
                {
                    "task": write.task_id,
                    "channel": write.channel,
                    "data": data,
                    "write_type": "msgpack",
                    "idx": write.index,
                }
            )
    return bodies


def deflated(checkpoint: Json) -> str:
    """Base64 of the checkpoint's JSON, deflated."""
    return b64encode(zlib.compress(checkpoints.dumps(checkpoint), 3)).decode()


def inflated(text: str) -> dict[str, Json]:
    """The checkpoint again. Raises ValueError, or TooLarge."""
    inflate = zlib.decompressobj()
    try:
        plain = inflate.decompress(b64decode(text, validate=True), DECODED_LIMIT_BYTES)
    except zlib.error as error:
        raise ValueError("a checkpoint of this session is damaged") from error
    if inflate.unconsumed_tail:
        raise TooLarge("A stored checkpoint is too large.", DECODED_LIMIT_BYTES)
    return cast("dict[str, Json]", msgspec.json.decode(plain, type=dict[str, Any]))


def _write(row: Mapping[str, Any]) -> Write:
    """Raises ValueError for anything but an interrupt: no other object is ever revived."""
    if row.get("write_type") != "msgpack":
        raise ValueError("a pending write of this session is of a type that is refused")
    try:
        packs = msgspec.msgpack.decode(b64decode(str(row.get("data")), validate=True))
        interrupts = [_interrupt(pack) for pack in packs]
    except (msgspec.MsgspecError, TypeError, UnicodeError, RecursionError) as error:
        raise ValueError("a pending write of this session cannot be read") from error
    task, index = str(row.get("task")), int(row.get("idx") or 0)
    return checkpoints.write((task, ""), index, INTERRUPT, {_MARKED: interrupts})


def _interrupt(pack: object) -> Json:
    if isinstance(pack, Ext) and pack.code == _CONSTRUCTED:
        module, name, fields = msgspec.msgpack.decode(pack.data, type=tuple[str, str, Any])
        if (module, name) == _CLASS and isinstance(fields, dict):
            said = cast("dict[str, Json]", fields)
            return {"value": said.get("value"), "id": said.get("id")}
    raise ValueError("a pending write of this session holds an object that is refused")


def _blobs(
    values: Mapping[str, Json],
    versions: Mapping[str, Json],
    before: Sent,
    parent_id: str | None,
) -> tuple[list[Json] | None, int]:
    """The blobs of a step and their group; None when they are more than the instance takes."""
    group, blobs = before.group, None
    if before.checkpoint_id and before.checkpoint_id == parent_id:
        blobs = _growth(values, before.values)
    if blobs is None:
        if before.checkpoint_id or parent_id is not None:
            group += 1
        blobs = {channel: ("compaction", value) for channel, value in values.items()}
    made: list[Json] = []
    for channel, (action, value) in blobs.items():
        text = checkpoints.dumps(value)
        if len(text) > MAX_BLOB_BYTES or len(channel) > MAX_NAME_CHARS:
            return None, group
        made.append(
            {
                "channel": channel,
                "version": str(versions.get(channel, ""))[:MAX_NAME_CHARS],
                "data": b64encode(zlib.compress(text, 3)).decode(),
                "write_type": "json",
                "step_action": action,
            }
        )
    return (made if len(made) <= MAX_BLOBS else None), group


_Change: TypeAlias = tuple[Literal["conversation", "compaction"], Json]


def _growth(new: Mapping[str, Json], old: Mapping[str, Json]) -> dict[str, _Change] | None:
    """What each channel gained; None when one lost something, and the group with it."""
    blobs: dict[str, _Change] = {}
    for channel, value in new.items():
        known = old.get(channel)
        if channel in old and type(known) is type(value) and known == value:
            continue
        if checkpoints.is_list(value) and checkpoints.is_list(known):
            if value[: len(known)] != known:
                return None
            blobs[channel] = ("conversation", value[len(known) :])
        elif checkpoints.is_lists(value) and checkpoints.is_lists(known) and known:
            if any(value.get(key, [])[: len(items)] != items for key, items in known.items()):
                return None
            added = {key: items[len(known.get(key, [])) :] for key, items in value.items()}
            blobs[channel] = ("conversation", {key: items for key, items in added.items() if items})
        else:
            blobs[channel] = ("compaction", value)
    return blobs


def _is_object(value: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(value, dict)
