"""One client's socket and one session's stream, joined: what each says is carried to the other.

The connection is one turn: it ends when the stream does. Source: instance contract, sections 3.5 to
3.8 and 3.12; agent-platform contract, sections 4.7 and 11.5.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Final, Protocol, cast

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    PlainTextResponse,
    StartWorkflowRequest,
    StopWorkflowRequest,
)
from isthmus.core.errors import ClientGone, Failure, Invalid, NotFound, Unavailable
from isthmus.core.identity import ClientInfo
from isthmus.core.workflow import Workflow
from isthmus.edge import wire
from isthmus.edge.instance import InstanceServices
from isthmus.edge.relay.action import Acting, Actions
from isthmus.edge.relay.closing import AWAY, BUG, LOCKED, OVER, Farewell, farewell
from isthmus.edge.relay.gate import Admission
from isthmus.edge.relay.pace import Pace
from isthmus.edge.relay.socket import PING, PONG, STOP, Gone
from isthmus.edge.relay.start import rewrite
from isthmus.instance.broker import caller_of
from isthmus.instance.locks import TAKEN
from isthmus.instance.metadata import HEADER

START_S: Final = 600.0
"""How long a socket may stay without a session."""
STOP_S: Final = 10.0
"""How long a stopped session may take to end its stream."""
WAITING: Final = 64
"""Events of a client that may wait for the session; further ones wait in the socket."""
WEB_ONLY: Final = "lock_workflows_for_web_only"


class Peer(Protocol):
    """A client: over a WebSocket, or one that only listens."""

    async def next(self) -> str | bytes | Gone:
        """The next frame, or how the client went."""
        ...

    async def show(self, action: Action) -> ActionResponse | None:
        """Send an action; the answer, when the client's is known already.

        Raises ClientGone; TimeoutError when the client does not read.
        """
        ...


class Bridge:
    """Runs one turn over one socket."""

    def __init__(
        self, instance: InstanceServices, admission: Admission, peer: Peer, acting: Acting
    ) -> None:
        self._instance = instance
        self._admission = admission
        self._peer = peer
        self._acting = acting
        self._pace = Pace(self._frame)
        self._events: asyncio.Queue[ClientEvent] = asyncio.Queue(WAITING)
        self._silent = False
        self.workflow_id = ""

    async def run(self) -> Farewell:
        """From the client's first frame to the session's end; the socket is still to be closed."""
        try:
            start = await self._first()
            end = start if isinstance(start, Farewell) else await self._locked(start)
        except Failure as failure:
            end = failure
        return end if isinstance(end, Farewell) else await self.part(end)

    async def part(self, failure: Failure | None) -> Farewell:
        """The end; what would look like success is explained to the client before."""
        end = farewell(failure)
        if failure is not None and end.code == OVER and not isinstance(failure, ClientGone):
            await self._pace.fail(failure, self._instance.clock.utc())
        await self._pace.rest()
        return end

    async def _first(self) -> StartWorkflowRequest | Farewell:
        """The start request, or the end of a socket that begins with anything else."""
        try:
            async with asyncio.timeout(START_S):
                frame = await self._peer.next()
        except TimeoutError:
            return Farewell()
        if isinstance(frame, Gone):
            return _left(frame)
        event = wire.decode(frame, ClientEvent)
        if event.WhichOneof("response") != "startRequest":
            return Farewell()
        return event.startRequest

    async def _locked(self, start: StartWorkflowRequest) -> Farewell | Failure | None:
        workflow_id = start.workflowID
        client = await self._client(workflow_id)
        if not await self._locks():
            return await self._turn(start, client)
        if not workflow_id:
            return Farewell()
        if not self._instance.locks.take(workflow_id):
            return Farewell(LOCKED, TAKEN, "ABORTED", "locked")
        try:
            return await self._turn(start, client)
        finally:
            # Free before the closing handshake: the next socket of this client is under way.
            self._instance.locks.free(workflow_id)

    async def _locks(self) -> bool:
        if not self._instance.settings.relay.lock:
            return False
        place, user = self._admission.place, self._admission.member.user
        web_only = await self._instance.flags.on(WEB_ONLY, place, user)
        return not web_only or self._admission.knock.client_type == "browser"

    async def _client(self, workflow_id: str) -> ClientInfo:
        """What the platform is told, the model included: decided now, by what is stored now.

        Raises Invalid when the workflow is not the caller's.
        """
        admission, instance = self._admission, self._instance
        named = admission.knock.query.get("workflow_id", "")
        workflow = None
        if not instance.settings.gitlab_url:
            own = await self._own(workflow_id) if workflow_id else None
            late = own if instance.settings.relay.late_lookup else None
            workflow = await self._own(named) if named else late
        place = admission.place
        if workflow is not None:
            place = await instance.workflows.place(workflow) or place
        text = await instance.metadata.text(admission.member, place, admission.wanted, workflow)
        return ClientInfo({**admission.headers, HEADER: text} if text else dict(admission.headers))

    async def _own(self, workflow_id: str) -> Workflow:
        try:
            return await self._instance.workflows.own(self._admission.member, workflow_id)
        except NotFound as error:
            detail = f"Invalid workflow ID: {workflow_id[:64]} cannot be found"
            raise Invalid(detail) from error

    async def _turn(
        self, start: StartWorkflowRequest, client: ClientInfo
    ) -> Farewell | Failure | None:
        """The session, until its stream ends or its client is gone."""
        self.workflow_id = start.workflowID
        rewrite(start, self._admission.capabilities)
        self._events.put_nowait(ClientEvent(startRequest=start))
        async with asyncio.TaskGroup() as group, self._acting.opened(self.workflow_id) as actions:
            stream = group.create_task(self._stream(client, actions))
            reader = group.create_task(self._read())
            await asyncio.wait({stream, reader}, return_when=asyncio.FIRST_COMPLETED)
            left = None if stream.done() else await self._leave(reader.result(), stream)
            reader.cancel()
            if not stream.done():
                stream.cancel()
                await asyncio.wait({stream})
        return left or stream.result()

    async def _leave(self, gone: Gone | Invalid, stream: asyncio.Task[Failure | None]) -> Farewell:
        """The client went first: its session is stopped, with a reason where there is one."""
        if isinstance(gone, Invalid):
            return farewell(gone)
        self._silent = not gone.shutdown
        if gone.stop:
            try:
                async with asyncio.timeout(STOP_S):
                    await self._events.put(_stop(gone.stop))
                    await asyncio.wait({stream})
            except TimeoutError:
                pass
        return _left(gone)

    async def _read(self) -> Gone | Invalid:
        """Carry what the client says to the session, until it is gone or talks nonsense."""
        while True:
            frame = await self._peer.next()
            if isinstance(frame, Gone):
                return frame
            try:
                event = wire.decode(frame, ClientEvent)
            except Invalid as nonsense:
                return nonsense
            kind = event.WhichOneof("response")
            if kind == "startRequest":
                rewrite(event.startRequest, self._admission.capabilities)
            if kind is not None:
                await self._events.put(event)

    async def _stream(self, client: ClientInfo, actions: Actions) -> Failure | None:
        """Carry the session's actions out, or to the client; the failure that ended it."""
        host = self._instance.sessions
        if host is None:
            return Unavailable("No session can run here.")
        caller = caller_of(self._admission.member, self._instance.broker.identity)
        caller = replace(caller, extra={"gitlab_root_namespace_id": self._admission.place.root_id})
        opened = host.open(caller, client, self._said())
        try:
            async with aclosing(cast("AsyncGenerator[Action, None]", opened)) as stream:
                async for action in stream:
                    await self._carry(action, actions)
        except Failure as failure:
            return failure
        return None

    async def _said(self) -> AsyncIterator[ClientEvent]:
        while True:
            yield await self._events.get()

    async def _carry(self, action: Action, actions: Actions) -> None:
        match action.WhichOneof("action"):
            case "newCheckpoint":
                await self._pace.show(action)
            case "runHTTPRequest":
                answer = ActionResponse(
                    requestID=action.requestID,
                    httpResponse=await actions.run(action.runHTTPRequest),
                )
                await self._events.put(ClientEvent(actionResponse=answer))
            case "trackLlmCallForSelfHosted":
                plain = PlainTextResponse()
                answer = ActionResponse(requestID=action.requestID, plainTextResponse=plain)
                await self._events.put(ClientEvent(actionResponse=answer))
            case _:
                await self._frame(action)

    async def _frame(self, action: Action) -> None:
        """Send; a client that is gone is spoken to no more."""
        if self._silent:
            return
        try:
            answer = await self._peer.show(action)
        except ClientGone:
            self._silent = True  # the reader is told why
        except TimeoutError:
            self._silent = True
            await self._events.put(_stop(STOP[PING]))
        else:
            if answer is not None:
                await self._events.put(ClientEvent(actionResponse=answer))


def _stop(reason: str) -> ClientEvent:
    return ClientEvent(stopWorkflow=StopWorkflowRequest(reason=reason))


def _left(gone: Gone) -> Farewell:
    """What is left to say to a client that went, or that does not answer."""
    if gone.shutdown:
        return Farewell(AWAY, "server shutdown", "UNAVAILABLE")
    if gone.stop == STOP[PONG]:
        return Farewell(BUG, "keepalive ping timeout", "CANCELLED", "other")
    return Farewell(gone.code, "", "CANCELLED", "" if gone.stop else "other")
