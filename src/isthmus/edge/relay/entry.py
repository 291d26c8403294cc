"""`GET /api/v4/ai/duo_workflows/ws`: the ASGI application of every WebSocket scope.

Source: instance contract, section 3.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus.core.errors import (
    Failure,
    MisconfiguredProvider,
    NotFound,
    Unavailable,
    UpstreamFailed,
)
from isthmus.core.events import Crashed, RelayClosed, RelayOpened
from isthmus.edge.http import errors, refusals
from isthmus.edge.http.body import read
from isthmus.edge.instance import InstanceDoor, InstanceServices
from isthmus.edge.relay.action import Abroad, Acting, Asking
from isthmus.edge.relay.bridge import Bridge
from isthmus.edge.relay.closing import Farewell, farewell
from isthmus.edge.relay.execute import Execution, Listener
from isthmus.edge.relay.gate import Admission, admit, knock_of
from isthmus.edge.relay.inward import Inward
from isthmus.edge.relay.socket import Socket

PATH: Final = "/api/v4/ai/duo_workflows/ws"


class Relay:
    """Answers upgrades and runs the sessions behind them. `app` is our own HTTP application."""

    def __init__(self, app: ASGIApp, door: InstanceDoor) -> None:
        self._app = app
        self._door = door
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # the request for the upgrade itself
        with ExitStack() as held:
            try:
                instance, admission, acting = await self._met(scope, held)
            except Failure as failure:
                await _refusal(failure)(scope, receive, send)
                return
            await send({"type": "websocket.accept", "subprotocol": admission.subprotocol})
            instance.telemetry.emit(RelayOpened(admission.knock.client_type))
            socket = Socket(receive, send, instance.settings.relay.write_s)
            await self._serve(instance, Bridge(instance, admission, socket, acting), socket)

    async def _met(
        self, scope: Scope, held: ExitStack
    ) -> tuple[InstanceServices, Admission, Acting]:
        """Who comes; a place is held for it from before it is asked for its token."""
        if scope["path"] != PATH:
            raise NotFound("404 Not Found")
        instance = await self._door()
        held.enter_context(self._place(instance))
        admission = await admit(instance, knock_of(scope))
        return instance, admission, Acting(instance, self._asking(instance), admission)

    @contextmanager
    def _place(self, instance: InstanceServices) -> Iterator[None]:
        """One connection of those that there may be. Raises Unavailable when all are taken."""
        if self._open >= instance.settings.relay.max_sockets:
            raise Unavailable("too many sockets are open; try again a little later")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def execute(self, request: Request) -> Response:
        """A session for a client that only listens. Raises what `admit` raises, and Invalid."""
        instance = await self._door()
        listener = Listener(await read(request))
        admission = await admit(instance, knock_of(request.scope))
        acting = Acting(instance, self._asking(instance), admission)
        bridge = Bridge(instance, admission, listener, acting)
        run = partial(self._listened, instance, bridge)
        return Execution(listener, run, instance.settings.relay.ping_s)

    async def _listened(self, instance: InstanceServices, bridge: Bridge) -> Farewell:
        try:
            with self._place(instance):
                return await self._carried(instance, bridge)
        except Unavailable as full:
            return farewell(full)

    async def _serve(self, instance: InstanceServices, bridge: Bridge, socket: Socket) -> None:
        began_s, telemetry = instance.clock.now_s(), instance.telemetry
        end = Farewell(1006, "", "CANCELLED", "other")
        try:
            end = await self._carried(instance, bridge)
            await socket.close(end.code, end.reason)
        finally:
            spent_s = instance.clock.now_s() - began_s
            closed = RelayClosed(bridge.workflow_id, end.code, end.status, end.error, spent_s)
            telemetry.emit(closed)

    async def _carried(self, instance: InstanceServices, bridge: Bridge) -> Farewell:
        try:
            return await bridge.run()
        except Exception as bug:  # noqa: BLE001 - this edge answers for whatever goes wrong inside
            instance.telemetry.emit(Crashed("relay", type(bug).__name__, errors.trace(bug)))
            return await bridge.part(UpstreamFailed("Something went wrong in this session."))

    def _asking(self, instance: InstanceServices) -> Asking:
        """Where HTTP actions go."""
        settings = instance.settings
        if not settings.gitlab_url:
            return Inward(self._app)
        if instance.outbound is None:
            raise MisconfiguredProvider("No HTTP client was set up for the other instance.")
        limit_s = settings.relay.action_s
        return Abroad(settings.gitlab_url, instance.outbound, instance.clock, limit_s)


def _refusal(failure: Failure) -> Response:
    """The answer to an upgrade that is refused, in the instance's words."""
    return refusals.instance(failure) or errors.respond(failure, verbose=False)
