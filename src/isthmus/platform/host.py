"""The seam that edges call to run a session, and its implementation in this process."""

import asyncio
import traceback
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
)
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Protocol, Self
from uuid import uuid4

from isthmus.auth import scopes
from isthmus.contract.contract_pb2 import Action, ClientEvent, StartWorkflowRequest
from isthmus.core.discovery import discover
from isthmus.core.errors import ClientGone, Conflict, Failure, LimitExceeded, Unavailable
from isthmus.core.events import Crashed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.ports import Clock, Telemetry
from isthmus.core.trace import deepen
from isthmus.platform import start, telling
from isthmus.platform.catalogue import Catalogue, select
from isthmus.platform.credits import Credits
from isthmus.platform.lease import BEAT_S, WAIT_S
from isthmus.platform.opening import Opening, StoresOf, Wiring, feature_of
from isthmus.platform.owner import TRY_S, Owner, Shared
from isthmus.platform.protocol import Begin, Conversation, Halt, Reason
from isthmus.platform.session import Session
from isthmus.platform.stops import LOOK_S, stopped
from isthmus.platform.tool import Tool
from isthmus.platform.turn import Engine
from isthmus.routing.models import Models
from isthmus.settings import PlatformSettings

LIVE = "The session runs in another stream; connect again a little later."
UNWIND_S = 10.0
"""How long a session may take to end once its client is gone."""


class SessionHost(Protocol):
    """Runs sessions: in this process, or in another one over gRPC."""

    def open(
        self, caller: Caller, client: ClientInfo, events: AsyncIterator[ClientEvent]
    ) -> AsyncIterator[Action]:
        """One stream of a session: the client's events in, actions out.

        Ends normally when the turn is over (finished, waiting, or stopped by the user). Raises
        Invalid, Forbidden, TooLarge, Unavailable, Interrupted or another Failure. Closing the
        iterator means that the client is gone.
        """
        ...


async def none_served(_: str) -> Mapping[str, Tool]:
    """For a host without MCP servers of its own."""
    return {}


@dataclass(frozen=True, slots=True)
class Parts:
    """What a host is made of. `engine` is called for each stream; it may load the engine late.

    `metered` is whether model calls of customers' own are announced to clients that ask for it.
    `served` gives the tools of our own MCP servers for a flow, by its definition, and soon.
    """

    flows: Catalogue
    tools: Mapping[str, Tool]
    models: Models
    stores: StoresOf
    shared: Shared
    engine: Callable[[], Engine]
    telemetry: Telemetry
    clock: Clock
    settings: PlatformSettings
    credits: Credits = field(default_factory=Credits)
    metered: bool = False
    served: Callable[[str], Awaitable[Mapping[str, Tool]]] = none_served


def load_tools(package: ModuleType) -> dict[str, Tool]:
    """Every tool of a package, by name. Raises TypeError when a module's TOOL is not one."""
    tools: dict[str, Tool] = {}
    for module, tool in discover(package, "TOOL").items():
        if not isinstance(tool, Tool) or tool.name != module:
            raise TypeError(f"{package.__name__}.{module}.TOOL must be the tool {module!r}")
        tools[tool.name] = tool
    return tools


