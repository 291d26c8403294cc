"""Sends events to a collector: bounded queues, batches, patience; no request ever waits for it."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from isthmus.adapters.telemetry.pipeline import Pipeline
from isthmus.core.beside import beside
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Failure
from isthmus.core.events import Noted
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Clock, Outbound

Event = TypeVar("Event")
SENDERS = 4
"""Batches of one stream that are under way at once."""
BATCH_LIMIT_BYTES = 512 * 1024
FILL_S = 1.0
"""How long a batch that is not full waits for more."""
PAUSE_FIRST_S = 1.0
PAUSE_LAST_S = 60.0
CONNECT_S = 5.0
ANSWER_S = 10.0
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Form(Generic[Event]):
    """How events are written, and where they go.

    `encode` writes one; `body` puts some together, given the second (since the epoch) of sending.
    """

    url: str
    batch_size: int
    headers: tuple[tuple[str, str], ...]
    encode: Callable[[Event], bytes]
    body: Callable[[Sequence[bytes], float], bytes]


class Stream(Generic[Event]):
    """Events of one kind that wait to be sent. Used on the loop's thread alone."""

    def __init__(self, name: str, form: Form[Event], limit: int) -> None:
        self.name = name
        self.form = form
        self.batch_size = form.batch_size
        self.filled = asyncio.Event()
        self._limit = limit
        self._queue: deque[bytes] = deque()
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, event: Event) -> None:
        """Take an event; one that is not JSON, or finds the queue full, is dropped and counted."""
        if len(self._queue) >= self._limit:
            self._dropped += 1
            return
        try:
            self._queue.append(self.form.encode(event))
        except (ValueError, TypeError, RecursionError):
            self._dropped += 1
        self.filled.set()

    def miss(self, count: int) -> None:
        """Count what was lost before it came here."""
        self._dropped += count

    def take(self) -> list[bytes]:
        """The next batch; empty when nothing waits."""
        batch: list[bytes] = []
        size_bytes = 0
        while self._queue and len(batch) < self.batch_size:
            size_bytes += len(self._queue[0])
            if batch and size_bytes > BATCH_LIMIT_BYTES:
                break
            batch.append(self._queue.popleft())
        if not self._queue:
            self.filled.clear()
        return batch

    def put_back(self, batch: Sequence[bytes]) -> None:
        """Have a batch sent again, before the others; over the limit, the newest are dropped."""
        self._queue.extendleft(reversed(batch))
        while len(self._queue) > self._limit:
            self._queue.pop()
            self._dropped += 1
        self.filled.set()

    def give_up(self) -> None:
        """Drop everything."""
        self._dropped += len(self._queue)
        self._queue.clear()

    def lost(self) -> int:
        """How many were dropped since this was asked last."""
        lost, self._dropped = self._dropped, 0
        return lost


@dataclass(frozen=True, slots=True)
class Sending:
    """What every sender needs; `roll` gives samples of [0, 1)."""

    outbound: Outbound
    clock: Clock
    telemetry: Pipeline
    roll: Callable[[], float] = random.random


@asynccontextmanager
async def open_collector(
    streams: Sequence[Stream[Any]], sending: Sending, drain_s: float
) -> AsyncIterator[None]:
    """Send what comes for as long as the context lasts, and what is left for `drain_s` more."""
    if not streams:
        yield
        return
    closing = asyncio.Event()
    senders = [_Sender(stream, sending, closing) for stream in streams for _ in range(SENDERS)]
    try:
        async with beside(*(sender.run() for sender in senders)) as tasks:
            try:
                yield
            finally:
                # Facts that were told last become the last events.
                sending.telemetry.drain()
                closing.set()
                for stream in streams:
                    stream.filled.set()
                await asyncio.wait(tasks, timeout=drain_s)
    finally:
        for stream in streams:
            stream.give_up()
            _tell_losses(stream, sending.telemetry)


class _Sender:
    """Sends batches of one stream, one after the other."""

    def __init__(self, stream: Stream[Any], sending: Sending, closing: asyncio.Event) -> None:
        self._stream = stream
        self._sending = sending
        self._closing = closing
        self._failures = 0

    async def run(self) -> None:
        """Until it is closing and nothing waits, or closing and the collector does not answer."""
        stream = self._stream
        while not self._closing.is_set() or (stream and not self._failures):
            await stream.filled.wait()
            if len(stream) < stream.batch_size and stream.batch_size > 1:
                await self._pause(FILL_S)
            batch = stream.take()
            if batch:
                await self._send(batch)
            _tell_losses(stream, self._sending.telemetry)

    async def _send(self, batch: list[bytes]) -> None:
        try:
            status = await self._post(batch)
        except asyncio.CancelledError:
            self._stream.put_back(batch)
            raise
        if 200 <= status < 300:
            self._failures = 0
            return
        final = 0 < status < 500 and status not in _LATER
        if final or self._failures == 0:
            about = (("stream", self._stream.name), ("status", str(status)))
            text = "a collector refuses events" if final else "a collector takes no events"
            self._sending.telemetry.emit(Noted("warning", text, about))
        if final:
            return
        self._stream.put_back(batch)
        self._failures += 1
        pause_s = min(PAUSE_LAST_S, PAUSE_FIRST_S * 2.0 ** min(self._failures - 1, 10))
        await self._pause(pause_s * (0.5 + 0.5 * self._sending.roll()))

    async def _post(self, batch: Sequence[bytes]) -> int:
        """The collector's status; 0 when there was none."""
        sending = self._sending
        form = self._stream.form
        sent = form.body(batch, sending.clock.utc().timestamp())
        request = OutboundRequest("POST", form.url, form.headers, sent)
        at_s = sending.clock.now_s() + CONNECT_S + ANSWER_S
        deadline = Deadline(at_s, CONNECT_S, ANSWER_S, ANSWER_S)
        try:
            async with sending.outbound.open(request, deadline) as reply:
                await reply.read(BATCH_LIMIT_BYTES)
                return reply.status
        except Failure:
            return 0

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()


def _tell_losses(stream: Stream[Any], telemetry: Pipeline) -> None:
    lost = stream.lost()
    if lost:
        about = (("stream", stream.name), ("count", str(lost)))
        telemetry.emit(Noted("error", "events were dropped", about))
