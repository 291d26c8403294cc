"""Every flow that comes with the server runs to its end, with a willing model and an instance."""

import json
from base64 import b64encode
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    AdditionalContext,
    Approval,
    HttpResponse,
    StartWorkflowRequest,
)
from isthmus.core.identity import Caller
from isthmus.core.messages import (
    Chat,
    Delta,
    ModelChoice,
    ToolResult,
    ToolSpec,
    ToolUse,
)
from isthmus.core.workflow import NewWorkflow, Terms
from isthmus.platform.catalogue import Entry
from isthmus.platform.flow import FixedStep
from isthmus.routing.ask import Ask
from tests.support.scripted_models import ScriptedModels, say
from tests.support.session_client import FLOWS, TOOLS, Stand, answer

CALLER = Caller("user-1", scopes=frozenset({"duo_chat", "duo_agent_platform"}))
PROJECT = "https://gitlab.example.com/g/p"
GOALS = {
    "fix_pipeline": f"{PROJECT}/-/pipelines/5",
    "convert_to_gl_ci": "Jenkinsfile",
    "sast_fp_detection": "7",
    "secrets_fp_detection": "7",
    "resolve_sast_vulnerability": "7",
}
APPROVE = Approval(approval=Approval.Approved())
TURNS = 6


def sample(schema: Any, name: str = "") -> Any:
    """A value that fits a JSON Schema, and leads on where there is a choice."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    choices = [schema["const"]] if "const" in schema else schema.get("enum", ())
    if choices:
        return next((wished for wished in ONWARD if wished in choices), choices[0])
    match schema.get("type"):
        case "object":
            needed = schema.get("required") or ()
            return {key: sample(schema["properties"][key], key) for key in needed}
        case "array":
            return [sample(schema["items"], name)] * max(1, schema.get("minItems", 1))
        case kind:
            simple = {"integer": 1, "number": 1, "boolean": True}
            return simple.get(str(kind), TEXTS.get(name, "text"))


ONWARD = ("create_plan", "new_merge_request", "proceed", "ready", "success")
TEXTS = {
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


class Willing(ScriptedModels):
    """Calls each tool that it is offered once, with the arguments that are needed, and ends."""

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
            ToolUse(f"c{number}-{place}", tool.name, json.dumps(sample(tool.schema)))
            for place, tool in enumerate(tools)
        ]
        return [*(Delta(tool_use=one) for one in made), Delta(finish="tool_use")]


def instance(action: Action) -> Any:
    """Answers of an instance that has everything; other actions are done."""
    if action.WhichOneof("action") != "runHTTPRequest":
        return answer(action)
    path = action.runHTTPRequest.path.partition("?")[0]
    listed = ("/diffs", "/notes", "/discussions", "/jobs", "/bridges", "/tree", "/commits")
    body: Any = {"id": 1, "iid": 1, "path_with_namespace": "g/p", "diff_refs": {"head_sha": "h"}}
    if path.endswith(listed) and action.runHTTPRequest.method == "GET":
        body = []
    elif "/repository/files/" in path:
        body = {"content": b64encode(b"one\ntwo\n").decode()}
    elif path == "/api/graphql":
        body = {"data": {"vulnerability": {"id": "gid://gitlab/Vulnerability/7"}}}
    http = HttpResponse(statusCode=200, body=json.dumps(body))
    return ActionResponse(requestID=action.requestID, httpResponse=http)


def contexts(entry: Entry) -> list[AdditionalContext]:
    """What an instance attaches, as far as the flow asks for it."""
    found: list[AdditionalContext] = []
    for one in entry.flow.wanted:
        values = {name: sample({"type": kind}, name) for name, kind in one.fields.items()}
        values |= {"url": f"{PROJECT}/-/merge_requests/1"} if "url" in values else {}
        values |= {"event_type": "label"} if "event_type" in values else {}
        found.append(AdditionalContext(category=one.category, content=json.dumps(values)))
    return found


@pytest.mark.parametrize(
    "entry", FLOWS.entries, ids=lambda entry: f"{entry.name}-{entry.schema}-{entry.version}"
)
async def test_a_flow_runs_to_its_end(entry: Entry) -> None:
    stand = Stand(Willing(say("Done.")))
    terms = Terms(privileges=(1, 2, 3, 4, 5, 6, 7))
    goal = GOALS.get(entry.name, "Do it.")
    new = NewWorkflow(entry.name, goal, "user-1", "7", project_id=1, terms=terms)
    await stand.workflows.create(new)
    headers = {"x-gitlab-version": "19.0.0", "x-gitlab-host-name": "gitlab.example.com"}
    statuses: list[str] = []
    log: list[dict[str, Any]] = []
    async with stand.serving():
        for turn in range(TURNS):
            start = StartWorkflowRequest(
                workflowID="7",
                flowConfigId=entry.name,
                flowConfigSchemaVersion=entry.schema,
                flowVersion=entry.version,
                goal="" if turn else goal,
                approval=APPROVE if turn else None,
                additional_context=contexts(entry),
                clientCapabilities=["schedule_notification"],
            )
            told = await stand.stream(start, instance, caller=CALLER, headers=headers)
            assert told.error is None, told.log()[-1:]
            statuses.append(told.statuses[-1])
            log = told.log()
            if statuses[-1] in ("FINISHED", "INPUT_REQUIRED"):
                break
    works_alone = entry.flow.environment == "ambient" or entry.name == "software_development"
    assert statuses[-1] == ("FINISHED" if works_alone else "INPUT_REQUIRED")
    steps = {part.name for part in entry.flow.components if isinstance(part, FixedStep)}
    failed = [
        one["component_name"]
        for one in log
        if one["status"] == "failure" and one["component_name"] in steps
    ]
    assert failed == []