class LocalHost:
    """Sessions in this process. Use it as a context: leaving it ends what still runs.

    A workflow has one live stream in a process, so that two clients never write one thread of
    checkpoints. A second one waits for the first to end, and has it end where its client came back.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._owner = Owner(str(uuid4()), parts.shared, parts.telemetry, parts.clock)
        self._keepers: list[asyncio.Task[None]] = []
        self._group = asyncio.TaskGroup()
        self._live: dict[str, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = 0
        self._draining = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        for where, keep, pause_s in (
            ("leases", self._owner.keep, BEAT_S),
            ("stops", self._heed, LOOK_S),
        ):
            self._keepers.append(self._group.create_task(self._again(where, keep, pause_s)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drain(0.0)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for keeper in self._keepers:
            keeper.cancel()
        await self._owner.leave()
        # What ended the body is the body's: as part of an exception group nobody would know it.
        await self._group.__aexit__(None, None, None)

    @property
    def live(self) -> int:
        """Sessions that run."""
        return len(self._live)

    @property
    def flows(self) -> Catalogue:
        """The flows that sessions may run."""
        return self._parts.flows

    def refuse(self) -> None:
        """Take no new sessions any more."""
        self._draining = True

    async def drain(self, deadline_s: float) -> None:
        """Refuse new sessions; running ones end with Interrupted at their next stored step.

        Those that did not within `deadline_s` lose the step at hand, and end the same way.
        """
        self.refuse()
        for session in self._live.values():
            session.drain()
        await self._unwound(deadline_s)
        for session in self._live.values():
            session.halt(Halt(Reason.DRAIN))
        await self._unwound(UNWIND_S)

    async def _unwound(self, limit_s: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limit_s)

    async def open(
        self, caller: Caller, client: ClientInfo, events: AsyncIterator[ClientEvent]
    ) -> AsyncGenerator[Action, None]:
        """One stream of a session: the client's events in, actions out."""
        coming = _Coming()
        with self._turning_away(coming), self._place():
            conversation = Conversation(self._parts.settings.message_limit_bytes)
            message = coming.message = await self._first(conversation, events)
            if message is None:
                return
            self._parts.telemetry.emit(telling.asked(message, client))
            feature = feature_of(message.workflowDefinition, message.flowConfigId)
            await self._parts.credits.for_session(caller, client, feature)
            session = await self._session(message, caller, client, (conversation, events))
            coming.session = session
            await self._turn_of(session)
            task = self._begin(session)
            try:
                async with aclosing(session.actions()) as actions:
                    async for action in actions:
                        yield action
            finally:
                session.leave()
                _, late = await asyncio.wait({task}, timeout=UNWIND_S)
                for unwound in late:
                    unwound.cancel()

    async def _session(
        self,
        message: StartWorkflowRequest,
        caller: Caller,
        client: ClientInfo,
        stream: tuple[Conversation, AsyncIterator[ClientEvent]],
    ) -> Session:
        """Who may do this, and what it is. Raises Invalid or Forbidden."""
        parts = self._parts
        selector = select(message)
        denied = f"Unauthorized to execute {selector.definition or 'workflow'}"
        scopes.require(caller, scopes.session_scopes(selector.definition), denied)
        opening = Opening(
            start=start.read(message, client, caller.listed),
            selector=selector,
            flow=parts.flows.resolve(selector, message, client),
            caller=caller,
            client=client,
            conversation=stream[0],
            events=stream[1],
            served=await parts.served(selector.definition or selector.built_in),
        )
        wiring = Wiring(
            stores=parts.stores,
            owner=self._owner,
            models=parts.models,
            engine=parts.engine(),
            tools=parts.tools,
            telemetry=parts.telemetry,
            clock=parts.clock,
            settings=parts.settings,
            metered=parts.metered,
        )
        return Session(wiring, opening)

    async def _first(
        self, conversation: Conversation, events: AsyncIterator[ClientEvent]
    ) -> StartWorkflowRequest | None:
        """The start message; None when the stream begins with anything else, or not in time."""
        try:
            async with asyncio.timeout(self._parts.settings.action_s):
                first = await anext(events, None)
        except TimeoutError:
            return None
        if first is None:
            return None
        received = conversation.receive(first)
        return received.start if isinstance(received, Begin) else None

    async def _heed(self) -> None:
        """End the streams whose records were stopped elsewhere, once."""
        running = {session.recorded_as: session for session in self._live.values()}
        running.pop("", None)
        # A store that is down is told of by those who write to it.
        with suppress(Failure):
            for record_id in await stopped(self._parts.shared.workflows, tuple(running)):
                running[record_id].halt(Halt(Reason.RECORD))

    async def _again(self, where: str, keep: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while True:
            try:
                await keep()
            except Exception as error:  # noqa: BLE001 - a bug here must not end the sessions
                trace = "".join(traceback.format_exception(error))
                self._parts.telemetry.emit(Crashed(where, type(error).__name__, trace))
            await asyncio.sleep(pause_s)

    async def _guarded(self, session: Session) -> None:
        deepen()
        try:
            await session.run()
        except Exception as error:  # noqa: BLE001 - a bug in one session must not end the others
            trace = "".join(traceback.format_exception(error))
            self._parts.telemetry.emit(Crashed("session", type(error).__name__, trace))

    @contextmanager
    def _turning_away(self, coming: "_Coming") -> Iterator[None]:
        """Tell of a stream that fails before its turn begins."""
        try:
            yield
        except Failure as failure:
            began = coming.session is not None and coming.session.started
            if not began and not isinstance(failure, ClientGone):
                self._parts.telemetry.emit(telling.rejected(coming.message, failure))
            raise

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._draining:
            raise Unavailable("The server is stopping; connect again.")
        if self._open >= self._parts.settings.max_sessions:
            raise LimitExceeded("Too many sessions run here; try again a little later.", 5.0)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def _turn_of(self, session: Session) -> None:
        """Wait until no other stream runs this workflow here.

        Raises Unavailable when one goes on, and Conflict when it is somebody else's.
        """
        tries = int(WAIT_S / TRY_S)
        while (before := self._live.get(session.held_as)) is not None:
            if session.owner != before.owner:
                raise Conflict("The workflow has a live stream already.")
            if not tries:
                raise Unavailable(LIVE)
            if session.replaces(before):
                before.leave()
            tries -= 1
            await asyncio.sleep(TRY_S)

    def _begin(self, session: Session) -> asyncio.Task[None]:
        if self._draining:
            raise Unavailable("The server is stopping; connect again.")

        def over(ended: asyncio.Task[None]) -> None:
            self._tasks.discard(ended)
            del self._live[session.held_as]

        self._live[session.held_as] = session
        task = self._group.create_task(self._guarded(session))
        self._tasks.add(task)
        task.add_done_callback(over)
        return task


@dataclass(slots=True)
class _Coming:
    """A stream whose turn has not begun."""

    message: StartWorkflowRequest | None = None
    session: Session | None = None
