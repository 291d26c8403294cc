"""A request to our own ASGI application, made in this process: no socket, no second server."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Scope

from isthmus.core.errors import ClientGone, TooLarge
from isthmus.edge.http.membership import INWARD
from isthmus.edge.relay.address import Target

Header = tuple[bytes, bytes]
LOCAL: Final = ("127.0.0.1", 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Sequence[Header]
    body: bytes


class Inward:
    """Asks `app`, marked as the relay of this process; layers and routes are those of the wire."""

    def __init__(self, app: ASGIApp, *, scheme: str = "http") -> None:
        self._app = app
        self._scheme = scheme

    async def ask(
        self, target: Target, headers: Sequence[Header], body: bytes, limit_bytes: int
    ) -> Answer:
        """The answer. Raises TooLarge when its body is over `limit_bytes`."""
        call = _Call(body, limit_bytes)
        async with asyncio.TaskGroup() as group:
            # A task of its own: the application takes each request to have a context of its own.
            group.create_task(self._serve(self._scope(target, headers), call))
        if call.over:
            detail = f"response body exceeded size limit ({limit_bytes} bytes)"
            raise TooLarge(detail, limit_bytes)
        return Answer(call.status, call.headers, bytes(call.body))

    async def _serve(self, scope: Scope, call: "_Call") -> None:
        await self._app(scope, call.receive, call.send)

    def _scope(self, target: Target, headers: Sequence[Header]) -> Scope:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": target.method,
            "scheme": self._scheme,
            "path": target.path,
            "raw_path": target.raw_path.encode("ascii"),
            "query_string": target.query.encode("ascii"),
            "root_path": "",
            "headers": list(headers),
            "client": LOCAL,
            "server": LOCAL,
            "state": {},
            INWARD: True,
        }


class _Call:
    """Both ends of one exchange."""

    def __init__(self, body: bytes, limit_bytes: int) -> None:
        self._given: bytes | None = body
        self._limit_bytes = limit_bytes
        self.status = 500
        self.headers: Sequence[Header] = ()
        self.body = bytearray()
        self.over = False

    async def receive(self) -> Message:
        if self._given is None:
            await asyncio.Event().wait()  # we do not leave before the answer's end
        given, self._given = self._given or b"", None
        return {"type": "http.request", "body": given, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = tuple(message.get("headers", ()))
            return
        piece = message.get("body", b"")
        if len(self.body) + len(piece) > self._limit_bytes:
            self.over = True
            raise ClientGone("The answer is too large for a session.")
        self.body += piece
