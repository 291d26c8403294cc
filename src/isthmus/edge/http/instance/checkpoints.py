"""Wire of a workflow's checkpoints and pending writes: the relay's routes.

Source: instance contract, sections 1.8 and 1.9.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct
from starlette.responses import Response

from isthmus.core.errors import NotFound, Rejected
from isthmus.core.records import NewRecord, Record, RecordBlob, RecordQuery, RecordWrite
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.instance._entry import ONE, Route, Visit, endpoints
from isthmus.edge.http.instance._paging import Paging, headers
from isthmus.edge.http.instance._params import invalid, path_number, reader
from isthmus.edge.http.instance._shapes import reply
from isthmus.edge.services import Services
from isthmus.instance import packed

SINGLE_FLAGS = ("duo_workflow_read_incremental_checkpoints", "dw_read_blobs_api")
"""Both must be on for one checkpoint to be asked for by its `thread_ts`."""
_Upto255 = Annotated[str, Meta(max_length=255)]
_Stamp = Annotated[str, Meta(min_length=1, max_length=255)]
_Lineage = Annotated[str, Meta(max_length=4_096)]
_Json = Annotated[str, Meta(max_length=1_048_576)]
MISSING = "404 Checkpoint Not Found"


class Blob(Struct, frozen=True):
    """One channel's value, or what was added to it."""

    channel: _Upto255
    version: _Upto255
    write_type: _Upto255
    step_action: Literal["conversation", "compaction"]
    data: Annotated[str, Meta(max_length=packed.BLOB_CHARS)]


class CheckpointBody(Struct, frozen=True, kw_only=True):
    """A checkpoint to be stored: as an object, or as base64 of deflated JSON."""

    thread_ts: _Stamp
    metadata: Raw
    parent_ts: _Upto255 | None = None
    checkpoint_ns: _Lineage | None = None
    checkpoint: Raw | msgspec.UnsetType = msgspec.UNSET
    compressed_checkpoint: str | None = None
    model_metadata_json: _Json | None = None
    flow_metadata_json: _Json | None = None
    current_thread: Annotated[int, Meta(ge=0, lt=2**31)] = 0
    channel_blobs: Annotated[tuple[Blob, ...], Meta(max_length=100)] | None = None


class BasicCheckpoint(Struct, frozen=True):
    """What names a stored checkpoint."""

    id: int
    thread_ts: str
    parent_ts: str | None
    checkpoint_ns: str


class WriteBody(Struct, frozen=True):
    """One pending write."""

    task: _Upto255
    idx: Annotated[int, Meta(ge=-(2**31), lt=2**31)]
    channel: _Upto255
    write_type: _Upto255
    data: Annotated[str, Meta(max_length=10_000)]


class WritesBody(Struct, frozen=True):
    """The pending writes of a checkpoint."""

    thread_ts: _Stamp
    checkpoint_writes: Annotated[tuple[WriteBody, ...], Meta(max_length=1_000)]


class Encoding(Struct, frozen=True):
    """How checkpoints are to be shown."""

    accept_compressed: bool = False


class ListParams(Paging, frozen=True):
    """Which checkpoints, and how; without a lineage, those of all."""

    accept_compressed: bool = False
    checkpoint_ns: _Lineage | None = None


class SingleParams(Encoding, frozen=True, kw_only=True):
    """Which one, and how."""

    thread_ts: _Stamp


class WriteShape(Struct, frozen=True):
    """A pending write as it is kept."""

    id: int
    thread_ts: str
    task: str
    idx: int
    channel: str
    write_type: str
    data: str


