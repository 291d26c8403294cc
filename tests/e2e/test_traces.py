"""One trace from a client's socket through two processes to the model that answers."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.support.otlp import Collected, Span, collecting
from tests.support.process import RunningServer, running_server

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RECORDS = "/api/v4/ai/duo_workflows/workflows"
SOCKET = "/api/v4/ai/duo_workflows/ws"


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Iterator[tuple[RunningServer, RunningServer, Collected]]:
    """The gateway, the platform that runs its sessions, and their collector."""
    with ExitStack() as stack:
        collected = stack.enter_context(collecting())
        traced = {"ISTHMUS_TRACING__ENABLED": "1", "ISTHMUS_TRACING__ENDPOINT": collected.url}
        platform = running_server(tmp_path, {**traced, "ISTHMUS_TRACING__SERVICE": "platform"})
        behind = stack.enter_context(platform)
        behind.wait_for_sessions()
        front = {
            **traced,
            "ISTHMUS_TRANSPORTS": "http",
            "ISTHMUS_PLATFORM__URL": f"grpc://127.0.0.1:{behind.grpc}",
            "ISTHMUS_PLATFORM__SECURE": "false",
        }
        yield stack.enter_context(running_server(tmp_path, front)), behind, collected


async def test_a_session_over_a_socket_is_one_trace(
    place: tuple[RunningServer, RunningServer, Collected],
) -> None:
    front, behind, collected = place
    made = await asyncio.to_thread(front.command, "tokens", "create", "--name", "client")
    headers = {"authorization": f"Bearer {made.stdout.strip()}"}
    body = {"goal": "hi", "workflow_definition": "chat", "namespace_id": "local"}
    async with httpx.AsyncClient(timeout=60) as client:
        reply = await client.post(front.url + RECORDS, json=body, headers=headers)
    assert reply.status_code == 201, reply.text
    start = {"workflowID": str(reply.json()["id"]), "goal": "hi", "workflowDefinition": "chat"}
    url = front.url.replace("http", "ws", 1) + SOCKET
    given = {**headers, "traceparent": CALLER}
    async with asyncio.timeout(60), connect(url, additional_headers=given) as socket:
        await socket.send(json.dumps({"startRequest": start}))
        answered = False
        async for frame in socket:
            action = json.loads(frame)
            if "newCheckpoint" in action:
                continue
            if answered:
                break
            answered, plain = True, {"response": "README.md"}
            reply = {"requestID": action["requestID"], "plainTextResponse": plain}
            await socket.send(json.dumps({"actionResponse": reply}))
    for server in (front, behind):
        assert await asyncio.to_thread(server.stop) == 0
    above = {span.span_id: span for span in collected.spans}
    model = next(span for span in collected.spans if span.name.startswith("chat "))
    names: list[str] = []
    span: Span | None = model
    last = model
    while span is not None:
        names.append(span.name)
        last, span = span, above.get(span.parent_id)
    assert names[1:] == ["invoke_agent chat", "DuoWorkflow/ExecuteWorkflow", "websocket"]
    assert (last.trace_id, last.parent_id) == (CALLER[3:35], CALLER[36:52])
    assert model.trace_id == last.trace_id
    for kind in ("execute_tool ", "client "):
        inside = next(span for span in collected.spans if span.name.startswith(kind))
        assert above[inside.parent_id].name == "invoke_agent chat"
        assert inside.trace_id == last.trace_id
    assert (model.resource["service.name"], last.resource["service.name"]) == (
        *("platform", "isthmus"),
    )
