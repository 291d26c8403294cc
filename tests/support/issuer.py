"""An issuer that answers through the Outbound port, in process."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from isthmus.core.deadline import Deadline
from isthmus.core.errors import UpstreamFailed, UpstreamUnreachable
from isthmus.core.messages import OutboundRequest

DISCOVERY = "/.well-known/openid-configuration"


class Reply:
    """A canned answer."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers: Sequence[tuple[str, str]] = ()
        self.raw_headers: Sequence[tuple[bytes, bytes]] = ()
        self.complete = True
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    def whole(self) -> bytes | None:
        return self._body

    async def read(self, limit_bytes: int) -> bytes:
        if len(self._body) > limit_bytes:
            raise UpstreamFailed("The answer is too large.")
        return self._body


class FakeIssuers:
    """Answers by URL; `calls` lists what was asked, `gate` holds answers back while it is clear."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.calls: list[str] = []
        self.deadlines: list[Deadline] = []
        self.requests: list[OutboundRequest] = []
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()

    def publish(self, base: str, keys: Sequence[object], jwks_uri: str = "") -> None:
        where = jwks_uri or f"{base}/keys"
        self.answers[base + DISCOVERY] = (200, json.dumps({"jwks_uri": where}).encode())
        self.answers[where] = (200, json.dumps({"keys": list(keys)}).encode())

    @asynccontextmanager
    async def open(self, request: OutboundRequest, deadline: Deadline) -> AsyncIterator[Reply]:
        self.calls.append(request.url)
        self.requests.append(request)
        self.deadlines.append(deadline)
        await self.gate.wait()
        if self.down or request.url not in self.answers:
            raise UpstreamUnreachable("The issuer cannot be reached.")
        yield Reply(*self.answers[request.url])