class CheckpointShape(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stored checkpoint, in one of two forms."""

    id: int
    thread_ts: str
    parent_ts: str | None
    checkpoint_ns: str
    current_thread: int
    metadata: Raw
    checkpoint_writes: tuple[WriteShape, ...]
    checkpoint: Raw | msgspec.UnsetType = msgspec.UNSET
    compressed_checkpoint: str | msgspec.UnsetType = msgspec.UNSET


_read_checkpoint = reader(CheckpointBody)
_read_writes = reader(WritesBody)
_read_list = reader(ListParams)
_read_single = reader(SingleParams)
_read_encoding = reader(Encoding)


async def _add(visit: Visit) -> Response:
    body = await _read_checkpoint(visit.request)
    # Packing and unpacking a large one takes longer than other requests should wait.
    new = await asyncio.to_thread(_new, visit.workflow_id, body)
    stored = await visit.instance.checkpoints.append(visit.member, new)
    named = BasicCheckpoint(stored.id, stored.thread_ts, stored.parent_ts, stored.ns)
    return reply(named, 201)


async def _list(visit: Visit) -> Response:
    asked = await _read_list(visit.request)
    query = RecordQuery(
        visit.workflow_id, asked.checkpoint_ns, page=asked.page, per_page=asked.size
    )
    found = await visit.instance.checkpoints.page(visit.member, query)
    shapes = await _shown(found.items, deflated=asked.accept_compressed)
    return reply(shapes, headers=headers(visit, asked, found.total))


async def _read_by_stamp(visit: Visit) -> Response:
    asked = await _read_single(visit.request)
    await _admit_single(visit)
    query = RecordQuery(visit.workflow_id, thread_ts=asked.thread_ts, per_page=1)
    found = await visit.instance.checkpoints.page(visit.member, query)
    if not found.items:
        raise NotFound(MISSING)
    (shape,) = await _shown(found.items, deflated=asked.accept_compressed)
    return reply(shape)


async def _read(visit: Visit) -> Response:
    asked = await _read_encoding(visit.request)
    number = path_number(visit.request, "checkpoint_id", MISSING)
    record = await visit.instance.checkpoints.get(visit.member, visit.workflow_id, number)
    (shape,) = await _shown([record], deflated=asked.accept_compressed)
    return reply(shape)


async def _add_writes(visit: Visit) -> Response:
    body = await _read_writes(visit.request)
    writes = tuple(
        RecordWrite(write.task, write.idx, write.channel, write.write_type, write.data)
        for write in body.checkpoint_writes
    )
    await visit.instance.checkpoints.put_writes(
        visit.member, visit.workflow_id, body.thread_ts, writes
    )
    return reply({})


_ours = partial(Route, scopes=("ai_workflows",), relayed=True)

ROUTES = (
    _ours(
        method="POST",
        path=f"{ONE}/checkpoints",
        handle=_add,
        summary="Store a checkpoint.",
        body=CheckpointBody,
        reply=BasicCheckpoint,
        status=201,
    ),
    _ours(
        method="GET",
        path=f"{ONE}/checkpoints",
        handle=_list,
        summary="List checkpoints, newest first.",
    ),
    _ours(
        method="GET",
        path=f"{ONE}/checkpoints/by_thread_ts",
        handle=_read_by_stamp,
        summary="Read the checkpoint with this `thread_ts`.",
        reply=CheckpointShape,
    ),
    _ours(
        method="GET",
        path=f"{ONE}/checkpoints/{{checkpoint_id}}",
        handle=_read,
        summary="Read a checkpoint.",
        reply=CheckpointShape,
    ),
    _ours(
        method="POST",
        path=f"{ONE}/checkpoint_writes_batch",
        handle=_add_writes,
        summary="Store pending writes.",
        body=WritesBody,
    ),
)


def routes(_services: Services) -> list[Endpoint]:
    """The routes of checkpoints and writes."""
    return endpoints(ROUTES)


async def _admit_single(visit: Visit) -> None:
    """Raises NotFound while one of the flags is off: callers then look through the list."""
    place = await visit.instance.workflows.place(await visit.workflow())
    for name in SINGLE_FLAGS:
        if not await visit.instance.flags.on(name, place, visit.member.user):
            raise NotFound(MISSING)


def _new(workflow_id: str, body: CheckpointBody) -> NewRecord:
    """Raises Invalid, Rejected."""
    metadata = bytes(body.metadata)
    if not packed.is_object(metadata):
        raise invalid("metadata", "is invalid")
    plain, deflated = _checkpoint(body)
    return NewRecord(
        workflow_id=workflow_id,
        thread_ts=body.thread_ts,
        parent_ts=body.parent_ts,
        ns=body.checkpoint_ns or "",
        current_thread=body.current_thread,
        metadata=metadata,
        checkpoint=plain,
        deflated=deflated,
        blobs=tuple(map(_blob, body.channel_blobs or (), range(100))),
        model=body.model_metadata_json or "",
        flow=body.flow_metadata_json or "",
    )


def _checkpoint(body: CheckpointBody) -> tuple[bytes, bytes]:
    """The checkpoint's text, and the same deflated when it came so. Raises Invalid, Rejected."""
    plain = b"" if body.checkpoint is msgspec.UNSET else bytes(body.checkpoint)
    if plain not in {b"", b"null"}:
        if not packed.is_object(plain):
            raise invalid("checkpoint", "is invalid")
        return plain, b""
    if not body.compressed_checkpoint:
        raise Rejected("Either checkpoint or compressed_checkpoint must be provided")
    try:
        deflated = packed.unbase64(body.compressed_checkpoint)
        plain = packed.inflate(deflated)
    except ValueError as error:
        raise Rejected(f"Invalid compressed checkpoint data: {error}") from error
    if not packed.is_object(plain):
        raise Rejected("Invalid compressed checkpoint data: it is not a JSON object")
    return plain, deflated


def _blob(blob: Blob, index: int) -> RecordBlob:
    try:
        data = packed.unbase64(blob.data)
    except ValueError as error:
        raise invalid(f"channel_blobs[{index}].data", "is invalid") from error
    return RecordBlob(blob.channel, blob.version, blob.write_type, blob.step_action, data)


async def _shown(records: Iterable[Record], *, deflated: bool) -> list[CheckpointShape]:
    def work() -> list[CheckpointShape]:
        return [_shape(record, deflated=deflated) for record in records]

    return await asyncio.to_thread(work)


def _shape(record: Record, *, deflated: bool) -> CheckpointShape:
    shape = CheckpointShape(
        id=record.id,
        thread_ts=record.thread_ts,
        parent_ts=record.parent_ts,
        checkpoint_ns=record.ns,
        current_thread=record.current_thread,
        metadata=Raw(record.metadata),
        checkpoint_writes=tuple(
            WriteShape(
                id=write.id,
                thread_ts=record.thread_ts,
                task=write.task,
                idx=write.idx,
                channel=write.channel,
                write_type=write.write_type,
                data=write.data,
            )
            for write in record.writes
        ),
    )
    if deflated:
        packing = packed.deflate(record.checkpoint)
        return msgspec.structs.replace(shape, compressed_checkpoint=packing)
    return msgspec.structs.replace(shape, checkpoint=Raw(record.checkpoint))
