"""Flows that a client brings along: agents, questions, fixed steps, and the ways between them."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from isthmus.contract.contract_pb2 import Approval, McpTool, StartWorkflowRequest
from isthmus.core.errors import Conflict, Invalid, LimitExceeded
from isthmus.core.events import SessionEnded
from isthmus.core.identity import Caller
from isthmus.core.messages import ModelChoice, Text, ToolResult
from isthmus.core.workflow import Status, StatusEvent
from isthmus.platform.catalogue import Catalogue, load
from isthmus.platform.host import Parts
from tests.support.framed import FRAME, bare
from tests.support.memory_store import MemoryWorkflows
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import STOCK, Stand, Told, stop

APPROVE = Approval(approval=Approval.Approved())
SHOWN = ["on_agent_final_answer", "on_agent_reasoning", "on_tool_execution_success"]
READ = ("c1", "read_file", '{"file_path":"a"}')

PARTIAL: dict[str, Any] = {
    "version": "v1",
    "environment": "chat-partial",
    "components": [
        {
            "name": "chat",
            "type": "AgentComponent",
            "prompt_id": "chat/agent",
            "toolset": ["read_file", "edit_file", "run_command", "unheard_of"],
        }
    ],
    "prompts": [
        {
            "prompt_id": "my_prompt",
            "name": "mine",
            "unit_primitives": ["duo_chat"],
            "prompt_template": {"system": "You are {{ goal | length }}.", "placeholder": "history"},
        }
    ],
}

PLANNED: dict[str, Any] = {
    "version": "v1",
    "environment": "chat",
    "flow": {"entry_point": "planner"},
    "components": [
        {
            "name": "planner",
            "type": "AgentComponent",
            "prompt_id": "plan",
            "toolset": ["read_file"],
            "inputs": [
                "context:goal",
                {"from": "context:inputs.user_rule", "as": "rule", "optional": True},
            ],
            "ui_log_events": SHOWN,
        },
        {
            "name": "ask",
            "type": "HumanInputComponent",
            "sends_response_to": "planner",
            "interaction_type": "approval",
            "message_template": "Do {{ plan }}?",
            "inputs": [{"from": "context:planner.final_answer", "as": "plan"}],
            "ui_log_events": ["on_user_input_prompt", "on_user_response"],
        },
        {
            "name": "worker",
            "type": "AgentComponent",
            "prompt_id": "work",
            "toolset": [{"read_file": {"file_path": "fixed.txt"}}, "mkdir"],
            "require_tool_approval": True,
            "pre_approved_tools": ["read_file"],
            "inputs": [{"from": "context:planner.final_answer", "as": "plan"}],
            "ui_log_events": SHOWN,
        },
    ],
    "routers": [
        {"from": "planner", "to": "ask"},
        {
            "from": "ask",
            "condition": {
                "input": "context:ask.approval",
                "routes": {"approve": "worker", "modify": "planner", "default_route": "end"},
            },
        },
        {"from": "worker", "to": "end"},
    ],
    "prompts": [
        {
            "prompt_id": "plan",
            "name": "p",
            "prompt_template": {"system": "Plan.", "user": "{{ goal }} {{ rule }}"},
        },
        {"prompt_id": "work", "name": "w", "prompt_template": {"system": "Do {{ plan }}."}},
    ],
}

FIXED: dict[str, Any] = {
    "version": "v1",
    "environment": "ambient",
    "flow": {"entry_point": "look"},
    "components": [
        {
            "name": "look",
            "type": "DeterministicStepComponent",
            "tool_name": "read_file",
            "inputs": [{"from": "a.txt", "as": "file_path", "literal": True}],
            "ui_log_events": ["on_tool_execution_success", "on_tool_execution_failed"],
        },
        {
            "name": "tell",
            "type": "AgentComponent",
            "prompt_id": "tell",
            "toolset": [],
            "inputs": [{"from": "context:look.tool_responses", "as": "text"}, "context:goal"],
        },
    ],
    "routers": [
        {
            "from": "look",
            "condition": {
                "input": "context:look.execution_result",
                "routes": {"success": "tell", "failed": "abort"},
            },
        },
        {"from": "tell", "to": "end"},
    ],
    "prompts": [{"prompt_id": "tell", "prompt_template": {"system": "Tell of {{ text }}."}}],
}


def start(config: dict[str, Any], goal: str = "", **fields: Any) -> StartWorkflowRequest:
    whole: dict[str, Any] = {"flowConfigSchemaVersion": "v1", "workflowDefinition": "chat"} | fields
    return StartWorkflowRequest(
        workflowID="7", goal=goal, flowConfig=ParseDict(config, Struct()), **whole
    )


def spoken(stand: Stand, number: int = -1) -> list[tuple[str, str]]:
    """What a model was sent: role and text of each message."""
    return [
        (message.role, bare("".join(p.text for p in message.parts if isinstance(p, Text))))
        for message in stand.models.prompt(number).messages
    ]


def moves(stand: Stand) -> list[str]:
    assert isinstance(stand.workflows, MemoryWorkflows)
    return [str(move) for move in stand.workflows.moves]


async def once(models: ScriptedModels, *starts: StartWorkflowRequest) -> tuple[Stand, list[Told]]:
    stand = Stand(models)
    async with stand.serving():
        return stand, [await stand.stream(one) for one in starts]


async def test_i7_59_a_persona_with_its_tools_talks_like_the_chat() -> None:
    """The start message of the OpenCode plugin, and its reconnect with an approval."""
    edit = use(("c1", "edit_file", '{"file_path":"a","old_str":"x","new_str":"y"}'))
    models = ScriptedModels(say("Hello."), use(READ), edit, say("Edited."))
    mine = {"category": "os_information", "content": '{"platform":"linux"}', "metadata": "{}"}
    first = start(
        PARTIAL,
        "hello",
        clientVersion="1.0",
        clientCapabilities=["shell_command"],
        preapproved_tools=["read_file", "list_dir"],
        workflowMetadata='{"extended_logging":false}',
        additional_context=[mine],
    )
    second = start(PARTIAL, "edit it", preapproved_tools=["read_file"])
    third = start(PARTIAL, approval=Approval(approval=Approval.Approved()))
    stand, told = await once(models, first, second, third)
    assert [one.error for one in told] == [None, None, None]
    assert [one.statuses[-1] for one in told] == [
        *("INPUT_REQUIRED", "TOOL_CALL_APPROVAL_REQUIRED", "INPUT_REQUIRED")
    ]
    assert spoken(stand, 0)[0] == ("system", "You are 5.")
    offered = {tool.name for tool in stand.models.prompt(0).tools}
    assert offered == {"read_file", "edit_file", "run_command"}
    assert [a.WhichOneof("action") for one in told for a in one.work] == [
        *("runReadFile", "runEditFile")
    ]
    assert told[2].kinds == ["user", "agent", "user", "tool", "tool", "agent"]


async def test_tools_of_the_client_join_a_persona() -> None:
    tool = McpTool(name="srv.find", description="Finds.", inputSchema="{}")
    stand, _ = await once(ScriptedModels(say("x")), start(PARTIAL, "hi", mcpTools=[tool]))
    assert "srv_find" in {tool.name for tool in stand.models.prompt().tools}


async def test_a_planned_flow_asks_works_and_finishes() -> None:
    models = ScriptedModels(
        say("a plan"), say("a better plan"), use(("c1", "read_file", "{}")), say("Done.")
    )
    rule = {"category": "user_rule", "content": "Be brief.", "metadata": "{}"}
    first = start(PLANNED, "build", additional_context=[rule])
    stand, told = await once(
        models, first, start(PLANNED, "make it better"), start(PLANNED, approval=APPROVE)
    )
    assert [one.error for one in told] == [None, None, None]
    assert [one.statuses[-1] for one in told] == [
        *("PLAN_APPROVAL_REQUIRED", "PLAN_APPROVAL_REQUIRED", "FINISHED")
    ]
    assert [one.statuses.count("PLAN_APPROVAL_REQUIRED") for one in told] == [1, 1, 0]
    assert spoken(stand, 0) == [("system", "Plan."), ("user", "build Be brief.")]
    assert spoken(stand, 1)[2:] == [("assistant", "a plan"), ("user", "make it better")]
    assert spoken(stand, 2) == [("system", "Do a better plan."), ("user", "build")]
    question = next(e for e in told[0].log() if e["message_type"] == "request")
    assert (question["content"], question["message_sub_type"]) == ("Do a plan?", "approval")
    assert question["component_name"] == "ask"
    assert [a.runReadFile.filepath for a in told[2].work] == ["fixed.txt"]
    assert told[2].log()[-1]["content"] == "Done."
    assert (await stand.workflows.get("7")).status is Status.FINISHED
    assert moves(stand) == [
        *("start", "require_plan_approval", "resume", "require_plan_approval", "resume", "finish"),
    ]
    assert stand.sink.of(SessionEnded)[-1].outcome == "finished"


async def test_a_rejected_plan_takes_the_default_way() -> None:
    reject = Approval(rejection=Approval.Rejected())
    stand, told = await once(
        ScriptedModels(say("plan")), start(PLANNED, "x"), start(PLANNED, approval=reject)
    )
    assert told[1].statuses[-1] == "FINISHED"
    assert len(stand.models.calls) == 1


async def test_tools_of_a_flow_ask_and_a_goal_is_no_decision() -> None:
    make = use(("c1", "mkdir", '{"directory_path":"d"}'))
    stand, told = await once(
        ScriptedModels(say("plan"), make, say("Done.")),
        start(PLANNED, "x"),
        start(PLANNED, approval=APPROVE, preapproved_tools=["mkdir"]),
        start(PLANNED, "what?"),
        start(PLANNED, approval=APPROVE),
    )
    assert told[1].statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert isinstance(told[2].error, Invalid)
    assert told[2].actions == []
    assert [a.WhichOneof("action") for a in told[3].work] == ["mkdir"]
    assert told[3].statuses[-1] == "FINISHED"
    assert moves(stand)[-1] == "finish"


async def test_a_fixed_step_needs_no_model() -> None:
    stand, (told,) = await once(ScriptedModels(say("It is so.")), start(FIXED, "tell me"))
    assert told.error is None
    assert [a.runReadFile.filepath for a in told.work] == ["a.txt"]
    assert spoken(stand) == [("system", "Tell of done: runReadFile."), ("user", "tell me")]
    head = stand.models.prompt().messages[0].parts[0]
    assert isinstance(head, Text)
    assert FRAME.around("done: runReadFile", "user") in head.text
    first, tool = told.log()
    assert (first["message_type"], first["content"]) == ("tool", "Starting Flow: tell me")
    assert (tool["message_sub_type"], tool["component_name"]) == ("read_file", "look")
    assert told.statuses[-1] == "FINISHED"


async def test_a_fixed_step_that_fails_leads_elsewhere() -> None:
    config = copy.deepcopy(FIXED)
    config["components"][0]["inputs"][0]["from"] = ".env"
    stand, (told,) = await once(ScriptedModels(say("never")), start(config, "tell me"))
    assert stand.models.calls == []
    assert (told.error, told.statuses[-1]) == (None, "FAILED")
    assert told.log()[-1]["status"] == "failure"
    assert moves(stand) == ["start", "drop"]


async def test_a12_61_a_stopped_flow_goes_back_to_its_last_question() -> None:
    config = copy.deepcopy(PLANNED)
    config["components"][1]["interaction_type"] = "input"
    config["routers"][1] = {"from": "ask", "to": "planner"}
    stand = Stand(ScriptedModels(say("one"), use(READ, text="Looking."), say("two"), say("three")))
    async with stand.serving():
        await stand.stream(start(config, "a"))
        stopped = await stand.stream(start(config, "b"), lambda _: stop("enough"))
        told = await stand.stream(start(config, "c"))
        last = await stand.stream(start(config, "d"))
    assert (stopped.error, stopped.statuses[-1], stopped.log()) == (None, "STOPPED", [])
    assert told.error is None
    words = spoken(stand, 2)[-1]
    assert words[0] == "user"
    assert words[1].endswith("user: b\nagent: Looking.\n\nc")
    assert [e["content"] for e in told.log() if e["message_type"] == "user"] == ["a", "c"]
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert spoken(stand, 3)[-1] == ("user", "d")
    assert last.statuses[-1] == "INPUT_REQUIRED"


async def test_a_flow_that_was_stopped_before_any_question_begins_anew() -> None:
    stand = Stand(ScriptedModels(use(READ), say("plan")))
    async with stand.serving():
        await stand.stream(start(PLANNED, "a"), lambda _: stop("enough"))
        told = await stand.stream(start(PLANNED, "b"))
    assert told.error is None
    assert spoken(stand) == [("system", "Plan."), ("user", "b")]
    assert [e["content"] for e in told.log()] == ["b", "plan", "Do plan?"]


async def test_a_flow_that_failed_goes_on_where_it_was() -> None:
    broken = [LimitExceeded("too much", 0.0)]
    stand, told = await once(
        ScriptedModels(say("plan"), broken, say("Done.")),
        start(PLANNED, "a"),
        start(PLANNED, approval=APPROVE),
        start(PLANNED, ""),
    )
    assert [one.statuses[-1] for one in told] == ["PLAN_APPROVAL_REQUIRED", "FAILED", "FINISHED"]
    assert moves(stand)[-2:] == [StatusEvent.RETRY.value, StatusEvent.FINISH.value]


async def test_a_model_that_never_answers_is_told_and_then_stopped() -> None:
    config = copy.deepcopy(FIXED)
    config["components"][1] |= {
        "toolset": ["read_file"],
        "max_cycles": {"threshold": 3, "iteration_warning_offset": 1},
        "max_wrap_up_retries": 1,
    }
    stand, (told,) = await once(ScriptedModels(use(READ)), start(config, "x"))
    assert isinstance(told.error, LimitExceeded)
    assert "stuck" in told.error.detail
    last = [words[-1][1] for words in (spoken(stand, n) for n in range(4))]
    assert ["Few turns" in text for text in last] == [False, True, False, False]
    assert ["No turns" in text for text in last] == [False, False, True, True]


async def test_what_is_not_listed_is_not_shown() -> None:
    config = copy.deepcopy(PLANNED)
    config["components"][0]["ui_log_events"] = ["on_agent_reasoning"]
    config["components"][0]["ui_role_as"] = "tool"
    _, (told,) = await once(
        ScriptedModels(use(READ, text="Looking."), say("plan")), start(config, "x")
    )
    kinds = [(e["message_type"], e["message_sub_type"]) for e in told.log()]
    assert kinds == [("user", None), ("tool", "reasoning"), ("request", "approval")]


async def test_a_component_may_have_a_model_of_its_own() -> None:
    config = copy.deepcopy(PLANNED)
    config["components"][0]["model_tags"] = ["huge", "small"]
    small = ModelChoice("small-1", "scripted", "e", "small")
    models = ScriptedModels(say("plan"), say("Done."), known={"small": small})
    stand, _ = await once(models, start(config, "x"), start(config, approval=APPROVE))
    assert [choice.id for _, choice, _ in stand.models.calls] == ["small-1", "scripted-1"]


ENVELOPE: dict[str, Any] = copy.deepcopy(FIXED)
ENVELOPE["flow"]["inputs"] = [
    {
        "category": "pipeline",
        "input_schema": {
            "source_branch": {"type": "string"},
            "n": {"type": "integer", "optional": True},
        },
    }
]
ENVELOPE["components"][0]["inputs"] = [
    {"from": "context:inputs.pipeline.source_branch", "as": "file_path"}
]


def attached(content: object, version: str = "1.2.0") -> dict[str, str]:
    said = content if isinstance(content, str) else json.dumps(content)
    return {
        "category": "pipeline",
        "content": said,
        "metadata": json.dumps({"version": version}),
    }


async def test_declared_inputs_reach_the_flow() -> None:
    both = [attached({"source_branch": "old"}, "1.0.0"), attached({"source_branch": "new"})]
    _, (told,) = await once(ScriptedModels(say("x")), start(ENVELOPE, "g", additional_context=both))
    assert [a.runReadFile.filepath for a in told.work] == ["new"]


@pytest.mark.parametrize(
    ("context", "kind", "text"),
    [
        (attached({"source_branch": "b"}, "2.0.0"), Conflict, "2.0.0 does not satisfy"),
        (attached("no"), Invalid, "not JSON"),
        (attached([]), Invalid, "an object"),
        (attached({}), Invalid, "source_branch is missing"),
        (attached({"source_branch": 1}), Invalid, "source_branch is not of type string"),
        (attached({"source_branch": "b", "n": True}), Invalid, "n is not of type integer"),
        (attached({"source_branch": "b"}, "new"), Invalid, "not a version"),
    ],
)
async def test_a12_65_inputs_that_do_not_fit(
    context: dict[str, str], kind: type[Exception], text: str
) -> None:
    stand, (told,) = await once(
        ScriptedModels(say("x")), start(ENVELOPE, "g", additional_context=[context])
    )
    assert isinstance(told.error, kind)
    assert text in str(told.error)
    assert (await stand.workflows.get("7")).status is Status.CREATED


async def test_an_input_that_is_not_there_fails_the_flow() -> None:
    _, (told,) = await once(ScriptedModels(say("x")), start(ENVELOPE, "g"))
    assert isinstance(told.error, Invalid)
    assert "context:inputs.pipeline.source_branch" in told.error.detail
    assert told.statuses[-1] == "FAILED"


async def test_a12_63_a_flow_does_not_fork() -> None:
    _, (told,) = await once(
        ScriptedModels(say("x")), start(PLANNED, "g", resume_checkpoint_ts="0" * 36)
    )
    assert isinstance(told.error, Invalid)
    assert "resume_checkpoint_ts" in told.error.detail


async def test_what_is_not_run_never_starts_a_session() -> None:
    config = copy.deepcopy(PARTIAL)
    config["components"][0]["response_schema_id"] = "verdict"
    fields = {"properties": {"ok": {"type": "boolean"}}, "type": "object"}
    config["response_schemas"] = [{"schema_id": "verdict", "definition": fields}]
    stand, (told,) = await once(ScriptedModels(say("never")), start(config, "x"))
    assert isinstance(told.error, Invalid)
    assert "a conversation has no such answer" in told.error.detail
    assert (stand.models.calls, moves(stand)) == ([], [])


REMINDED = """
version: v1
environment: ambient
flow: {entry_point: worker}
components:
  - name: worker
    type: AgentComponent
    prompt_id: work
    toolset: [read_file]
    inputs: ["context:goal", "context:current_date"]
