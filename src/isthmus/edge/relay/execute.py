"""`POST /api/v4/ai/duo_workflows/execute`: a session's turn for a client that only listens.

The body is a start request, each line of the answer a notice; actions that need a client are
refused. Source: instance contract, section 3.10; agent-platform contract, section 11.6.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Final

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    PlainTextResponse,
    StartWorkflowRequest,
)
from isthmus.edge import wire
from isthmus.edge.relay.closing import AWAY, INVALID, LOCKED, NO_CREDIT, Farewell
from isthmus.edge.relay.socket import Gone

REFUSED: Final = "action cannot be executed by this client"
STATUS: Final = {LOCKED: 409, NO_CREDIT: 403, INVALID: 400, AWAY: 502}
_WAITING: Final = 64


class Listener:
    """The peer of a session: its only frame is the start request.

    Raises Invalid when the body is none.
    """

    def __init__(self, body: bytes) -> None:
        wire.decode(body, StartWorkflowRequest)
        self._frame: bytes | None = b'{"startRequest":%b}' % body
        self.notices: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_WAITING)

    async def next(self) -> str | bytes | Gone:
        """The start request; then nothing, until the request is cancelled."""
        if self._frame is None:
            await asyncio.Event().wait()
        frame, self._frame = self._frame or b"", None
        return frame

    async def show(self, action: Action) -> ActionResponse | None:
        """A notice is a line; everything else is refused."""
        if not action.HasField("newCheckpoint"):
            plain = PlainTextResponse(error=REFUSED)
            return ActionResponse(requestID=action.requestID, plainTextResponse=plain)
        notice = action.newCheckpoint
        await self.notices.put((notice.status, wire.encode(notice) + b"\n"))
        return None


class Execution(Response):
    """Runs the session while it is sent; `run` is the bridge's."""

    def __init__(
        self, listener: Listener, run: Callable[[], Awaitable[Farewell]], idle_s: float
    ) -> None:
        super().__init__()
        self._listener = listener
        self._run = run
        self._idle_s = idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A client that leaves has this cancelled, and the session with it."""
        async with asyncio.TaskGroup() as group:
            session = group.create_task(self._session())
            first = await self._next(session)
            if first is None or first[0] == "FAILED":
                end = await session
                if end.status != "OK":
                    await _refusal(end)(scope, receive, send)
                    return
            lines = self._lines(first, session)
            reply = StreamingResponse(lines, media_type="application/x-ndjson")
            await reply(scope, receive, send)

    async def _session(self) -> Farewell:
        return await self._run()

    async def _lines(
        self, first: tuple[str, bytes] | None, session: asyncio.Task[Farewell]
    ) -> AsyncIterator[bytes]:
        notice = first
        while notice is not None:
            yield notice[1]
            notice = await self._next(session, self._idle_s)
            while notice is None and not session.done():
                yield b"\n"
                notice = await self._next(session, self._idle_s)

    async def _next(
        self, session: asyncio.Task[Farewell], limit_s: float | None = None
    ) -> tuple[str, bytes] | None:
        """The next notice; None when the session ended without one, or none came in time."""
        notices = self._listener.notices
        if notices.empty() and not session.done():
            async with asyncio.TaskGroup() as group:
                one = group.create_task(notices.get())
                await asyncio.wait(
                    {one, session}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not one.done():
                    one.cancel()
            if not one.cancelled():
                return one.result()
        return None if notices.empty() else notices.get_nowait()


def _refusal(end: Farewell) -> Response:
    status = STATUS.get(end.code, 500)
    text = f"{status} {HTTPStatus(status).phrase}" + (f" - {end.reason}" if end.reason else "")
    return JSONResponse({"message": text}, status)
