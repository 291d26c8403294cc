"""Servers that are killed at any moment: every session ends as if nothing had been.

KILLS and SESSIONS say how many; `make test-long` has 200 and 50.
"""

import asyncio
import io
import itertools
import os
import random
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from sqlalchemy import text

from isthmus.adapters.stores.database import open_database
from isthmus.contract.contract_pb2 import Action, ClientEvent
from isthmus.executor import actions
from isthmus.executor.action import Machine
from isthmus.executor.address import address_of
from isthmus.executor.answer import Answerer, load_actions
from isthmus.executor.approve import Approver
from isthmus.executor.channel import Access
from isthmus.executor.client import Exit, Patience, Session
from isthmus.executor.git import Git
from isthmus.executor.screen import Screen
from isthmus.executor.task import Task
from isthmus.executor.turn import Hands
from isthmus.executor.wire import Dial, Ending, StreamEnd, Wire
from isthmus.executor.workspace import Workspace
from tests.support.postgres import fresh_schema
from tests.support.process import RunningServer, prepare, start
from tests.support.scripted_upstream import scripted_upstream
from tests.support.servers import Server
from tests.support.upstream_wires import Call

KILLS: Final = int(os.environ.get("KILLS", "6"))
SESSIONS: Final = int(os.environ.get("SESSIONS", "8"))
STEPS: Final = 8
SCRIPTS: Final = {
    "[work]": [
        *(
            [Call("run_command", {"command": f"sleep 0.2; echo {n} >> done.txt"})]
            for n in range(STEPS)
        ),
        "All is done.",
    ]
}
RESUMED_S: Final = 5.0
SEED: Final = 20
REFUSED: Final = "UNAVAILABLE: failed to connect"


class Stood(NamedTuple):
    """How long a session stood still whose stream broke.

    `again`: a server that it had come to died before it heard anything from there. `tries` is when
    it asked which server, and what it was told, in seconds from the break.
    """

    duration_s: float
    again: bool
    tries: tuple[str, ...]


@dataclass
class House:
    """Two servers on one database, when each died last, and how long its sessions stood still."""

    servers: list[RunningServer]
    headers: tuple[tuple[str, str], ...]
    stood: list[Stood] = field(default_factory=list[Stood])
    died_s: dict[int, float] = field(default_factory=dict[int, float])


@dataclass
class Balanced:
    """One session's way to any of the servers, as a balancer before them has it.

    `refused` is the port that did not answer last: the next one is tried. `broke_s` is when its
    last stream broke; `again`: so did one that it opened since, by the death of its server.
    """

    house: House
    rng: random.Random
    broke_s: float = 0.0
    again: bool = False
    refused: int = 0
    tries: list[str] = field(default_factory=list[str])

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Wire]:
        ports = [server.grpc for server in self.house.servers if server.grpc != self.refused]
        port = self.rng.choice(ports)
        self.note(port, "asked")
        address = address_of(f"grpc://127.0.0.1:{port}")
        async with Access(address, self.house.headers).open() as wire:
            yield Watched(wire, self, port, time.monotonic())

    def note(self, port: int, what: str) -> None:
        """What comes of a try, while the session stands still."""
        if self.broke_s:
            self.tries.append(f"{time.monotonic() - self.broke_s:.2f} {port} {what}")


@dataclass
class Watched:
    """A wire that tells when it broke, and when the next one lives."""

    wire: Wire
    way: Balanced
    port: int
    began_s: float

    async def send(self, event: ClientEvent) -> bool:
        return await self.wire.send(event)

    async def receive(self) -> Action | None:
        action = await self.wire.receive()
        if action is not None and self.way.broke_s:
            way = self.way
            stood_s = time.monotonic() - way.broke_s
            way.house.stood.append(Stood(stood_s, way.again, tuple(way.tries)))
            way.broke_s, way.again = 0.0, False
            way.tries.clear()
        return action

    async def end(self) -> StreamEnd:
        end = await self.wire.end()
        self.way.refused = self.port if end.details.startswith(REFUSED) else 0
        self.way.note(self.port, end.details[:80])
        if end.ending is Ending.AWAY and not self.way.broke_s:
            self.way.broke_s = time.monotonic()
        elif end.ending is Ending.AWAY:
            # One that was dead before is called in vain, and is no second death.
            self.way.again |= self.way.house.died_s.get(self.port, 0.0) > self.began_s
        return end


