"""One model call as telemetry is told of it: a start and exactly one end, whatever the ending."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType

from msgspec import Struct

from isthmus.core.errors import Failure
from isthmus.core.events import ModelCalled, ModelCallStarted
from isthmus.core.messages import Delta, ModelChoice, RawReply, Usage
from isthmus.core.ports import Clock, Telemetry
from isthmus.routing.failures import class_of, class_of_status

# Counting tokens must never cost the caller an answer. One for all: it holds no state.
_HARMLESS = suppress(Exception)


class Labels(Struct, frozen=True, gc=False):
    """What a call is told under, besides its model."""

    feature: str
    unit_primitive: str
    streaming: bool
    realm: str


class Record:
    """Entered when the call leaves, left when it ends."""

    def __init__(
        self, telemetry: Telemetry, clock: Clock, choice: ModelChoice, labels: Labels
    ) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._choice = choice
        self._labels = labels
        self._started_s = 0.0
        self._first_byte_s = 0.0
        self._seen = False
        self.usage: Usage | None = None
        self.finish = ""
        self.error = "none"

    def __enter__(self) -> "Record":
        choice = self._choice
        self._started_s = self._clock.now_s()
        self._telemetry.emit(ModelCallStarted(choice.engine, choice.upstream or choice.id))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        match error:
            case None:
                pass
            case GeneratorExit() | asyncio.CancelledError():
                self.finish = "cancelled"
            case Failure():
                self.error, self.finish = class_of(error), "error"
            case _:
                self.error, self.finish = "other", "error"
        choice, labels = self._choice, self._labels
        fact = ModelCalled(
            provider=choice.provider,
            engine=choice.engine,
            model=choice.upstream or choice.id,
            feature=labels.feature,
            unit_primitive=labels.unit_primitive,
            streaming=labels.streaming,
            duration_s=self._clock.now_s() - self._started_s,
            first_byte_s=self._first_byte_s,
            usage=self.usage,
            error=self.error,
            finish=self.finish,
            realm=labels.realm,
        )
        self._telemetry.emit(fact)

    def answered(self) -> None:
        """The provider has begun to answer; only the first telling counts."""
        if not self._seen:
            self._seen = True
            self._first_byte_s = self._clock.now_s() - self._started_s

    def saw(self, delta: Delta) -> None:
        """Note what a delta tells of the call."""
        if not self._seen:
            self.answered()
        if delta.finish is not None:
            self.finish = delta.finish
        if delta.usage is not None:
            self.usage = delta.usage


class Forwarding:
    """A forwarded call: the provider's reply, with its usage and its ending noted on the way.

    The reply's meter is shown every chunk that passes.
    """

    _chunks: AsyncIterator[bytes]
    _meter: Callable[[bytes], Usage | None]
    _whole: Callable[[], bytes | None]

    def __init__(self, reply: AbstractAsyncContextManager[RawReply], record: Record) -> None:
        self._reply = reply
        self._record = record
        self._ended = False

    async def __aenter__(self) -> RawReply:
        record = self._record
        record.__enter__()
        try:
            reply = await self._reply.__aenter__()
        except BaseException as error:
            record.__exit__(type(error), error, error.__traceback__)
            raise
        record.answered()
        record.error = class_of_status(reply.status)
        self._chunks = reply.chunks
        self._meter = reply.meter
        self._whole = reply.whole
        return RawReply(reply.status, reply.headers, self, reply.meter, self.whole)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and not self._ended:
            error = GeneratorExit()
        try:
            await self._reply.__aexit__(kind, error if kind else None, trace)
        finally:
            self._record.__exit__(kind, error, trace)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            self._ended = True
            raise
        self._count(chunk)
        return chunk

    def whole(self) -> bytes | None:
        """See `RawReply`."""
        body = self._whole()
        if body is not None:
            self._ended = True
            self._count(body)
        return body

    def _count(self, chunk: bytes) -> None:
        with _HARMLESS:
            self._record.usage = self._meter(chunk) or self._record.usage
