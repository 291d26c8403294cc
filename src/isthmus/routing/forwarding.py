"""A forwarded call: the reply of the first place that gives one, noted on its way."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Final, Protocol

from msgspec.structs import replace

from isthmus.core.deadline import Deadline
from isthmus.core.errors import UpstreamFailed, UpstreamLimited
from isthmus.core.messages import Destination, RawReply
from isthmus.core.policies import Guard, RelayedFilter
from isthmus.core.ports import ModelProvider
from isthmus.routing.ask import RawAsk
from isthmus.routing.blame import Blame, blame_status, retry_after_s
from isthmus.routing.failures import class_of_status
from isthmus.routing.quota import Spending
from isthmus.routing.seats import Seat
from isthmus.routing.turn import Labels, Teller, Turn
from isthmus.routing.walk import Walk

HELD_CHUNKS: Final = 64
HELD_BYTES: Final = 256 * 1024
"""Of a reply that has neither content nor an error yet; then it counts as begun."""
BYTES_A_CHAR: Final = 16
"""Of a forwarded answer for each character of its text, most of it being the vendor's frame."""

# Counting tokens must never cost the caller an answer. One for all: it holds no state.
_HARMLESS = suppress(Exception)


class Means(Protocol):
    """What a forwarded call is made with."""

    @property
    def teller(self) -> Teller: ...

    @property
    def guard(self) -> Guard | None: ...

    def door(self, seat: Seat) -> ModelProvider:
        """Raises MisconfiguredProvider."""
        ...

    def proxy_deadline(self) -> Deadline:
        """The limits of a call that begins now."""
        ...


class Forwarding:
    """A context: entering asks one place after another until one answers.

    An error status is a failure only while there is somebody else to ask; the last one's answer is
    passed on as it is. The same holds for a stream that breaks, or tells an error, before content.
    """

    _opened: AbstractAsyncContextManager[RawReply]
    _reply: RawReply
    _turn: Turn[RawAsk]

    def __init__(
        self,
        means: Means,
        walk: Walk[RawAsk],
        labels: Labels,
        reserve: Callable[[], Awaitable[Spending | None]] | None = None,
    ) -> None:
        self._means = means
        self._reserve = reserve
        self._spending: Spending | None = None
        self._looks = True
        """Whether chunks may be held, looked at or counted; at first, that is not known."""
        self._walk = walk
        self._labels = labels
        self._ended = False
        self._held: deque[bytes] = deque()
        self._filter: RelayedFilter | None = None

    async def __aenter__(self) -> RawReply:
        if self._reserve is not None:
            try:
                self._spending = await self._reserve()
            except BaseException:
                # It may have been the one call that tries a deployment again.
                self._walk.abandoned()
                raise
        try:
            return await self._entered()
        except BaseException:
            self._settle()
            raise

    async def _entered(self) -> RawReply:
        while True:
            turn = self._turn = Turn(self._means.teller, self._walk, self._labels)
            try:
                await self._ask(turn)
            except BaseException as error:
                if turn.__exit__(type(error), error, error.__traceback__):
                    self._held.clear()
                    continue
                raise
            reply = self._reply
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
            await self._opened.__aexit__(kind, error if kind else None, trace)
            if not self._ended:
                # A provider that bills anyway was read to its end: the meter knows more now.
                self._count(b"")
        finally:
            self._turn.__exit__(kind, error, trace)
            self._settle()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._looks:
            return await self._next()
        chunk = await self._passed()
        if not self._held and self._filter is None and self._spending is None:
            self._looks = False
        spending = self._spending
        if spending is not None and spending.spent(len(chunk) // BYTES_A_CHAR):
            await spending.grow()
        return chunk

    def _settle(self) -> None:
        account = self._walk.account
        if self._spending is not None and account is not None:
            self._spending.settle(account.usage, account.cost)

    async def _passed(self) -> bytes:
        held, passes = self._held, self._filter
        if passes is None:
            return held.popleft() if held else await self._next()
        while held or not self._ended:
            try:
                chunk = passes.feed(held.popleft() if held else await self._next())
            except StopAsyncIteration:
                chunk = passes.finish()
            if chunk:
                return chunk
        raise StopAsyncIteration

    def whole(self) -> bytes | None:
        """See `RawReply`."""
        if self._held:
            return None
        body = self._reply.whole()
        if body is None:
            return None
        self._ended = True
        self._count(body)
        return body if self._filter is None else self._filter.whole(body)

    async def _ask(self, turn: Turn[RawAsk]) -> None:
        """Open the turn's reply. Raises what makes the next one's turn due."""
        walk, means = self._walk, self._means
        if not turn.ready():
            await turn.wait()
        seat, raw = turn.seat, walk.ask.raw
        place, guard = Destination("", seat.choice.provider, seat.name), means.guard
        if guard is not None:
            body = guard.body(raw.body, place)
            if body is not raw.body:
                raw = replace(raw, body=body)
        target = seat.choice.target
        if target is not None:
            # With the key of this place, at its address.
            raw = replace(raw, api_key=target.api_key, base_url=target.base_url)
        self._opened = means.door(seat).forward(raw, means.proxy_deadline())
        turn.start()
        reply = self._reply = await self._opened.__aenter__()
        try:
            turn.answered()
            turn.error = class_of_status(reply.status)
            self._filter = None if guard is None else guard.relayed(_kind(reply), place)
            if _refused(reply, walk):
                turn.begun = True
                return
            if walk.others and reply.status == 200 and walk.ask.raw.streaming:
                await self._hold(reply)
            turn.served()
        except BaseException as error:
            await self._opened.__aexit__(type(error), error, error.__traceback__)
            raise

    async def _hold(self, reply: RawReply) -> None:
        """Read on until there is content. Raises UpstreamFailed for an error, or the end."""
        size = 0
        while size < HELD_BYTES and len(self._held) < HELD_CHUNKS:
            try:
                chunk = await self._next()
            except StopAsyncIteration:
                raise _broken() from None
            size += len(chunk)
            self._held.append(chunk)
            seen = reply.seen(chunk)
            if seen == "error":
                raise _broken()
            if seen == "content":
                return

    async def _next(self) -> bytes:
        try:
            chunk = await self._reply.chunks.__anext__()
        except StopAsyncIteration:
            self._ended = True
            if self._reply.seen(b"") == "error":
                # The provider's own error has passed, so the caller has it from its words.
                self._turn.error, self._turn.finish = "other", "error"
            raise
        self._count(chunk)
        return chunk

    def _count(self, chunk: bytes) -> None:
        with _HARMLESS:
            self._turn.usage = self._reply.meter(chunk) or self._turn.usage


def _kind(reply: RawReply) -> str:
    return next((text for name, text in reply.headers if name == "content-type"), "")


def _refused(reply: RawReply, walk: Walk[RawAsk]) -> bool:
    """Whether the reply is an error of this place that is passed on: there is nobody else to ask.

    Raises UpstreamFailed when there is.
    """
    why = blame_status(reply.status)
    if why is None:
        return False
    make = UpstreamLimited if why is Blame.LIMITED else UpstreamFailed
    detail = f"The model provider answered with an error ({reply.status})."
    wait_s = retry_after_s(reply.headers)
    failure = make(detail, status=reply.status, retryable=True, retry_after_s=wait_s)
    if walk.others:
        raise failure
    walk.broke(failure)
    return True


def _broken() -> UpstreamFailed:
    return UpstreamFailed("The model provider's answer broke before its content.", retryable=True)
