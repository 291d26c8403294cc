"""Agent sessions of 20 steps at once, over gRPC, with a scripted model."""

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import grpc.aio

from bench import bare
from bench.machine import CLIENT_CORE, cpu_s, tree_rss_mb
from bench.report import Steps
from bench.server import Server, isthmus
from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    PlainTextResponse,
    StartWorkflowRequest,
)
from isthmus.contract.contract_pb2_grpc import DuoWorkflowStub

AT_ONCE = (1, 40, 200)
STEPS = 20


def measure(folder: Path) -> list[Steps]:
    """One server for each number of sessions at once; the driver runs on the client's core."""
    script = folder / "script.yml"
    turn = "- tools:\n  - name: read_file\n    arguments: {file_path: README.md}\n"
    script.write_text("turns:\n" + turn * STEPS + "- text: Done.\n", encoding="utf-8")
    settings = {
        "ISTHMUS_PROVIDERS__SCRIPTED__SCRIPT": str(script),
        "ISTHMUS_PLATFORM__MAX_SESSIONS": "500",
    }
    rows: list[Steps] = []
    for sessions in AT_ONCE:
        before_ms = bare.measure()
        with isthmus(folder, transports="http,grpc", extra=settings) as server:
            _drive(server, 5, 1)
            before_s = cpu_s(server.pid)
            rounds = max(1, 120 // sessions)
            elapsed_s = _drive(server, sessions, rounds)
            steps = sessions * rounds * STEPS
            rows.append(
                Steps(
                    sessions,
                    steps / elapsed_s,
                    (cpu_s(server.pid) - before_s) * 1000 / steps,
                    before_ms,
                    tree_rss_mb(server.pid),
                    server.ready_s,
                    server.sessions_ready_s,
                )
            )
            print(rows[-1], flush=True)
    return rows


def _drive(server: Server, sessions: int, rounds: int) -> float:
    command = ["taskset", "-c", str(CLIENT_CORE), sys.executable, "-m", "bench.sessions"]
    done = subprocess.run(
        [*command, str(server.grpc_port), str(sessions), str(rounds)],
        env=dict(os.environ) | {"BENCH_TOKEN": server.token},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.strip().splitlines()[-1])


async def _load(port: int, token: str, sessions: int, rounds: int) -> float:
    metadata = (
        ("authorization", f"Bearer {token}"),
        ("x-gitlab-authentication-type", "oidc"),
        ("x-gitlab-instance-id", "bench"),
        ("x-gitlab-global-user-id", "bench"),
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = DuoWorkflowStub(channel)
        begin = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(sessions):
                tasks.create_task(_sessions(stub, metadata, rounds))
        return time.monotonic() - begin


async def _sessions(
    stub: DuoWorkflowStub, metadata: tuple[tuple[str, str], ...], rounds: int
) -> None:
    for _ in range(rounds):
        workflow_id = str(1 + secrets.randbelow(2**53 - 1))
        outgoing: asyncio.Queue[ClientEvent | None] = asyncio.Queue()
        start = StartWorkflowRequest(
            workflowID=workflow_id,
            workflowDefinition="chat",
            goal="Read the README twenty times.",
            preapproved_tools=["read_file"],
        )
        outgoing.put_nowait(ClientEvent(startRequest=start))
        reads, status = 0, ""
        # The generated stub has no types.
        call = cast(
            "AsyncIterator[Action]", stub.ExecuteWorkflow(_events(outgoing), metadata=metadata)
        )
        async for action in call:
            if action.WhichOneof("action") == "newCheckpoint":
                status = action.newCheckpoint.status
                continue
            reads += 1
            outgoing.put_nowait(_answer(action))
        outgoing.put_nowait(None)
        if (reads, status) != (STEPS, "INPUT_REQUIRED"):
            raise SystemExit(f"a session ended {status} after {reads} reads")


def _answer(action: Action) -> ClientEvent:
    text = PlainTextResponse(response="# Title\n" + "A line of the README.\n" * 20)
    return ClientEvent(
        actionResponse=ActionResponse(requestID=action.requestID, plainTextResponse=text)
    )


async def _events(queue: "asyncio.Queue[ClientEvent | None]") -> AsyncIterator[ClientEvent]:
    while (event := await queue.get()) is not None:
        yield event


if __name__ == "__main__":
    port, sessions, rounds = map(int, sys.argv[1:])
    print(asyncio.run(_load(port, os.environ["BENCH_TOKEN"], sessions, rounds)))
