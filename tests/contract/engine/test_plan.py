"""The plan of a session: its tools change the state, and clients see it."""

import json

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from isthmus.contract.contract_pb2 import StartWorkflowRequest
from isthmus.core.identity import Caller
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import Stand

CALLER = Caller("user-1", scopes=frozenset({"duo_workflow_execute_workflow"}))
FLOW = {
    "version": "v1",
    "environment": "ambient",
    "components": [
        {
            "name": "planner",
            "type": "AgentComponent",
            "prompt_id": "p",
            "toolset": ["create_plan", "set_task_status", "remove_task"],
            "ui_log_events": ["on_tool_execution_success", "on_tool_execution_failed"],
        }
    ],
    "routers": [{"from": "planner", "to": "end"}],
    "flow": {"entry_point": "planner"},
    "prompts": [{"prompt_id": "p", "prompt_template": {"user": "{{ goal }}"}}],
}


async def test_tools_of_the_plan_change_what_clients_see() -> None:
    done = '{"task_id":"task-1","status":"Completed","description":"one"}'
    models = ScriptedModels(
        use(("c1", "create_plan", '{"tasks":["one","two"]}')),
        use(
            ("c2", "set_task_status", done),
            ("c3", "remove_task", '{"task_id":"task-9","description":"x"}'),
        ),
        say("Planned."),
    )
    stand = Stand(models)
    start = StartWorkflowRequest(workflowID="7", goal="g", flowConfig=ParseDict(FLOW, Struct()))
    async with stand.serving():
        told = await stand.stream(start, caller=CALLER, headers={"x-gitlab-version": "18.7.0"})
    assert told.error is None
    assert told.work == []
    last = json.loads(told.notices[-1].checkpoint)["channel_values"]
    assert last["plan"] == {
        "steps": [
            {"id": "task-1", "description": "one", "status": "Completed"},
            {"id": "task-2", "description": "two", "status": "Not Started"},
        ]
    }
    assert [entry["status"] for entry in told.log() if entry["message_type"] == "tool"][-2:] == [
        "success",
        "failure",
    ]
