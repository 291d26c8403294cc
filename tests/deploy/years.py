"""A server that sessions outlive: its database of either kind, its vendor, and clients of it."""

import asyncio
import queue
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import grpc
import httpx
import msgspec

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    PlainTextResponse,
    StartWorkflowRequest,
)
from isthmus.contract.contract_pb2_grpc import DuoWorkflowStub
from tests.support.postgres import execute as run_on_postgres
from tests.support.process import RunningServer
from tests.support.scripted_upstream import Script
from tests.support.upstream_wires import Call

SCRIPTS: Final[Mapping[str, Script]] = {
    "[work]": [
        [Call("read_file", {"file_path": "README.md"})],
        [Call("list_dir", {"directory": "."})],
        "I looked around.",
    ],
}
"""The model reads a file, lists a folder, and sums up."""
DONE: Final = [
    "[work]",
    "One moment.",
    "Read README.md",
    "One moment.",
    "List .",
    "I looked around.",
]
"""The log of a session to which everything was answered."""
SCOPES: Final = (
    "duo_chat",
    "duo_agent_platform",
    "complete_code",
    "ai_gateway_model_provider_proxy",
)
LIMIT_S: Final = 60.0
TURN_S: Final = 300.0


def identity(server: RunningServer) -> dict[str, str]:
    """Headers of one user, who may do what these tests do."""
    return server.headers(*SCOPES) | {"x-gitlab-global-user-id": "u1", "x-gitlab-realm": "saas"}


@dataclass
class Turn:
    """One turn of a session over gRPC, at the client's pace."""

    server: RunningServer
    headers: Mapping[str, str]
    workflow_id: str
    goal: str = ""
    statuses: list[str] = field(default_factory=list[str])
    log: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""

    def __enter__(self) -> Self:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self.server.grpc}")
        self._events: queue.SimpleQueue[ClientEvent | None] = queue.SimpleQueue()
        start = StartWorkflowRequest(
            workflowID=self.workflow_id,
            workflowDefinition="chat",
            goal=self.goal,
            clientVersion="1",
        )
        self._events.put(ClientEvent(startRequest=start))
        stub: Any = DuoWorkflowStub(self._channel)
        self._call = stub.ExecuteWorkflow(
            iter(self._events.get, None), metadata=list(self.headers.items()), timeout=TURN_S
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._events.put(None)
        self._call.cancel()
        self._channel.close()

    def asked(self) -> Action | None:
        """What the client is asked to do next; None when the stream has ended."""
        try:
            for action in self._call:
                if not action.HasField("newCheckpoint"):
                    return action
                self._heard(action)
        except grpc.RpcError:
            self.code, self.details = self._call.code(), self._call.details()
        return None

    def answer(self, action: Action, text: str = "done") -> None:
        """Say that it is done."""
        response = PlainTextResponse(response=text)
        told = ActionResponse(requestID=action.requestID, plainTextResponse=response)
        self._events.put(ClientEvent(actionResponse=told))

    def play(self) -> list[str]:
        """Do all that is asked, to the end; what that was."""
        done: list[str] = []
        while (action := self.asked()) is not None:
            done.append(str(action.WhichOneof("action")))
            self.answer(action)
        return done

    def until(self, kind: str) -> Action:
        """Do what is asked until it is of this kind, which is left to the caller."""
        while (action := self.asked()) is not None:
            if action.WhichOneof("action") == kind:
                return action
            self.answer(action)
        raise AssertionError(f"never asked for {kind}: {self.code} {self.details}")

    @property
    def said(self) -> list[str]:
        """The texts of the log, as the last notice had it."""
        return [str(entry["content"]) for entry in self.log]

    def _heard(self, action: Action) -> None:
        self.statuses.append(action.newCheckpoint.status)
        values = msgspec.json.decode(action.newCheckpoint.checkpoint)["channel_values"]
        self.log = values["ui_chat_log"]


def complete(server: RunningServer, headers: Mapping[str, str]) -> int:
    """Ask for a completion; the status."""
    file = {"file_name": "a.py", "content_above_cursor": "x = ", "content_below_cursor": ""}
    body = {"prompt_version": 1, "current_file": file}
    url = f"{server.url}/v2/code/completions"
    return httpx.post(url, json=body, headers=dict(headers), timeout=LIMIT_S).status_code


def execute(url: str, script: str) -> None:
    """Run statements on the database of a URL, whatever its kind."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(script)
        return
    asyncio.run(run_on_postgres(url, script))
