"""When notices of a session go out, so that no client loses the end of a text.

Clients drop text that is still queued when a status arrives that ends the turn, and some of them
end their turn only when the socket is closed. Source: instance contract, section 3.12.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final
from uuid import uuid4

import msgspec

from isthmus.contract.contract_pb2 import Action, NewCheckpoint
from isthmus.core.errors import Failure
from isthmus.platform import ending, entries

APART_S: Final = 0.06
"""Between the last text and the status that ends the turn."""
REST_S: Final = 0.1
"""Between that and the closing of the socket."""
ONGOING: Final = frozenset({"", "CREATED", "RUNNING"})
_ABRUPT: Final = frozenset({"FAILED", "PAUSED", "STOPPED"})


class Pace:
    """Sends notices through `send`, each in its time."""

    def __init__(self, send: Callable[[Action], Awaitable[None]]) -> None:
        self._send = send
        self._status = ""
        self._shown = ""
        self._text_at_s = float("-inf")
        self._end_at_s = float("-inf")

    async def show(self, action: Action) -> None:
        """A notice as it is; the text of one that ends the turn goes out before, by itself."""
        notice = action.newCheckpoint
        if notice.status not in ONGOING:
            if notice.checkpoint != self._shown and notice.status not in _ABRUPT:
                running = NewCheckpoint()
                running.CopyFrom(notice)
                running.status = "RUNNING"
                await self._out(Action(requestID=str(uuid4()), newCheckpoint=running))
            await _until(self._text_at_s + APART_S)
        await self._out(action)

    async def fail(self, failure: Failure, at: datetime) -> None:
        """Show why the session failed, unless that was shown already."""
        if self._status == "FAILED":
            return
        entry = entries.error(ending.told(failure), f"error-{uuid4()}", at.isoformat())
        plan: dict[str, list[object]] = {"steps": []}
        state = {"channel_values": {"ui_chat_log": [entry], "plan": plan}}
        text = msgspec.json.encode(state).decode()
        notice = NewCheckpoint(status="FAILED", checkpoint=text)
        await self.show(Action(requestID=str(uuid4()), newCheckpoint=notice))

    async def rest(self) -> None:
        """Wait until the socket may be closed."""
        await _until(self._end_at_s + REST_S)

    async def _out(self, action: Action) -> None:
        await self._send(action)
        notice, now_s = action.newCheckpoint, asyncio.get_running_loop().time()
        self._status = notice.status
        if notice.status in ONGOING:
            self._shown, self._text_at_s = notice.checkpoint, now_s
        else:
            self._end_at_s = now_s


async def _until(at_s: float) -> None:
    wait_s = at_s - asyncio.get_running_loop().time()
    if wait_s > 0:
        await asyncio.sleep(wait_s)
