"""Sessions over the WebSocket relay beside the same over gRPC, and what an idle socket costs.

200 sessions read a file at their own pace; what counts is the time from a client's answer until the
next action reaches it, which is a frame each way.
"""

import asyncio
import http.client
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import grpc.aio
from websockets.asyncio.client import connect

from bench.machine import CLIENT_CORE, IDLE, cpu_s, idle_kb
from bench.report import Relayed
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
STEPS = 8
ROUNDS = 2
THINK_S = 4.0
PATH = "/api/v4/ai/duo_workflows"
TEXT = "# Title\n" + "A line of the README.\n" * 90


def measure(folder: Path) -> list[Relayed]:
    """One row: both ways on one server, one after the other, then idle sockets."""
    script = folder / "relay.yml"
    turn = "- tools:\n  - name: read_file\n    arguments: {file_path: README.md}\n"
    script.write_text("turns:\n" + turn * STEPS + "- text: Done.\n", encoding="utf-8")
    place = folder / "relay"
    place.mkdir()
    settings = {
        "ISTHMUS_PROVIDERS__SCRIPTED__SCRIPT": str(script),
        "ISTHMUS_PLATFORM__MAX_SESSIONS": "500",
        "ISTHMUS_INSTANCE__RELAY__SOCKETS_PER_MINUTE": "100000",
    }
    with isthmus(place, transports="http,grpc", extra=settings) as server:
        token = _token(place, settings)
        direct, relayed = (
            [_drive(server, kind, token) for _ in range(ROUNDS)] for kind in ("grpc", "ws")
        )
        row = Relayed(
            SESSIONS,
            *min(direct),
            *min(relayed),
            idle_kb(server.pid, _driver("idle", server.port, token)),
        )
    print(row, flush=True)
    return [row]


def _token(place: Path, settings: dict[str, str]) -> str:
    program = str(Path(sys.executable).with_name("isthmus"))
    done = subprocess.run(
        [program, "tokens", "create", "--name", "bench"],
        env=dict(os.environ) | settings | {"ISTHMUS_DATA_DIR": str(place / "var")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def _driver(kind: str, port: int, token: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["taskset", "-c", str(CLIENT_CORE), sys.executable, "-m", "bench.relay", kind, str(port)],
        env=dict(os.environ) | {"BENCH_TOKEN": token},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _drive(server: Server, kind: str, token: str) -> tuple[float, float]:
    """Median milliseconds of a round, and our CPU milliseconds for each."""
    direct = kind == "grpc"
    port = server.grpc_port if direct else server.port
    before_s = cpu_s(server.pid)
    out, _ = _driver(kind, port, server.token if direct else token).communicate()
    spent_ms = (cpu_s(server.pid) - before_s) * 1000
    return float(out.strip().splitlines()[-1]), spent_ms / (SESSIONS * STEPS)


async def _over_grpc(port: int, token: str) -> float:
    metadata = (
        ("authorization", f"Bearer {token}"),
        ("x-gitlab-authentication-type", "oidc"),
        ("x-gitlab-instance-id", "bench"),
        ("x-gitlab-global-user-id", "bench"),
    )
    spent: list[float] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = DuoWorkflowStub(channel)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(SESSIONS):
                tasks.create_task(_grpc_session(stub, metadata, spent))
    return statistics.median(spent) * 1000


async def _grpc_session(stub: Any, metadata: Any, spent: list[float]) -> None:
    await _think()
    outgoing: asyncio.Queue[ClientEvent] = asyncio.Queue()
    start = StartWorkflowRequest(
        workflowID=str(1 + secrets.randbelow(2**53 - 1)),
        workflowDefinition="chat",
        goal="Read.",
        preapproved_tools=["read_file"],
    )
    outgoing.put_nowait(ClientEvent(startRequest=start))
    answered_s = 0.0
    call = cast("AsyncIterator[Action]", stub.ExecuteWorkflow(_events(outgoing), metadata=metadata))
    async for action in call:
        if action.WhichOneof("action") == "newCheckpoint":
            continue
        if answered_s:
            spent.append(time.perf_counter() - answered_s)
        await _think()
        plain = PlainTextResponse(response=TEXT)
        answer = ActionResponse(requestID=action.requestID, plainTextResponse=plain)
        answered_s = time.perf_counter()
        outgoing.put_nowait(ClientEvent(actionResponse=answer))


async def _events(queue: "asyncio.Queue[ClientEvent]") -> AsyncIterator[ClientEvent]:
    while True:
        yield await queue.get()


async def _over_sockets(port: int, token: str) -> float:
    ids = _workflows(port, token)
    spent: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        for workflow_id in ids:
            tasks.create_task(_socket_session(port, token, workflow_id, spent))
    return statistics.median(spent) * 1000


def _workflows(port: int, token: str) -> list[str]:
    """Records for the sessions, as clients make them."""
    connection = http.client.HTTPConnection(f"127.0.0.1:{port}")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    ids: list[str] = []
    for _ in range(SESSIONS):
        body = json.dumps({"goal": "Read.", "workflow_definition": "chat"})
        connection.request("POST", f"{PATH}/workflows", body, headers)
        ids.append(str(json.loads(connection.getresponse().read())["id"]))
    return ids


def _socket(port: int, token: str) -> connect:
    headers = {"Authorization": f"Bearer {token}"}
    url = f"ws://127.0.0.1:{port}{PATH}/ws"
    return connect(
        url, additional_headers=headers, ping_interval=None, proxy=None, compression=None
    )


async def _socket_session(port: int, token: str, workflow_id: str, spent: list[float]) -> None:
    await _think()
    start = {
        "workflowID": workflow_id,
        "workflowDefinition": "chat",
        "goal": "Read.",
        "preapproved_tools": ["read_file"],
    }
    answered_s = 0.0
    async with _socket(port, token) as socket:
        await socket.send(json.dumps({"startRequest": start}))
        async for frame in socket:
            action = json.loads(frame)
            if "newCheckpoint" in action:
                continue
            if answered_s:
                spent.append(time.perf_counter() - answered_s)
            await _think()
            plain = {"response": TEXT, "error": ""}
            answer = {"requestID": action["requestID"], "plainTextResponse": plain}
            answered_s = time.perf_counter()
            await socket.send(json.dumps({"actionResponse": answer}))
    if socket.close_code != 1000:
        raise SystemExit(f"bench: a socket ended with {socket.close_code}")


async def _idle(port: int, token: str) -> None:
    """Two thousand sockets, told when each thousand is open."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for _ in range(2):
            for _ in range(IDLE):
                await stack.enter_async_context(_socket(port, token))
            print("open", flush=True)
            await loop.run_in_executor(None, sys.stdin.readline)


async def _think() -> None:
    await asyncio.sleep(random.uniform(0.5, 1.5) * THINK_S)  # noqa: S311 - no secret


def _main() -> None:
    kind, port, token = sys.argv[1], int(sys.argv[2]), os.environ["BENCH_TOKEN"]
    if kind == "idle":
        asyncio.run(_idle(port, token))
    else:
        print(asyncio.run((_over_grpc if kind == "grpc" else _over_sockets)(port, token)))


if __name__ == "__main__":
    _main()
