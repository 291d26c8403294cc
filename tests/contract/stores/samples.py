"""Checkpoints for tests: ids sort by time, every step adds one blob of constant size."""

from isthmus.adapters.stores.leases import SqlLeases
from isthmus.core.checkpoint import Blob, BlobRef, StoredCheckpoint, Thread
from isthmus.core.lease import Lease

THREAD = Thread("7")


def step_id(step: int) -> str:
    return f"1f0b{step:08d}-0000-6000-8000-000000000000"


async def stolen(leases: SqlLeases, thread_id: str, holder: str, other: str) -> Lease:
    """A session in other hands, of which its holder hears nothing."""
    await leases.leave(holder)
    return await leases.take(thread_id, other)


def checkpoint(
    step: int, *, thread: Thread = THREAD, data: bytes = b"", group: int = 1
) -> StoredCheckpoint:
    """Step number `step` of a thread: `messages` grows by a blob, `status` is replaced."""
    log = BlobRef("messages", group, step)
    status = BlobRef("status", step, 0)
    return StoredCheckpoint(
        thread=thread,
        checkpoint_id=step_id(step),
        parent_id=step_id(step - 1) if step else None,
        header=b'{"v":4,"step":%d}' % step,
        metadata=b'{"source":"loop"}',
        refs=(log, status),
        blobs=(Blob(log, data or b"message %d" % step), Blob(status, b"status %d" % step)),
    )


def whole(step: int, *, thread: Thread = THREAD) -> StoredCheckpoint:
    """What a store gives back for `checkpoint(step)` after every earlier step was put too."""
    put = checkpoint(step, thread=thread)
    earlier = [checkpoint(number).blobs[0] for number in range(step)]
    return StoredCheckpoint(
        thread=thread,
        checkpoint_id=put.checkpoint_id,
        parent_id=put.parent_id,
        header=put.header,
        metadata=put.metadata,
        refs=put.refs,
        blobs=(*earlier, *put.blobs),
    )
