"""An accepted WebSocket: frames in, frames out, and why its client is gone."""

import asyncio
from dataclasses import dataclass
from typing import Final

from starlette.types import Message, Receive, Send

from isthmus.contract.contract_pb2 import Action
from isthmus.core.errors import ClientGone
from isthmus.edge import wire

WHY: Final = "isthmus.why"
"""Where a server's message says more than its code does; see `line.py`."""
REASON_LIMIT_BYTES: Final = 123
PONG: Final = "pong"
PING: Final = "ping"
SHUTDOWN: Final = "shutdown"
LOST: Final = "lost"
STOP: Final = {
    PONG: "WORKHORSE_WEBSOCKET_PONG_TIMEOUT",
    PING: "WORKHORSE_WEBSOCKET_PING_FAILED",
    SHUTDOWN: "WORKHORSE_SERVER_SHUTDOWN",
}
"""Why the client is gone -> the reason with which its session is stopped."""
_POLITE: Final = frozenset({1000, 1001})


@dataclass(frozen=True, slots=True)
class Gone:
    """The client is gone. `stop` is what its session is stopped with; empty: it is torn down."""

    code: int
    stop: str = ""

    @property
    def shutdown(self) -> bool:
        """Whether it is we who go."""
        return self.stop == STOP[SHUTDOWN]


class Socket:
    """One connection. Its server reads nothing on before a frame is taken."""

    def __init__(self, receive: Receive, send: Send, write_s: float) -> None:
        self._receive = receive
        self._send = send
        self._write_s = write_s

    async def next(self) -> str | bytes | Gone:
        """The next frame, or how the client went."""
        while True:
            message = await self._receive()
            match message["type"]:
                case "websocket.receive":
                    return message.get("bytes") or message.get("text") or b""
                case "websocket.disconnect":
                    return _gone(message)
                case _:
                    continue

    async def show(self, action: Action) -> None:
        """Send an action. Raises ClientGone; TimeoutError when the client does not read."""
        async with asyncio.timeout(self._write_s):
            await self._out({"type": "websocket.send", "bytes": wire.encode(action)})

    async def close(self, code: int, reason: str = "") -> None:
        """Say goodbye; a client that is gone does not hear it."""
        try:
            async with asyncio.timeout(self._write_s):
                reason = clipped(reason)
                await self._out({"type": "websocket.close", "code": code, "reason": reason})
        except (ClientGone, TimeoutError):
            return

    async def _out(self, message: Message) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError) as error:  # how servers say that a connection has ended
            raise ClientGone("The client left.") from error


def clipped(text: str) -> str:
    """As much of a text as a closing frame holds, cut between characters."""
    return text.encode("utf-8", "replace")[:REASON_LIMIT_BYTES].decode("utf-8", "ignore")


def _gone(message: Message) -> Gone:
    code = int(message.get("code") or 1006)
    why = message.get(WHY)
    if why is not None:
        return Gone(code, STOP.get(why, ""))
    return Gone(code, f"WORKHORSE_WEBSOCKET_CLOSE_{code}" if code in _POLITE else "")
