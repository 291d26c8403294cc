"""A client that follows a session by the place of entries in the log, and brings its own flow.

The editor plugin that works so cannot be had from the npm registry any more; these are its requests
and frames, in its order. Source: instance contract, section 5.5.
"""

import json
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import quote

from websockets.sync.client import ClientConnection, connect

from tests.support.npm import Account

Json: TypeAlias = dict[str, Any]
ENDED = {"FINISHED", "FAILED", "STOPPED", "INPUT_REQUIRED", "PLAN_APPROVAL_REQUIRED"}
LIMIT_S = 20.0


def persona(*tools: str) -> Json:
    """A flow with one agent and a prompt of its own."""
    return {
        "version": "v1",
        "environment": "chat-partial",
        "components": [
            {
                "name": "chat",
                "type": "AgentComponent",
                "prompt_id": "chat/agent",
                "toolset": list(tools),
            }
        ],
        "prompts": [
            {
                "prompt_id": "chat/agent",
                "name": "Agent of the editor",
                "unit_primitives": ["duo_chat"],
                "prompt_template": {
                    "system": "You serve the editor of the tests.",
                    "user": "{{goal}}",
                    "placeholder": "history",
                },
            }
        ],
    }


@dataclass
class IndexClient:
    """One conversation in one folder."""

    account: Account
    folder: Path
    tools: tuple[str, ...]
    workflow_id: str = ""
    sockets: int = 0
    done: list[str] = field(default_factory=list[str])
    """Names of the actions that were carried out."""
    statuses: list[str] = field(default_factory=list[str])
    _seen: list[str] = field(default_factory=list[str])
    _resumed: bool = False

    def turn(self, goal: str) -> str:
        """Say something, carry out what is asked, approve everything: the text that was shown."""
        self._resumed = bool(self.workflow_id)
        if not self.workflow_id:
            self._register(goal)
        shown, ended = self._socket(self._start(goal))
        while not ended:
            more, ended = self._socket(self._start("", approval={"approval": {}}))
            shown += more
        return shown

    def _register(self, goal: str) -> None:
        project = self._call("GET", f"projects/{quote('team/demo', safe='')}")
        namespace = self._call("GET", f"namespaces/{project['namespace']['id']}")
        while namespace["parent_id"]:
            namespace = self._call("GET", f"namespaces/{namespace['parent_id']}")
        told = {
            "goal": goal,
            "workflow_definition": "chat",
            "environment": "ide",
            "allow_agent_to_request_user": True,
            "project_id": project["id"],
        }
        self.workflow_id = str(self._call("POST", "ai/duo_workflows/workflows", told)["id"])
        root = f"gid://gitlab/Group/{namespace['id']}"
        told = {"workflow_definition": "chat", "root_namespace_id": root}
        self._call("POST", "ai/duo_workflows/direct_access", told)

    def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        request = urllib.request.Request(  # noqa: S310 - our own URL
            f"{self.account.url}/api/v4/{path}",
            None if body is None else json.dumps(body).encode(),
            {"authorization": f"Bearer {self.account.token}", "content-type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=LIMIT_S) as reply:  # noqa: S310
            return cast("Json", json.load(reply))

    def _start(self, goal: str, **more: object) -> Json:
        context = [
            {"category": "os_information", "content": "<os>linux</os>", "metadata": "{}"},
            {"category": "user_rule", "content": "Be brief.", "metadata": "{}"},
        ]
        return {
            "clientVersion": "1.0",
            "workflowID": self.workflow_id,
            "workflowDefinition": "chat",
            "goal": goal,
            "workflowMetadata": '{"extended_logging":false}',
            "clientCapabilities": ["shell_command"],
            "mcpTools": [],
            "preapproved_tools": ["read_file"],
            "additional_context": context if goal else [],
            "flowConfig": persona(*self.tools),
            "flowConfigSchemaVersion": "v1",
        } | more

    def _socket(self, start: Json) -> tuple[str, bool]:
        """One connection: the text that it showed, and whether the turn is over."""
        place = "/api/v4/ai/duo_workflows/ws?user_selected_model_identifier=duo-chat-sonnet-4-5"
        headers = {
            "authorization": f"Bearer {self.account.token}",
            "x-gitlab-client-type": "node-websocket",
        }
        address = self.account.url.replace("http", "ws", 1) + place
        self.sockets += 1
        shown = ""
        with connect(address, additional_headers=headers, open_timeout=LIMIT_S) as socket:
            socket.send(json.dumps({"startRequest": start}))
            while True:
                action = cast("Json", json.loads(socket.recv(LIMIT_S)))
                checkpoint = action.get("newCheckpoint")
                if checkpoint is None:
                    self._carry_out(socket, action)
                    continue
                status = checkpoint["status"]
                self.statuses.append(status)
                if status in ENDED:
                    # What comes with the end is not shown any more.
                    return shown, True
                shown += self._news(checkpoint)
                if status == "TOOL_CALL_APPROVAL_REQUIRED":
                    # The server has to close; who waits for ever has found one that does not.
                    for _ in socket:
                        pass
                    return shown, False

    def _news(self, checkpoint: Json) -> str:
        values = json.loads(checkpoint["checkpoint"] or "{}").get("channel_values", {})
        log = cast("list[Json]", values.get("ui_chat_log", []))
        texts = [one["content"] if one["message_type"] == "agent" else "" for one in log]
        before, self._seen = self._seen, texts
        if self._resumed:
            # The first one after a pause only tells where the conversation stands.
            self._resumed = False
            return ""
        return "".join(
            text.removeprefix(before[place]) if place < len(before) else text
            for place, text in enumerate(texts)
        )

    def _carry_out(self, socket: ClientConnection, action: Json) -> None:
        ((name, asked),) = ((key, value) for key, value in action.items() if key != "requestID")
        self.done.append(name)
        answer, error = "", ""
        if name == "runReadFile":
            answer = (self.folder / asked["filepath"]).read_text()
        elif name == "runEditFile":
            path = self.folder / asked["filepath"]
            path.write_text(path.read_text().replace(asked["oldString"], asked["newString"]))
            answer = "edited"
        else:
            error = f"{name} is not for this client"
        told: Json = {"requestID": action["requestID"]}
        told["plainTextResponse"] = {"response": answer, "error": error}
        socket.send(json.dumps({"actionResponse": told}))