routers: [{from: worker, to: end}]
prompts:
  - prompt_id: work
    prompt_template:
      system: Work.
      placeholder: history
      user: "Today is {{ current_date }}; the goal is {{ goal }}."
"""


@pytest.fixture
def reminded(tmp_path: Path) -> Catalogue:
    """A server's flows: one whose prompt goes on behind the history."""
    (tmp_path / "reminded").mkdir()
    (tmp_path / "reminded" / "1.0.0.yml").write_text(REMINDED, encoding="utf-8")
    return load(tmp_path, STOCK)


async def test_messages_behind_the_history_stay_behind_it(reminded: Catalogue) -> None:
    class Own(Stand):
        """With these flows."""

        def _parts(self) -> Parts:
            return replace(super()._parts(), flows=reminded)

    stand = Own(ScriptedModels(use(READ), say("Done.")))
    asked = StartWorkflowRequest(
        workflowID="7",
        goal="to rest",
        flowConfigId="reminded",
        flowConfigSchemaVersion="v1",
        flowVersion="1.0.0",
    )
    caller = Caller("user-1", scopes=frozenset({"duo_agent_platform"}))
    async with stand.serving():
        told = await stand.stream(asked, caller=caller)
    assert told.error is None
    tail = f"Today is {stand.clock.utc().date()}; the goal is to rest."
    assert spoken(stand, 0) == [("system", "Work."), ("user", tail)]
    assert [role for role, _ in spoken(stand, 1)] == ["system", "assistant", "user"]
    *_, result, last = stand.models.prompt(1).messages[-1].parts
    assert isinstance(result, ToolResult)
    assert last == Text(tail)
