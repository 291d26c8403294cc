"""A GitLab instance as a session's client reaches it: answers HTTP actions, and keeps them."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zlib import decompress

from isthmus.contract.contract_pb2 import Action, ActionResponse, HttpResponse
from isthmus.core.workflow import Status, StatusEvent, after
from tests.support.session_client import Answerer, Reply, answer

WIRE = Path(__file__).parents[1] / "wire" / "instance"


def recorded(name: str) -> dict[str, Any]:
    """An answer of a GitLab instance, as it came."""
    return json.loads((WIRE / f"{name}.json").read_text())


def inflated(text: str) -> dict[str, Any]:
    """A checkpoint that travelled deflated."""
    return json.loads(decompress(b64decode(text)))


class ForeignInstance:
    """One workflow of a GitLab instance of 19.3.

    `journal` has a line for each call; `posts` the checkpoints and `writes` the pauses that were
    stored. `refuse` maps the beginning of such a line to the status that it is answered with.
    `others` carries out what is no HTTP action.
    """

    def __init__(self, others: Answerer = answer, **fields: Any) -> None:
        self.fields = recorded("workflow_19.3")["data"]["duoWorkflowWorkflows"]["nodes"][0] | fields
        self.status = Status(self.fields["statusName"])
        self.journal: list[str] = []
        self.posts: list[dict[str, Any]] = []
        self.writes: list[dict[str, Any]] = []
        self.refuse: dict[str, int] = {}
        self.approved: set[str] = set()
        self.queries: list[dict[str, Any]] = []
        self.limit_rows = 100
        self.others = others

    def __call__(self, action: Action) -> Reply:
        if not action.HasField("runHTTPRequest"):
            return self.others(action)
        asked = action.runHTTPRequest
        body: dict[str, Any] = json.loads(asked.body) if asked.HasField("body") else {}
        line = self._line(asked.method, asked.path, body)
        self.journal.append(line)
        for begin, status in self.refuse.items():
            if line.startswith(begin):
                return http(action, status, {"message": f"{status}"})
        return self._answer(action, asked.method, asked.path, body)

    def latest(self) -> dict[str, Any]:
        """The state of the newest checkpoint."""
        return inflated(self.posts[-1]["compressed_checkpoint"])["channel_values"]

    def _assembled(self, thread_ts: str) -> dict[str, Any]:
        """A checkpoint that was stored in parts, put together from its group."""
        post = next(post for post in self.posts if post["thread_ts"] == thread_ts)
        values: dict[str, Any] = {}
        for part in self.posts[: self.posts.index(post) + 1]:
            if part["current_thread"] != post["current_thread"]:
                continue
            for blob in part["channel_blobs"]:
                value, name = json.loads(decompress(b64decode(blob["data"]))), blob["channel"]
                whole = blob["step_action"] == "compaction"
                values[name] = value if whole else grown(values[name], value)
        kept = {name: values[name] for name in post["channel_keys"]}
        return {
            "thread_ts": thread_ts,
            "parent_ts": post["parent_ts"],
            "metadata": post["metadata"],
            "checkpoint": post["checkpoint"] | {"channel_values": kept},
            "current_thread": post["current_thread"],
        }

    def _line(self, method: str, path: str, body: dict[str, Any]) -> str:
        place = urlsplit(path).path.partition("/workflows/")[2]
        if path == "/api/graphql":
            return "approved?" if "toolCallApproved" in body["query"] else "query"
        if method == "PATCH":
            return f"PATCH {place} {body['status_event']}"
        query = urlsplit(path).query
        return f"{method} {place}" + (f"?{query}" if method == "GET" and query else "")

    def _answer(self, action: Action, method: str, path: str, body: dict[str, Any]) -> Reply:
        if path == "/api/graphql":
            return self._graphql(action, body)
        if method == "PATCH":
            try:
                self.status = after(self.status, StatusEvent(body["status_event"]))
            except Exception as refused:  # noqa: BLE001 - whatever the table says is no
                return http(action, 400, {"message": str(refused)})
            return http(action, 200, {"workflow": {"status": self.status.value}})
        if path.endswith("/checkpoint_writes_batch"):
            self.writes.append(body)
            return http(action, 200, {})
        if method == "POST":
            self.posts.append(body)
            return http(action, 201, {"id": len(self.posts), "thread_ts": body["thread_ts"]})
        return self._list(action, path)

    def _graphql(self, action: Action, body: dict[str, Any]) -> Reply:
        self.queries.append(body)
        if "toolCallApproved" in body["query"]:
            allowed = body["variables"]["toolCallArgs"] in self.approved
            node: dict[str, Any] = {"toolCallApproved": allowed}
        else:
            node = self.fields | {"statusName": self.status.value}
            if self.posts:
                last = self.posts[-1]
                node["latestCheckpoint"] = {
                    "threadTs": last["thread_ts"],
                    "parentTs": last["parent_ts"],
                    "metadata": json.dumps(last["metadata"]),
                    "compressedCheckpoint": last.get("compressed_checkpoint"),
                    "checkpoint": json.dumps(last["checkpoint"]) if "checkpoint" in last else None,
                }
        return http(action, 200, {"data": {"duoWorkflowWorkflows": {"nodes": [node]}}})

    def _list(self, action: Action, path: str) -> Reply:
        asked = parse_qs(urlsplit(path).query)
        if "/by_thread_ts" in path:
            return http(action, 200, self._assembled(asked["thread_ts"][0]))
        size, page = int(asked["per_page"][0]), int(asked.get("page", ["1"])[0])
        if size > self.limit_rows:
            too_large = HttpResponse(error="response body exceeded size limit (4190208 bytes)")
            return ActionResponse(requestID=action.requestID, httpResponse=too_large)
        newest = self.posts[::-1]
        rows = [
            {
                "id": number,
                "thread_ts": post["thread_ts"],
                "parent_ts": post["parent_ts"],
                "metadata": post["metadata"],
                "compressed_checkpoint": post.get("compressed_checkpoint"),
                "checkpoint": post.get("checkpoint"),
                "current_thread": post.get("current_thread", 0),
                "checkpoint_writes": [
                    {"id": 1, "thread_ts": post["thread_ts"], **write}
                    for batch in self.writes
                    if batch["thread_ts"] == post["thread_ts"]
                    for write in batch["checkpoint_writes"]
                ],
            }
            for number, post in enumerate(newest[(page - 1) * size : page * size])
        ]
        more = str(page + 1) if len(newest) > page * size else ""
        return http(action, 200, rows, {"X-Next-Page": more})


def grown(value: Any, more: Any) -> Any:
    """A list, or an object of lists, with what was added to it."""
    if isinstance(more, list):
        return [*value, *more]
    return value | {key: [*value.get(key, []), *items] for key, items in more.items()}


def http(
    action: Action, status: int, body: object, headers: dict[str, str] | None = None
) -> ActionResponse:
    """An answer to an HTTP action."""
    told = HttpResponse(statusCode=status, body=json.dumps(body), headers=headers or {})
    return ActionResponse(requestID=action.requestID, httpResponse=told)
