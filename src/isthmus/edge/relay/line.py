"""A client's upgraded connection: uvicorn's WebSocket protocol, which tells why a client is gone.

ASGI knows one way to be gone; the relay has a different answer to each. What it learns besides the
code travels in the message, under WHY. Loaded at the first upgrade: it costs a tenth of a second.
"""

import asyncio
import logging
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from isthmus.edge.relay.socket import LOST, PING, PONG, SHUTDOWN, WHY

CLOSING_S: Final = 5.0
"""How long a client may take to answer our closing frame."""
_SILENT: Final = logging.getLogger("isthmus.line")
_SILENT.disabled = True


class Line(WebSocketsSansIOProtocol):
    """Tells a missing pong, a ping that cannot leave, a shutdown and a lost connection apart."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.logger = _SILENT  # facts tell of sockets; uvicorn calls every refusal an error
        self.close_timeout = CLOSING_S
        self._unsent_since_s = 0.0

    def shutdown(self) -> None:
        """The process stops: the relay ends its session first, and then closes with a reason."""
        if self.handshake_complete and not self.close_sent:
            self._gone(SHUTDOWN, 1001)
        else:
            super().shutdown()

    def keepalive_timeout(self) -> None:
        """No pong came: the relay is told, and has the connection closed when it is done."""
        self.pong_timer = None
        self.pending_ping_payload = None
        self._gone(PONG, 1011)

    def send_keepalive_ping(self) -> None:
        """Ask whether the client lives, unless it has not even read what it was sent before."""
        now_s = self.loop.time()
        if self.writable.is_set():
            self._unsent_since_s = 0.0
            super().send_keepalive_ping()
            return
        self._unsent_since_s = self._unsent_since_s or now_s
        if now_s - self._unsent_since_s >= (self.ping_timeout or 0.0):
            self.ping_timer = None
            self._gone(PING, 1011)
        else:
            self.schedule_ping()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The relay is done: a client that does not even read goes with it."""
        super().on_task_complete(task)
        self.loop.call_later(CLOSING_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended without a closing handshake, or after it."""
        self._gone(LOST, 1006)
        super().connection_lost(exc)

    def _gone(self, why: str, code: int) -> None:
        message: Any = {"type": "websocket.disconnect", "code": code, WHY: why}
        self.queue.put_nowait(message)
