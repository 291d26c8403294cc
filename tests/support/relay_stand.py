"""A server on a real port whose sessions are played by a script, and a client of its sockets."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    NewCheckpoint,
    RunHTTPRequest,
    StartWorkflowRequest,
)
from isthmus.core.identity import Caller, ClientInfo
from isthmus.edge.http.membership import INWARD
from isthmus.edge.http.protocol import CorkedProtocol
from isthmus.edge.instance import InstanceServices
from isthmus.edge.sockets import Sockets, configured, create
from isthmus.instance.workflows import Order
from isthmus.platform.host import SessionHost
from isthmus.settings import InstanceSettings, RelaySettings
from tests.support.http_app import Stand
from tests.support.instance_stand import InstanceStand, Person, open_instance
from tests.support.sink import MemorySink

LIMIT_S = 15.0
PATH = "/api/v4/ai/duo_workflows/ws"
Frame: TypeAlias = dict[str, Any]


@dataclass
class Turn:
    """One stream of the scripted host: who opened it, and what its client said."""

    caller: Caller
    client: ClientInfo
    events: AsyncIterator[ClientEvent]
    start: StartWorkflowRequest = field(default_factory=StartWorkflowRequest)
    said: list[ClientEvent] = field(default_factory=list[ClientEvent])
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self) -> ClientEvent:
        """The client's next event."""
        event = await anext(self.events)
        self.said.append(event)
        return event

    async def answer(self) -> ActionResponse:
        """The client's next event, which must be an answer."""
        event = await self.next()
        assert event.HasField("actionResponse"), event
        return event.actionResponse

    async def stopped(self) -> str:
        """The reason with which the session is stopped; other events are passed over."""
        while True:
            event = await self.next()
            if event.HasField("stopWorkflow"):
                return event.stopWorkflow.reason


Script: TypeAlias = Callable[[Turn], AsyncIterator[Action]]


def notice(status: str, *texts: str, **more: Any) -> Action:
    """A checkpoint whose log holds an entry of the agent for each text."""
    log = [
        {"message_id": f"m{place}", "message_type": "agent", "content": text}
        for place, text in enumerate(texts)
    ]
    checkpoint = json.dumps({"channel_values": {"ui_chat_log": log, "plan": {"steps": []}}})
    return Action(newCheckpoint=NewCheckpoint(status=status, checkpoint=checkpoint, **more))


async def one_turn(turn: Turn) -> AsyncIterator[Action]:
    """Says hello, and waits for the user."""
    assert turn.start.workflowID
    yield notice("RUNNING", "Hello")
    yield notice("INPUT_REQUIRED", "Hello")


def asking(*requests: RunHTTPRequest) -> Script:
    """Has these requests carried out, one by one, and ends the turn."""

    async def script(turn: Turn) -> AsyncIterator[Action]:
        for place, request in enumerate(requests):
            yield Action(requestID=f"r{place}", runHTTPRequest=request)
            await turn.answer()
        yield notice("FINISHED")

    return script


class ScriptedHost:
    """A SessionHost that plays `script` for every stream and keeps what it saw."""

    def __init__(self) -> None:
        self.script: Script = one_turn
        self.turns: list[Turn] = []
        self._opened = asyncio.Condition()

    async def open(
        self, caller: Caller, client: ClientInfo, events: AsyncIterator[ClientEvent]
    ) -> AsyncGenerator[Action, None]:
        turn = Turn(caller, client, events)
        self.turns.append(turn)
        async with self._opened:
            self._opened.notify_all()
        try:
            turn.start = (await turn.next()).startRequest
            async for action in self.script(turn):
                yield action
        finally:
            turn.closed.set()

    @property
    def turn(self) -> Turn:
        """The latest stream."""
        return self.turns[-1]

    @property
    def answers(self) -> list[ActionResponse]:
        """The answers that the latest stream got."""
        return [e.actionResponse for e in self.turn.said if e.HasField("actionResponse")]

    async def opened(self, number: int = 1) -> Turn:
        """The stream with this number, once it was opened."""
        async with asyncio.timeout(LIMIT_S), self._opened:
            await self._opened.wait_for(lambda: len(self.turns) >= number)
        return self.turns[number - 1]


@dataclass
class Heard:
    """What a client got over one socket: frames with their times, and how it was closed."""

    frames: list[Frame] = field(default_factory=list[Frame])
    at_s: list[float] = field(default_factory=list[float])
    code: int = 0
    reason: str = ""
    closed_at_s: float = 0.0

    @property
    def statuses(self) -> list[str]:
        return [f["newCheckpoint"]["status"] for f in self.frames if "newCheckpoint" in f]

    def log(self, number: int = -1) -> list[dict[str, Any]]:
        """The conversation of a notice."""
        notices = [f["newCheckpoint"] for f in self.frames if "newCheckpoint" in f]
        return json.loads(notices[number]["checkpoint"])["channel_values"]["ui_chat_log"]


