"""How a server stops, seen by its clients: real processes, with something on each transport."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc import aio
from websockets.asyncio.client import ClientConnection, connect

from isthmus.contract.contract_pb2 import Action, ClientEvent, StartWorkflowRequest
from isthmus.contract.contract_pb2_grpc import DuoWorkflowStub
from tests.support.process import RunningServer, running_server
from tests.support.scripted_upstream import Upstream, scripted_upstream

LONG = {"ISTHMUS_PROVIDERS__SCRIPTED__PAUSE_MS": "60000", "ISTHMUS_DRAIN__DEADLINE_S": "4"}
"""A step of the model takes longer than anybody waits for it."""
SOCKET = "/api/v4/ai/duo_workflows/ws"
LIMIT_S = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path, LONG) as found:
        found.wait_for_sessions()
        yield found


def bearer(server: RunningServer) -> dict[str, str]:
    token = server.command("tokens", "create", "--name", "client").stdout.strip()
    return {"authorization": f"Bearer {token}"}


def open_socket(server: RunningServer, headers: dict[str, str]) -> connect:
    url = server.url.replace("http", "ws", 1) + SOCKET
    return connect(url, additional_headers=headers)


async def ended(socket: ClientConnection) -> tuple[int | None, str | None]:
    """Read to the end; how it was closed."""
    async with asyncio.timeout(LIMIT_S):
        await socket.wait_closed()
    return socket.close_code, socket.close_reason


async def begin(socket: ClientConnection, workflow_id: str) -> None:
    """Start a session, and wait until it says that it runs."""
    start = {"startRequest": {"workflowID": workflow_id, "goal": "hi", "clientVersion": "1"}}
    await socket.send(json.dumps(start))
    async with asyncio.timeout(LIMIT_S):
        async for frame in socket:
            if json.loads(frame).get("newCheckpoint", {}).get("status") == "RUNNING":
                return


@asynccontextmanager
async def rpc(server: RunningServer) -> AsyncIterator["aio.StreamStreamCall[ClientEvent, Action]"]:
    """A session over gRPC that runs, and whose client says no more."""
    headers = server.headers("duo_chat", "duo_agent_platform")
    told = (*headers.items(), ("x-gitlab-global-user-id", "u"), ("x-gitlab-realm", "saas"))
    event = ClientEvent(startRequest=StartWorkflowRequest(workflowID="9", goal="hi"))
    async with aio.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        stub: Any = DuoWorkflowStub(channel)
        call: aio.StreamStreamCall[ClientEvent, Action] = stub.ExecuteWorkflow(metadata=told)
        await call.write(event)
        async with asyncio.timeout(LIMIT_S):
            await call.read()
        yield call


async def interrupted(call: "aio.StreamStreamCall[ClientEvent, Action]") -> bool:
    """Read to the end; whether the client may come again, here or elsewhere."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while await call.read() is not aio.EOF:
                pass
    except aio.AioRpcError as error:
        text = error.details() or ""
        unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
        return unavailable and text.startswith("workflow execution interrupted")
    return False


async def created(server: RunningServer, headers: dict[str, str]) -> str:
    body = {"goal": "hi", "workflow_definition": "chat", "project_id": "local/app"}
    async with httpx.AsyncClient(timeout=LIMIT_S) as client:
        url = f"{server.url}/api/v4/ai/duo_workflows/workflows"
        reply = await client.post(url, json=body, headers=headers)
        if reply.status_code != 201:
            del body["project_id"]
            body["namespace_id"] = "local"
            reply = await client.post(url, json=body, headers=headers)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


async def test_a_socket_without_a_session_does_not_wait_for_those_that_have_one(
    server: RunningServer,
) -> None:
    headers = await asyncio.to_thread(bearer, server)
    async with (
        rpc(server) as call,
        open_socket(server, headers) as idle,
        asyncio.TaskGroup() as group,
    ):
        session = group.create_task(interrupted(call))
        server.process.send_signal(signal.SIGTERM)
        assert await ended(idle) == (1001, "server shutdown")
        # The session over gRPC is still in its step, and has its time.
        assert not session.done()
        assert await session
    assert await asyncio.to_thread(server.process.wait, LIMIT_S) == 0


