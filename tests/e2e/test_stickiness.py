"""A session stays with the model it began with: the acceptance procedure of the feature.

Our server stands between a client, a flow service in another process (gRPC) and a GitLab that runs
pipelines: each a real server, so that what they are told is what went over the wire.
Source: instance contract, section 2.5 ("Acceptance procedure").
"""

import asyncio
import base64
import json
import sqlite3
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from grpc import aio
from websockets.asyncio.client import connect

from isthmus.contract.contract_pb2 import Action, ClientEvent, NewCheckpoint, RunHTTPRequest
from isthmus.contract.contract_pb2_grpc import (
    DuoWorkflowServicer,
    add_DuoWorkflowServicer_to_server,  # pyright: ignore[reportUnknownVariableType] - generated
)
from isthmus.core.flags import STICKINESS
from tests.contract.runners.replay import FarEnd, far_end
from tests.support.process import RunningServer, running_server

WORKFLOWS = "/api/v4/ai/duo_workflows/workflows"
SOCKET = "/api/v4/ai/duo_workflows/ws"
HEADER = "x-gitlab-agent-platform-model-metadata"
VARIABLE = "AGENT_PLATFORM_MODEL_METADATA"
CHOSEN = '{"name": "claude_sonnet_4_6_vertex","provider":"gitlab",  "endpoint":null}'
"""Spaces as no encoder of ours would set them: what comes back is this text, or another one."""


@dataclass
class FlowService(DuoWorkflowServicer):
    """Starts or resumes the record, stores one checkpoint with its model, and waits for input."""

    told: list[str] = field(default_factory=list[str])
    statuses: list[int] = field(default_factory=list[int])

    async def ExecuteWorkflow(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[ClientEvent], context: Any
    ) -> AsyncIterator[Action]:
        metadata = {name: str(value) for name, value in context.invocation_metadata()}
        self.told.append(metadata.get(HEADER, ""))
        start = (await anext(request_iterator)).startRequest
        record = f"{WORKFLOWS}/{start.workflowID}"
        began = "start" if len(self.told) == 1 else "resume"
        calls = (
            ("PATCH", record, {"status_event": began}),
            ("POST", f"{record}/checkpoints?checkpoint_strategy=full", self._checkpoint()),
            ("PATCH", record, {"status_event": "require_input"}),
        )
        for number, (method, path, body) in enumerate(calls):
            action = RunHTTPRequest(method=method, path=path, body=json.dumps(body))
            yield Action(requestID=str(number), runHTTPRequest=action)
            answer = (await anext(request_iterator)).actionResponse.httpResponse
            self.statuses.append(answer.statusCode)
        yield Action(newCheckpoint=NewCheckpoint(status="INPUT_REQUIRED", checkpoint="{}"))

    def _checkpoint(self) -> dict[str, object]:
        values = json.dumps({"channel_values": {"ui_chat_log": [], "status": "input_required"}})
        return {
            "thread_ts": f"1f0b0000-0000-6000-8000-{len(self.told):012}",
            "parent_ts": None,
            "metadata": {},
            "compressed_checkpoint": base64.b64encode(zlib.compress(values.encode())).decode(),
            "model_metadata_json": CHOSEN,
        }


@dataclass
class Place:
    """Everything that takes part."""

    server: RunningServer
    flows: FlowService
    gitlab: FarEnd
    token: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    async def create(self, **order: object) -> str:
        body = {"goal": "hi", "workflow_definition": "chat", **order}
        return str((await self.post(WORKFLOWS, body))["id"])

    async def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        async with httpx.AsyncClient(timeout=60) as client:
            reply = await client.post(self.server.url + path, json=body, headers=self.bearer)
        assert reply.status_code == 201, reply.text
        return reply.json()

    async def turn(self, workflow_id: str, query: str = "") -> str:
        """One socket; what the flow service was told of the model."""
        url = self.server.url.replace("http", "ws", 1) + SOCKET + query
        start = {"startRequest": {"workflowID": workflow_id, "goal": "hi", "clientVersion": "1"}}
        async with asyncio.timeout(60), connect(url, additional_headers=self.bearer) as socket:
            await socket.send(json.dumps(start))
            async for _ in socket:
                pass
            assert socket.close_code == 1000
        assert set(self.flows.statuses) <= {200, 201}
        return self.flows.told[-1]

    def column(self, workflow_id: str) -> str:
        """What the record keeps, read from the database itself."""
        with closing(sqlite3.connect(self.server.folder / "var" / "isthmus.db")) as database:
            found = database.execute("SELECT model FROM workflows WHERE id = ?", (workflow_id,))
            return str(found.fetchone()[0])

    def job(self) -> str:
        """What the newest pipeline was told of the model."""
        made = self.gitlab.of("POST", "/pipeline")[-1]
        return next(one["value"] for one in made["variables"] if one["key"] == VARIABLE)

    async def flag(self, state: str) -> None:
        done = await asyncio.to_thread(self.server.command, "flags", "set", STICKINESS, state)
        assert done.returncode == 0, done.stderr