@dataclass
class Worker:
    """One session and its executor, in a workspace of its own."""

    number: int
    root: Path
    end: Exit | None = None
    said: io.StringIO = field(default_factory=io.StringIO)

    async def run(self, house: House) -> Exit:
        """Work until the session is over, whatever becomes of the servers."""

        def machine() -> Machine:
            workspace, environment = Workspace(self.root), {"PATH": "/usr/bin:/bin"}
            return Machine(workspace, Git(workspace, environment), environment)

        screen = Screen(io.StringIO(), self.said, io.StringIO())
        kinds = await asyncio.to_thread(load_actions, actions)
        answerer = Answerer(kinds, await asyncio.to_thread(machine), _unexpected)
        way: Dial = Balanced(house, random.Random(self.number))  # noqa: S311 - any numbers
        hands = Hands(answerer, Approver("all", screen))
        patience = Patience(reconnects=100_000, longest_s=0.5, busy_s=0.5)
        session = Session(way, hands, screen, patience=patience)
        return await session.run(Task(str(self.number), "[work]"), asyncio.Event())

    @property
    def done(self) -> list[int]:
        """The steps that were done, in their order."""
        return [int(line) for line in (self.root / "done.txt").read_text().split()]


def _unexpected(action: str, bug: Exception) -> None:
    raise AssertionError(f"{action}: {bug!r}")


@contextmanager
def housed(database: str, folder: Path, given: dict[str, str]) -> Iterator[House]:
    """Two servers with the same keys."""
    more = {"ISTHMUS_DATABASE__URL": database, "ISTHMUS_DATA_DIR": str(folder / "var"), **given}
    servers: list[RunningServer] = []
    try:
        for name in ("a", "b"):
            (folder / name).mkdir()
            servers.append(prepare(folder / name, more))
            start(servers[-1])
            servers[-1].wait_for_sessions()
        headers = servers[0].headers("duo_chat") | {"x-gitlab-version": "19.0.0"}
        yield House(servers, tuple(headers.items()))
    finally:
        for server in servers:
            server.process.kill()
            server.process.wait()


async def killed(house: House, number: signal.Signals, rng: random.Random) -> None:
    """One server ends in the middle of whatever it does, and is started again."""
    await asyncio.sleep(rng.uniform(0.1, 1.5))
    server = rng.choice(house.servers)
    house.died_s[server.grpc] = time.monotonic()
    if number == signal.SIGTERM:
        assert await asyncio.to_thread(server.stop, number) == 0
    else:
        server.process.kill()
        await asyncio.to_thread(server.process.wait)
    await asyncio.to_thread(start, server)
    await asyncio.to_thread(server.wait_for_sessions)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_no_death_of_a_server_loses_or_repeats_anything(
    postgres: Server, tmp_path: Path, number: signal.Signals
) -> None:
    numbers, workers, over = itertools.count(1), list[Worker](), asyncio.Event()

    async def busy(house: House) -> None:
        """One session after the other, until no server dies any more."""
        while not over.is_set():
            worker = Worker(next(numbers), tmp_path / f"w{len(workers)}")
            workers.append(worker)
            worker.root.mkdir()
            worker.end = await worker.run(house)

    rng = random.Random(SEED)  # noqa: S311 - any numbers
    with scripted_upstream(SCRIPTS) as upstream:
        async with fresh_schema(postgres) as database:
            with housed(database, tmp_path, upstream.settings()) as house:
                async with asyncio.TaskGroup() as group:
                    for _ in range(SESSIONS):
                        group.create_task(busy(house))
                    for _ in range(KILLS):
                        await killed(house, number, rng)
                    over.set()
                await _check(database, workers)
    print(_told(workers, house.stood))  # noqa: T201 - figures for who asks with -s
    assert statistics.median(one.duration_s for one in house.stood) < RESUMED_S


async def _check(database: str, workers: list[Worker]) -> None:
    for worker in workers:
        assert worker.end is Exit.DONE, (worker.number, worker.said.getvalue())
        assert worker.done == list(range(STEPS)), worker.number
    async with open_database(database, pool_size=1) as opened:
        left = await opened.read(lambda c: c.execute(text("SELECT count(*) FROM actions")).scalar())
        forks = await opened.read(
            lambda c: c.execute(
                text(
                    "SELECT thread_id, parent_id FROM checkpoints"
                    " GROUP BY thread_id, ns, parent_id HAVING count(*) > 1"
                )
            ).all()
        )
    assert left == 0
    assert forks == []


def _told(workers: list[Worker], stood: list[Stood]) -> str:
    ordered = sorted(one.duration_s for one in stood)
    late = [one for one in stood if one.duration_s > RESUMED_S]
    once = [one for one in late if not one.again]
    for one in once:
        print(f"{one.duration_s:.2f} s:", *one.tries, sep="\n  ")  # noqa: T201 - as above
    return (
        f"{KILLS} deaths of servers under {SESSIONS} sessions at a time, {len(workers)} in all;"
        f" {len(ordered)} streams broke, their sessions stood for"
        f" {statistics.median(ordered):.2f} s"
        f" in the middle, {ordered[-1]:.2f} s at most; {len(late)} longer than {RESUMED_S:.0f} s,"
        f" {len(once)} of them without a second death"
    )