async def test_a_session_over_a_socket_is_told_to_come_again(server: RunningServer) -> None:
    headers = await asyncio.to_thread(bearer, server)
    workflow_id = await created(server, headers)
    async with open_socket(server, headers) as socket:
        await begin(socket, workflow_id)
        server.process.send_signal(signal.SIGTERM)
        assert await ended(socket) == (1001, "server shutdown")
    assert await asyncio.to_thread(server.process.wait, LIMIT_S) == 0


async def test_a_second_signal_waits_for_nobody(tmp_path: Path) -> None:
    slow = {**LONG, "ISTHMUS_DRAIN__DEADLINE_S": "300"}
    opened = running_server(tmp_path, slow)
    server = await asyncio.to_thread(opened.__enter__)
    try:
        await asyncio.to_thread(server.wait_for_sessions)
        headers = await asyncio.to_thread(bearer, server)
        async with rpc(server) as call, open_socket(server, headers) as idle:
            server.process.send_signal(signal.SIGTERM)
            await ended(idle)
            server.process.send_signal(signal.SIGTERM)
            assert await interrupted(call)
        assert await asyncio.to_thread(server.process.wait, LIMIT_S) == 0
    finally:
        await asyncio.to_thread(opened.__exit__, None, None, None)


@contextmanager
def streaming(tmp_path: Path, deadline_s: str) -> Iterator[tuple[RunningServer, Upstream]]:
    """A server whose model says a few words, slowly."""
    with scripted_upstream({"Count": ["one two three four five six"]}) as upstream:
        upstream.pause_s = 0.3
        settings = {
            **upstream.settings(),
            "ISTHMUS_TRANSPORTS": "http",
            "ISTHMUS_DRAIN__DEADLINE_S": deadline_s,
            "ISTHMUS_DRAIN__NOTICE_S": "1",
        }
        with running_server(tmp_path, settings) as server:
            yield server, upstream


async def test_an_answer_that_streams_is_finished_and_readiness_is_off_before(
    tmp_path: Path,
) -> None:
    opened = streaming(tmp_path, "30")
    server, _ = await asyncio.to_thread(opened.__enter__)
    try:
        scope = "ai_gateway_model_provider_proxy"
        headers = await asyncio.to_thread(server.headers, scope)
        headers |= {"anthropic-version": "2023-06-01", "x-gitlab-unit-primitive": scope}
        body = {
            "model": "claude-sonnet-4-6",
            "max_tokens": 100,
            "stream": True,
            "messages": [{"role": "user", "content": "Count"}],
        }
        url = f"{server.url}/v1/proxy/anthropic/v1/messages"
        async with (
            httpx.AsyncClient(timeout=LIMIT_S) as client,
            client.stream("POST", url, json=body, headers=headers) as reply,
        ):
            assert reply.status_code == 200, await reply.aread()
            pieces = reply.aiter_text()
            text = await anext(pieces)
            server.process.send_signal(signal.SIGTERM)
            assert await _until_not_ready(server)
            async for piece in pieces:
                text += piece
        assert "message_stop" in text
        assert await asyncio.to_thread(server.process.wait, LIMIT_S) == 0
        assert "Traceback" not in server.log
    finally:
        await asyncio.to_thread(opened.__exit__, None, None, None)


async def _until_not_ready(server: RunningServer) -> bool:
    async with asyncio.timeout(LIMIT_S), httpx.AsyncClient(timeout=LIMIT_S) as client:
        while True:
            reply = await client.get(f"{server.url}/monitoring/ready")
            if reply.status_code == 503:
                return True
            await asyncio.sleep(0.01)
