"""A model that calls whatever it is offered, and an instance that answers what tools ask it."""

import json
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from typing import Any

from isthmus.contract.contract_pb2 import Action, ActionResponse, HttpResponse
from isthmus.core.identity import Caller
from isthmus.core.messages import (
    Chat,
    Delta,
    ModelChoice,
    ToolResult,
    ToolSpec,
    ToolUse,
)
from isthmus.routing.ask import Ask
from tests.support.declared_tools import RECORDED, Recorder, every
from tests.support.scripted_models import ScriptedModels, say
from tests.support.session_client import TOOLS, answer

_DECLARED: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
_WRITTEN: dict[str, Any] = json.loads((RECORDED.parent / "calls.json").read_text(encoding="utf-8"))
ARGUMENTS: Mapping[str, Any] = {name: one["args"] for name, one in (_DECLARED | _WRITTEN).items()}
"""What a tool is called with, where its schema does not say enough."""
ONWARD = ("create_plan", "new_merge_request", "proceed", "ready", "success")
"""Of the choices of a structured answer, those that lead on."""
_TEXTS = {
    "command": "status",
    "program": "true",
    "project_path": "g/p",
    "project_full_path": "g/p",
    "vulnerability_id": "7",
    "issue_id": "7",
    "merge_request_id": "7",
    "query": "{ currentUser { id } }",
    "id": "g/p",
    "file_path": "src/a.py",
}


def sample(schema: Any, name: str = "", onward: Iterable[str] = ONWARD) -> Any:
    """A value that fits a JSON Schema, and leads on where there is a choice."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    choices = [schema["const"]] if "const" in schema else schema.get("enum", ())
    if choices:
        return next((wished for wished in onward if wished in choices), choices[0])
    match schema.get("type"):
        case "object":
            needed = schema.get("required") or ()
            return {key: sample(schema["properties"][key], key, onward) for key in needed}
        case "array":
            return [sample(schema["items"], name, onward)] * max(1, schema.get("minItems", 1))
        case kind:
            simple = {"integer": 1, "number": 1, "boolean": True}
            return simple.get(str(kind), _TEXTS.get(name, "text"))


class Willing(ScriptedModels):
    """Calls each tool that it is offered once, and ends.

    `onward` are the choices that it makes where a structured answer has some.
    """

    def __init__(self, onward: Iterable[str] = ()) -> None:
        super().__init__(say("Done."))
        self._onward = (*onward, *ONWARD)

    async def stream(
        self, ask: Ask, choice: ModelChoice, caller: Caller
    ) -> AsyncGenerator[Delta, None]:
        self.calls.append((ask, choice, caller))
        assert isinstance(ask.prompt, Chat)
        results = [
            part
            for message in ask.prompt.messages
            for part in message.parts
            if isinstance(part, ToolResult)
        ]
        ends = [tool for tool in ask.prompt.tools if tool.name not in TOOLS]
        calls = ask.prompt.tools if not results else ()
        first = [tool for tool in calls if tool not in ends]
        delegates = [tool for tool in ends if tool.name == "delegate_task"]
        shapes = [tool for tool in ends if tool not in delegates]
        if first:
            for delta in self._uses(first):
                yield delta
        elif delegates and len(results) == len(ask.prompt.tools) - len(delegates):
            for delta in self._uses(delegates):
                yield delta
        elif shapes:
            for delta in self._uses(shapes):
                yield delta
        else:
            for item in say("Done."):
                assert isinstance(item, Delta)
                yield item

    def _uses(self, tools: list[ToolSpec]) -> list[Delta]:
        number = len(self.calls)
        made = [
            ToolUse(f"c{number}-{place}", tool.name, json.dumps(self._arguments(tool)))
            for place, tool in enumerate(tools)
        ]
        return [*(Delta(tool_use=one) for one in made), Delta(finish="tool_use")]

    def _arguments(self, tool: ToolSpec) -> Any:
        known = ARGUMENTS.get(tool.name)
        return sample(tool.schema, onward=self._onward) if known is None else known


def instance(action: Action) -> Any:
    """Answers of an instance that has everything; actions that do not ask it are done."""
    if action.WhichOneof("action") != "runHTTPRequest":
        return answer(action)
    asked = action.runHTTPRequest
    body = _recorded(asked.method, asked.path, asked.body)
    if body is None:
        body = _likely(asked.method, asked.path.partition("?")[0])
    text = body if isinstance(body, str) else json.dumps(body)
    http = HttpResponse(statusCode=200, body=text)
    return ActionResponse(requestID=action.requestID, httpResponse=http)


def _recorded(method: str, path: str, body: str) -> Any:
    """The answer to a request that is recorded; None for another one."""
    sent = _key(json.loads(body)) if body else ""
    return _ANSWERS.get((method, path, sent), _ANSWERS.get((method, path, "")))


def _key(body: Any) -> str:
    return json.dumps(body, sort_keys=True) if body is not None else ""


def _answers() -> Iterator[tuple[tuple[str, str, str], Any]]:
    """Requests (method, path, body; "" stands for any) and their answers."""
    for one, _ in every():
        for sent in _DECLARED[one.name]["calls"]:
            key = (sent["method"], sent["path"], _key(sent["body"]))
            yield key, Recorder(one).answer(sent["body"])
    for call in _WRITTEN.values():
        for one in call.get("answers", ()):
            yield (one["method"], one["path"], _key(one.get("asked"))), one["body"]


_ANSWERS = dict(_answers())


def _likely(method: str, path: str) -> Any:
    """What there is at a path that nothing is recorded of."""
    listed = ("/diffs", "/notes", "/discussions", "/jobs", "/bridges", "/tree", "/commits")
    if path.endswith(listed) and method == "GET":
        return []
    if "/repository/files/" in path:
        return {"content": b64encode(b"one\ntwo\n").decode()}
    if path == "/api/graphql":
        return {"data": {"vulnerability": {"id": "gid://gitlab/Vulnerability/7"}}}
    return {"id": 1, "iid": 1, "path_with_namespace": "g/p", "diff_refs": {"head_sha": "h"}}