@dataclass
class RelayStand:
    """The server, who plays its sessions, and the instance behind it."""

    people: InstanceStand
    instance: InstanceServices
    host: ScriptedHost
    port: int
    server: uvicorn.Server
    sink: MemorySink
    inward: "Inside"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, query: str = "", who: Person | None = None, **options: Any) -> connect:
        """A socket of Alice's, or of another person's."""
        headers: Mapping[str, str] = options.pop("headers", None) or {}
        if options.pop("known", True) and "authorization" not in headers:
            headers = {**(who or self.people.alice).bearer, **headers}
        url = f"ws://127.0.0.1:{self.port}{options.pop('path', PATH)}{query and '?' + query}"
        return connect(url, additional_headers=headers, ping_interval=None, proxy=None, **options)

    async def refused(self, query: str = "", **options: Any) -> tuple[int, Any, Any]:
        """Status, JSON body and headers of an upgrade that must be refused."""
        try:
            async with self.connect(query, **options):
                raise AssertionError("the upgrade was granted")
        except InvalidStatus as refusal:
            response = refusal.response
            return response.status_code, json.loads(response.body or b"null"), response.headers

    async def workflow(self, who: Person | None = None, **order: Any) -> str:
        """The id of a new workflow of Alice's, or of another person's."""
        member = (who or self.people.alice).member
        record = await self.instance.workflows.create(member, Order(**order))
        return record.workflow_id

    async def run(
        self,
        start: Frame | None = None,
        *,
        query: str = "",
        workflow_id: str = "",
        answer: Callable[[Frame], object] | None = None,
        **options: Any,
    ) -> Heard:
        """One turn over one socket, to its end."""
        workflow_id = workflow_id or await self.workflow()
        async with self.connect(query, **options) as socket:
            await say(socket, {"startRequest": {"workflowID": workflow_id, **(start or {})}})
            return await hear(socket, answer)


async def say(socket: ClientConnection, frame: object) -> None:
    """Send a frame, as text."""
    await socket.send(json.dumps(frame))


async def hear(socket: ClientConnection, answer: Callable[[Frame], object] | None = None) -> Heard:
    """Everything until the server closes; `answer` is asked for a frame to send after each one."""
    heard, clock = Heard(), asyncio.get_running_loop()
    async with asyncio.timeout(LIMIT_S):
        try:
            while True:
                raw = await socket.recv()
                assert isinstance(raw, bytes), "frames are binary"
                heard.frames.append(json.loads(raw))
                heard.at_s.append(clock.time())
                said = answer and answer(heard.frames[-1])
                if said is not None:
                    await say(socket, said)
        except ConnectionClosed:
            heard.closed_at_s = clock.time()
    heard.code, heard.reason = socket.close_code or 0, socket.close_reason or ""
    return heard


def plain(frame: Frame, text: str = "done") -> Frame | None:
    """The answer of a client that can do everything."""
    if "newCheckpoint" in frame:
        return None
    response = {"requestID": frame["requestID"], "plainTextResponse": {"response": text}}
    return {"actionResponse": response}


class Inside:
    """What the relay's own requests meet: `app`, or whatever a test puts in its place."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.instead: ASGIApp | None = None
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get(INWARD) is not True:
            await self._app(scope, receive, send)
            return
        self.scopes.append(scope)
        await (self.instead or self._app)(scope, receive, send)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: Any, settings: InstanceSettings) -> AsyncIterator[uvicorn.Server]:
    """A real uvicorn, set as ours, on a free port and on this loop."""
    config = uvicorn.Config(
        app,
        port=0,
        http=CorkedProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=10,
        **configured(settings),
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn tells by a flag
            await asyncio.sleep(0.005)
        try:
            yield server
        finally:
            server.should_exit = True


@asynccontextmanager
async def open_relay(
    directory: Path,
    *,
    host: SessionHost | None = None,
    instance: Mapping[str, Any] | None = None,
    change: Callable[[InstanceStand, InstanceServices], InstanceServices] | None = None,
    **relay: Any,
) -> AsyncIterator[RelayStand]:
    """The stand; `relay` and `instance` are settings, `change` has the last word."""
    settings = InstanceSettings(relay=RelaySettings(**relay), **(instance or {}))
    async with open_instance(directory, settings) as people:
        scripted, sink = ScriptedHost(), MemorySink()
        services = replace(people.instance, sessions=host or scripted, telemetry=sink)
        if change is not None:
            services = change(people, services)

        async def door() -> InstanceServices:
            return services

        app = create(replace(people.services, instance=door))
        assert isinstance(app, Sockets)
        app.app = inside = Inside(app.app)
        async with serving(app, settings) as server:
            port = server.servers[0].sockets[0].getsockname()[1]
            yield RelayStand(people, services, scripted, port, server, sink, inside)


def prepare() -> None:
    """Import what a server loads late, before a loop runs: it reads files."""
    import isthmus.edge.relay.entry
    import isthmus.edge.relay.line
    from tests.support.instance_stand import prepare as prepare_instance

    assert isthmus.edge.relay.entry
    assert isthmus.edge.relay.line
    assert Stand
    prepare_instance()
