"""Sessions at a client's pace, and sessions that wait: the first one, 200 at once, 1,000 idle."""

import asyncio
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import grpc.aio

from bench.machine import CLIENT_CORE, IDLE, idle_kb
from bench.report import Waiting
from bench.server import Server, isthmus
from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    PlainTextResponse,
    StartWorkflowRequest,
)
from isthmus.contract.contract_pb2_grpc import DuoWorkflowStub

SESSIONS = 200
STEPS = 20
THINK_S = 1.0
TEXT = "# Title\n" + "A line of the README.\n" * 20


def measure(folder: Path) -> list[Waiting]:
    """One server for all three: the first session, then 200, then 2,000 that wait."""
    script = folder / "waiting.yml"
    turn = "- tools:\n  - name: read_file\n    arguments: {file_path: README.md}\n"
    script.write_text("turns:\n" + turn * STEPS + "- text: Done.\n", encoding="utf-8")
    settings = {
        "ISTHMUS_PROVIDERS__SCRIPTED__SCRIPT": str(script),
        "ISTHMUS_PLATFORM__MAX_SESSIONS": "3000",
    }
    place = folder / "waiting"
    place.mkdir()
    with isthmus(place, transports="http,grpc", extra=settings) as server:
        begun_s = float(_told(server, "first")[0])
        p50_ms, p99_ms = map(float, _told(server, "paced"))
        row = Waiting(
            server.sessions_ready_s + begun_s,
            SESSIONS,
            p50_ms,
            p99_ms,
            idle_kb(server.pid, _driver(server, "idle")),
        )
    print(row, flush=True)
    return [row]


def _driver(server: Server, kind: str) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "bench.waiting", kind, str(server.grpc_port)]
    return subprocess.Popen(
        ["taskset", "-c", str(CLIENT_CORE), *words],
        env=dict(os.environ) | {"BENCH_TOKEN": server.token},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _told(server: Server, kind: str) -> list[str]:
    out, _ = _driver(server, kind).communicate()
    return out.strip().splitlines()[-1].split()


def _opened(stub: DuoWorkflowStub, outgoing: "asyncio.Queue[ClientEvent]") -> AsyncIterator[Action]:
    """The actions of a new session, with its start on the way."""
    metadata = (
        ("authorization", f"Bearer {os.environ['BENCH_TOKEN']}"),
        ("x-gitlab-authentication-type", "oidc"),
        ("x-gitlab-instance-id", "bench"),
        ("x-gitlab-global-user-id", "bench"),
    )
    start = StartWorkflowRequest(
        workflowID=str(1 + secrets.randbelow(2**53 - 1)),
        workflowDefinition="chat",
        goal="Read.",
        preapproved_tools=["read_file"],
    )
    outgoing.put_nowait(ClientEvent(startRequest=start))
    # The generated stub has no types.
    return cast("AsyncIterator[Action]", stub.ExecuteWorkflow(_events(outgoing), metadata=metadata))


async def _events(queue: "asyncio.Queue[ClientEvent]") -> AsyncIterator[ClientEvent]:
    while True:
        yield await queue.get()


async def _work(actions: AsyncIterator[Action]) -> AsyncIterator[Action]:
    async for action in actions:
        if action.WhichOneof("action") != "newCheckpoint":
            yield action


async def _first(stub: DuoWorkflowStub) -> None:
    """Seconds until the first session has something for its client to do."""
    began_s = time.perf_counter()
    async for _ in _work(_opened(stub, asyncio.Queue())):
        break
    print(time.perf_counter() - began_s)


async def _paced(stub: DuoWorkflowStub) -> None:
    """Milliseconds from an answer to the next action: the middle, and the 99th percentile."""
    spent: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        for _ in range(SESSIONS):
            tasks.create_task(_session(stub, spent))
    spent.sort()
    print(1000 * spent[len(spent) // 2], 1000 * spent[len(spent) * 99 // 100])


async def _session(stub: DuoWorkflowStub, spent: list[float]) -> None:
    await asyncio.sleep(random.uniform(0, 2) * THINK_S)  # noqa: S311 - no secret
    outgoing: asyncio.Queue[ClientEvent] = asyncio.Queue()
    answered_s = 0.0
    async for action in _work(_opened(stub, outgoing)):
        if answered_s:
            spent.append(time.perf_counter() - answered_s)
        await asyncio.sleep(random.uniform(0.5, 1.5) * THINK_S)  # noqa: S311 - no secret
        plain = PlainTextResponse(response=TEXT)
        answer = ActionResponse(requestID=action.requestID, plainTextResponse=plain)
        answered_s = time.perf_counter()
        outgoing.put_nowait(ClientEvent(actionResponse=answer))


async def _idle(stub: DuoWorkflowStub) -> None:
    """Two thousand sessions with an unanswered action, told when each thousand waits."""
    loop = asyncio.get_running_loop()
    kept: list[AsyncIterator[Action]] = []
    for _ in range(2):
        for _ in range(IDLE):
            actions = _opened(stub, asyncio.Queue())
            async for _ in _work(actions):
                break
            kept.append(actions)
        print("waiting", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)


async def _main(kind: str, port: int) -> None:
    kinds = {"first": _first, "paced": _paced, "idle": _idle}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await kinds[kind](DuoWorkflowStub(channel))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
