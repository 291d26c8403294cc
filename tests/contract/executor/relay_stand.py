"""A relay that plays scripts, one a socket, and an executor that speaks to it."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from isthmus.executor import actions
from isthmus.executor.action import Machine
from isthmus.executor.answer import Answerer, load_actions
from isthmus.executor.approve import Approver, Mode
from isthmus.executor.client import Exit, Patience, Session
from isthmus.executor.git import Git
from isthmus.executor.screen import Screen
from isthmus.executor.socket import SocketAccess, Timing, relay_url
from isthmus.executor.task import Task
from isthmus.executor.turn import Hands
from isthmus.executor.workspace import Workspace

SHORT = Patience(outage_s=3.0, reconnects=20, first_s=0.02, longest_s=0.1, busy_s=0.05)


@dataclass
class Opened:
    """One socket as the relay saw it."""

    connection: ServerConnection
    seen: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def frame(self) -> dict[str, Any]:
        found = json.loads(await self.connection.recv())
        self.seen.append(found)
        return found

    async def send(self, action: dict[str, Any], *, binary: bool = True) -> None:
        text = json.dumps(action)
        await self.connection.send(text.encode() if binary else text)

    async def checkpoint(self, status: str, *entries: dict[str, object]) -> None:
        log = json.dumps({"channel_values": {"ui_chat_log": entries}})
        told: dict[str, Any] = {"status": status, "checkpoint": log, "goal": "", "errors": []}
        await self.send({"requestID": "", "newCheckpoint": told})

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.connection.close(code, reason)

    def cut(self) -> None:
        """The network breaks: no closing handshake."""
        self.connection.transport.abort()

    @property
    def request(self) -> Request:
        assert self.connection.request is not None
        return self.connection.request


Script = Callable[[Opened], Awaitable[None]]


class Relay:
    """Plays the next script for each socket; the last one again and again.

    A number instead of a script is a status that refuses the handshake.
    """

    def __init__(self, *scripts: Script | int) -> None:
        self._scripts = list(scripts)
        self.opened: list[Opened] = []
        self.refused = 0

    def next(self) -> Script | int:
        return self._scripts[0] if len(self._scripts) == 1 else self._scripts.pop(0)

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse when a status is due."""
        del request
        due = self._scripts[0]
        if not isinstance(due, int):
            return None
        self.next()
        self.refused += 1
        response = connection.respond(HTTPStatus(due), "no")
        if due == HTTPStatus.FOUND:
            response.headers["Location"] = "ws://127.0.0.1:1/elsewhere"
        return response

    async def handle(self, connection: ServerConnection) -> None:
        script = self.next()
        assert not isinstance(script, int)
        opened = Opened(connection)
        self.opened.append(opened)
        await script(opened)


@asynccontextmanager
async def relaying(relay: Relay, port: int = 0) -> AsyncIterator[int]:
    """Serve on the port, or a free one."""
    server: Server = await serve(
        relay.handle, "127.0.0.1", port, process_request=relay.check, close_timeout=1
    )
    async with server:
        yield int(next(iter(server.sockets)).getsockname()[1])


@dataclass
class Run:
    """One run of the executor, from outside."""

    session: Session
    out: io.StringIO
    err: io.StringIO
    stop: asyncio.Event

    async def to_its_end(self, goal: str = "do it") -> Exit:
        async with asyncio.timeout(20):
            return await self.session.run(Task("42", goal), self.stop)


async def executor(
    root: Path, port: int, *, mode: Mode = "all", timing: Timing | None = None
) -> Run:
    """An executor on `root` that connects to a relay."""

    def machine() -> Machine:
        workspace = Workspace(root)
        environment = {"PATH": "/usr/bin:/bin"}
        return Machine(workspace, Git(workspace, environment), environment)

    kinds = await asyncio.to_thread(load_actions, actions)
    answerer = Answerer(kinds, await asyncio.to_thread(machine), _unexpected)
    out, err = io.StringIO(), io.StringIO()
    screen = Screen(out, err, io.StringIO())
    hands = Hands(answerer, Approver(mode, screen), stop_wait_s=0.5)
    url = relay_url(f"http://127.0.0.1:{port}", {"workflow_id": "42"})
    access = SocketAccess(url, (("X-Gitlab-Client-Type", "t"),), "hunter2", timing or Timing())
    session = Session(access, hands, screen, patience=SHORT, roll=lambda: 0.5)
    return Run(session, out, err, asyncio.Event())


def _unexpected(action: str, bug: Exception) -> None:
    raise AssertionError(f"{action}: {bug!r}")


def says(text: str) -> dict[str, object]:
    return {"message_type": "agent", "content": text, "message_id": "agent-1"}
