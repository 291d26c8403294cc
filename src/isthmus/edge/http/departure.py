"""Callers that leave: their handler is cancelled, so that nothing is computed for nobody."""

import asyncio
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus.core.errors import ClientGone
from isthmus.edge.http.exchange import EXCHANGE, TASK, Exchange

ROUND_S = 0.05


class Departure:
    """Cancels the handler when its caller leaves; the reason is `Exchange.gone`, and ends here.

    Most answers are out before anyone looks, so a request costs two entries of a dict. One timer
    goes round while there are requests; the second round that meets a request whose body has been
    read sets a watch on it. That is at most two rounds after its start. All on one event loop.
    """

    def __init__(self, app: ASGIApp, round_s: float = ROUND_S) -> None:
        self._app = app
        self._round_s = round_s
        self._timer: asyncio.TimerHandle | None = None
        self._unwatched: dict[Exchange, asyncio.Task[None]] = {}
        self._met: set[Exchange] = set()
        self._watches: dict[Exchange, _Watch] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        self._unwatched[exchange] = scope.get(TASK) or _current()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._round_s, self._go_round)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if exchange in self._watches and self._watches[exchange].alone:
                # There is nobody to answer; the record has the news from `Exchange.gone`.
                return
            raise
        finally:
            if exchange in self._unwatched:
                del self._unwatched[exchange]
            else:
                await self._watches.pop(exchange).end()

    def _go_round(self) -> None:
        self._timer = None
        if not self._unwatched:
            self._met.clear()
            return
        self._timer = asyncio.get_running_loop().call_later(self._round_s, self._go_round)
        # Until its body has been read, the handler itself is the one who hears of a departure.
        due = [each for each in self._unwatched if each in self._met and each.body_read]
        for exchange in due:
            self._watches[exchange] = _Watch(exchange, self._unwatched.pop(exchange))
        self._met = set(self._unwatched)


def _current() -> asyncio.Task[None]:
    return cast("asyncio.Task[None]", asyncio.current_task())


class _Watch:
    """Waits for the departure of one caller; belongs to the request, which ends it."""

    __slots__ = ("_before", "_exchange", "_handler", "_left", "_task")

    def __init__(self, exchange: Exchange, handler: asyncio.Task[None]) -> None:
        self._exchange = exchange
        self._handler = handler
        self._before = handler.cancelling()
        self._left = False
        self._task = handler.get_loop().create_task(self._wait())

    @property
    def alone(self) -> bool:
        """Whether the handler was cancelled by this watch, and by nobody else."""
        return self._left and self._handler.cancelling() == self._before + 1

    async def end(self) -> None:
        """Stop, wait for it, and take back what this watch did to the task of the request."""
        self._task.cancel()
        # `wait` tells our own cancellation apart from the watch's, and keeps a bug of its own out.
        await asyncio.wait((self._task,))
        if self._left:
            self._handler.uncancel()

    async def _wait(self) -> None:
        try:
            await self._exchange.receive()
        except asyncio.CancelledError:
            # Its end. In the task the error would hold its frames, they this watch, and it the
            # task: all of a request, until somebody collects it.
            return
        except ClientGone:
            if self._exchange.gone:
                self._left = True
                self._handler.cancel()
