"""The connection to an instance's relay: a WebSocket that carries one stream.

Source: instance contract, sections 3.1, 3.7 and 3.8.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
)

from isthmus.contract.contract_pb2 import Action, ClientEvent
from isthmus.executor.address import BadAddress, is_local
from isthmus.executor.frames import BadFrame, decoded, encoded
from isthmus.executor.trust import OWN, Trust
from isthmus.executor.wire import MESSAGE_LIMIT_BYTES, Ended, Ending, StreamEnd, Wire

PATH = "/api/v4/ai/duo_workflows/ws"
FRAME_LIMIT_BYTES = 2 * MESSAGE_LIMIT_BYTES
"""JSON escapes what the contract's own limit counts once."""

ENDINGS: Mapping[int, Ending] = {
    1000: Ending.OVER,
    1001: Ending.AWAY,
    1005: Ending.AWAY,
    1006: Ending.AWAY,
    1012: Ending.AWAY,
    1013: Ending.BUSY,
    1014: Ending.AWAY,
}
"""Close codes that are no refusal."""
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: to connect, between pings, for a pong, for the closing handshake."""

    open_s: float = 15.0
    ping_s: float = 45.0
    pong_s: float = 30.0
    close_s: float = 5.0


@dataclass(frozen=True, slots=True)
class SocketAccess:
    """Where to connect, and as whom. The token never shows."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    token: str = field(repr=False, default="")
    timing: Timing = field(default_factory=Timing)
    trust: Trust = OWN

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Wire]:
        """Connect; leaving closes the socket."""
        try:
            connection = await self._connected()
        except InvalidStatus as refused:
            yield Ended(_refusal(refused))
        except InvalidURI:
            yield Ended(StreamEnd(Ending.REFUSED, "the address of the instance is not valid"))
        except (OSError, InvalidHandshake, TimeoutError) as error:
            text = f"no connection: {type(error).__name__}"
            yield Ended(StreamEnd(Ending.AWAY, text))
        else:
            async with connection:
                yield _SocketWire(connection)

    async def _connected(self) -> ClientConnection:
        timing = self.timing
        secure = (self.trust.context or True) if self.url.startswith("wss:") else None
        headers = [*self.headers]
        if self.token:
            headers.append(("Authorization", f"Bearer {self.token}"))
        return await _Straight(
            self.url,
            additional_headers=headers,
            user_agent_header=None,
            # A proxy has no business between two processes of one machine.
            proxy=None if is_local(urlsplit(self.url).hostname) else True,
            open_timeout=timing.open_s,
            ping_interval=timing.ping_s,
            ping_timeout=timing.pong_s,
            close_timeout=timing.close_s,
            max_size=FRAME_LIMIT_BYTES,
            ssl=secure,
        )


def relay_url(base_url: str, query: Mapping[str, str]) -> str:
    """The relay's address at an instance `http(s)://...`; blank values are left out.

    Raises BadAddress.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise BadAddress("the instance must look like https://host, or http://127.0.0.1:5052")
    scheme = "wss" if parts.scheme == "https" else "ws"
    asked = urlencode({name: value for name, value in query.items() if value})
    path = parts.path.rstrip("/") + PATH
    return f"{scheme}://{parts.netloc}{path}{'?' if asked else ''}{asked}"


class _Straight(connect):
    """Follows no redirect: the token is for one host."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _SocketWire:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._broken = ""

    async def send(self, event: ClientEvent) -> bool:
        try:
            await self._connection.send(encoded(event))
        except ConnectionClosed:
            return False
        return True

    async def receive(self) -> Action | None:
        try:
            return decoded(await self._connection.recv())
        except ConnectionClosed:
            return None
        except BadFrame as error:
            self._broken = str(error)
            return None

    async def end(self) -> StreamEnd:
        if self._broken:
            return StreamEnd(Ending.REFUSED, self._broken)
        code = self._connection.close_code or 1006
        reason = self._connection.close_reason or ""
        return StreamEnd(ENDINGS.get(code, Ending.REFUSED), f"closed {code}: {reason}")


def _refusal(refused: InvalidStatus) -> StreamEnd:
    status = refused.response.status_code
    ending = Ending.AWAY if status in _LATER else Ending.REFUSED
    return StreamEnd(ending, f"the instance answered {status} to the connection")