@pytest.fixture(name="gitlab")
def _gitlab() -> Iterator[FarEnd]:
    with far_end() as gitlab:
        yield gitlab


@pytest.fixture(name="place")
async def _place(tmp_path: Path, gitlab: FarEnd) -> AsyncIterator[Place]:
    flows, platform = FlowService(), aio.server()
    add_DuoWorkflowServicer_to_server(flows, platform)
    port = platform.add_insecure_port("127.0.0.1:0")
    await platform.start()
    settings = {
        "ISTHMUS_TRANSPORTS": "http",
        "ISTHMUS_PLATFORM__URL": f"grpc://127.0.0.1:{port}",
        "ISTHMUS_PLATFORM__SECURE": "false",
        "ISTHMUS_RUNNERS__KIND": "gitlab_ci",
        "ISTHMUS_RUNNERS__GITLAB_CI__URL": gitlab.url,
        "ISTHMUS_RUNNERS__GITLAB_CI__TOKEN": "pipelines",
        "ISTHMUS_RUNNERS__GITLAB_CI__PROJECT": "ops/jobs",
    }
    opened = running_server(tmp_path, settings)
    server = await asyncio.to_thread(opened.__enter__)
    try:
        created = await asyncio.to_thread(server.command, "tokens", "create", "--name", "client")
        yield Place(server, flows, gitlab, created.stdout.strip())
    finally:
        await asyncio.to_thread(opened.__exit__, None, None, None)
        await platform.stop(None)


def resolved(text: str) -> bool:
    """Whether the text names a feature, as the resolution does, and no model that was chosen."""
    return "feature_setting" in json.loads(text)


@pytest.mark.parametrize("where", [{"project_id": "team/app"}, {"namespace_id": "local"}])
async def test_a_session_keeps_its_model_where_the_flag_is_on(
    place: Place, where: dict[str, object]
) -> None:
    workflow_id = await place.create(**where)
    assert place.column(workflow_id) == ""
    assert resolved(await place.turn(workflow_id))
    assert place.column(workflow_id) == CHOSEN
    await place.flag("on")
    picked = "&user_selected_model_identifier=claude_haiku_4_5_20251001"
    assert await place.turn(workflow_id, f"?workflow_id={workflow_id}{picked}") == CHOSEN
    assert await place.turn(workflow_id) == CHOSEN
    await place.post(f"{WORKFLOWS}/{workflow_id}/resume", {"human_approval": True})
    assert place.job() == CHOSEN


async def test_nothing_is_taken_again_where_the_flag_is_off(place: Place) -> None:
    workflow_id = await place.create(project_id="team/app")
    await place.turn(workflow_id)
    assert place.column(workflow_id) == CHOSEN
    assert resolved(await place.turn(workflow_id, f"?workflow_id={workflow_id}"))
    assert resolved(await place.turn(workflow_id))
    await place.post(f"{WORKFLOWS}/{workflow_id}/resume", {"human_approval": True})
    assert resolved(place.job())
    assert place.column(workflow_id) == CHOSEN


async def test_a_first_run_asks_for_the_model_and_a_stranger_gets_none(place: Place) -> None:
    await place.flag("on")
    made = await place.post(
        WORKFLOWS,
        {"goal": "hi", "project_id": "team/app", "start_workflow": True},
    )
    assert made["workload"]["id"] == 7
    assert resolved(place.job())
    url = place.server.url.replace("http", "ws", 1) + f"{SOCKET}?workflow_id=999999"
    with pytest.raises(Exception, match="HTTP 404"):
        await connect(url, additional_headers=place.bearer)
