"""The whole HTTP side: requests, and WebSockets, whose relay loads when the first one comes."""

import asyncio
import importlib.util
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus.core.events import Crashed
from isthmus.core.ports import Telemetry
from isthmus.core.trace import Traces
from isthmus.edge.http import probe
from isthmus.edge.http.app import (
    assemble,
    endpoints_of,
    gateway_endpoints,
    instance_endpoints,
)
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.errors import trace
from isthmus.edge.http.middleware import begin_span
from isthmus.edge.http.openapi import documented
from isthmus.edge.services import Services
from isthmus.settings import InstanceSettings

if TYPE_CHECKING:  # loaded late; what the relay speaks, protobuf, is not part of the base install
    from isthmus.edge.instance import InstanceDoor
    from isthmus.edge.relay.entry import Relay

EXECUTE: Final = "/api/v4/ai/duo_workflows/execute"


def create(services: Services) -> ASGIApp:
    """The whole application; without an instance it has no WebSockets.

    The instance API loads at its first request, unless a document shall show all routes.
    """
    if services.instance is None:
        return assemble(services, gateway_endpoints(services))
    sockets = Sockets(services.instance, services.telemetry, services.traces)
    sockets.probe = partial(probe.socket, services.authenticator)
    execute = sockets.execute()
    if documented(services.http):
        sockets.app = assemble(services, [*endpoints_of(services), execute])
    else:
        later = partial(instance_endpoints, services)
        sockets.app = assemble(services, [*gateway_endpoints(services), execute], later)
    return sockets


class Sockets:
    """The outermost application: requests go on to `app`, WebSockets to the relay."""

    app: ASGIApp
    probe: ASGIApp | None = None
    """Answers those who ask whether upgrades arrive."""

    def __init__(
        self, door: "InstanceDoor", telemetry: Telemetry, traces: Traces | None = None
    ) -> None:
        self._door = door
        self._traces = traces
        self._telemetry = telemetry
        self._relay: Relay | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "websocket":
            return self._upgrade(scope, receive, send)
        return self.app(scope, receive, send)

    def execute(self) -> Endpoint:
        """The route that runs a session for a client which only listens."""
        return Endpoint(
            method="POST",
            path=EXECUTE,
            handle=self._execute,
            summary="Run a session's turn without a socket; notices come as JSON lines.",
            stream_type="application/x-ndjson",
            scopes="`api` or `ai_workflows`",
        )

    async def _loaded(self) -> "Relay":
        """The one relay of this application."""
        if self._relay is None:
            await asyncio.to_thread(importlib.import_module, "isthmus.edge.relay.entry")
            from isthmus.edge.relay.entry import Relay  # noqa: PLC0415

            self._relay = self._relay or Relay(self.app, self._door)
        return self._relay

    async def _upgrade(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._traces is not None:
            begin_span(self._traces, scope)
        try:
            if self.probe is not None and scope["path"] == probe.PATH:
                await self.probe(scope, receive, send)
                return
            relay = await self._loaded()
            await relay(scope, receive, send)
        except Exception as bug:
            self._telemetry.emit(Crashed("websocket", type(bug).__name__, trace(bug)))
            raise

    async def _execute(self, request: Request) -> Response:
        relay = await self._loaded()
        return await relay.execute(request)


def configured(settings: InstanceSettings) -> dict[str, Any]:
    """What uvicorn is told of WebSockets. Frames are small and many: they are not compressed."""
    relay = settings.relay
    return {
        "interface": "asgi3",  # uvicorn guesses by `async def`, which ours need not be
        "ws": upgraded if settings.enabled and sockets_installed() else "none",
        "ws_max_size": relay.message_limit_bytes,
        "ws_ping_interval": relay.ping_s,
        # The limit counts from the last pong; the next ping leaves in between.
        "ws_ping_timeout": max(relay.pong_s - relay.ping_s, min(relay.ping_s, relay.pong_s) / 2),
        "ws_per_message_deflate": False,
    }


def sockets_installed() -> bool:
    """Whether what sockets speak is there: the extra `instance` brings it."""
    return all(importlib.util.find_spec(name) for name in ("websockets", "google.protobuf"))


def upgraded(**given: Any) -> asyncio.Protocol:
    """The server's protocol for a connection that upgrades, for uvicorn's `ws`.

    Loaded at the first one: it costs a tenth of a second that no start should pay for.
    """
    from isthmus.edge.relay.line import Line  # noqa: PLC0415

    return Line(**given)
