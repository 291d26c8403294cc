"""One turn of a model that has to call tools. Agent-platform contract, 7.3."""

from typing import Any

import pytest

from isthmus.core.messages import ToolResult
from tests.contract.sessions.test_flows import once, start
from tests.support.framed import FRAME
from tests.support.scripted_models import Line, ScriptedModels, say, use
from tests.support.session_client import Stand, Told

READ = ("c1", "read_file", '{"file_path":"a"}')
WRONG = ("c0", "read_file", "{}")
SHOWN = ["on_tool_call_input", "on_tool_execution_success", "on_tool_execution_failed"]
CONFIG: dict[str, Any] = {
    "version": "v1",
    "environment": "ambient",
    "flow": {"entry_point": "once"},
    "components": [
        {
            "name": "once",
            "type": "OneOffComponent",
            "prompt_id": "once",
            "toolset": ["read_file"],
            "max_correction_attempts": 2,
            "ui_log_events": SHOWN,
        },
        {
            "name": "tell",
            "type": "AgentComponent",
            "prompt_id": "tell",
            "toolset": [],
            "inputs": [
                {"from": "context:once.tool_responses", "as": "texts"},
                {"from": "context:once.tool_calls", "as": "calls"},
                {"from": "context:once.execution_result", "as": "outcome"},
            ],
        },
    ],
    "routers": [
        {
            "from": "once",
            "condition": {
                "input": "context:once.execution_result",
                "routes": {"success": "tell", "failed": "abort"},
            },
        },
        {"from": "tell", "to": "end"},
    ],
    "prompts": [
        {"prompt_id": "once", "prompt_template": {"user": "Read {{ goal }}."}},
        {
            "prompt_id": "tell",
            "prompt_template": {
                "user": "{{ outcome }} {{ calls[0].args.file_path }} {{ texts[0] }}"
            },
        },
    ],
}


async def ran(*lines: Line) -> tuple[Stand, Told]:
    stand, (told,) = await once(ScriptedModels(*lines), start(CONFIG, "a"))
    return stand, told


async def test_calls_that_succeed_end_it() -> None:
    stand, told = await ran(use(READ), say("Told."))
    assert told.error is None
    assert told.statuses[-1] == "FINISHED"
    assert len(stand.models.calls) == 2
    sent = str(stand.models.prompt().messages[-1].parts[0])
    framed = FRAME.around("done: runReadFile", "user").replace("\n", "\\n")
    assert f"success a {framed}" in sent
    assert [a.runReadFile.filepath for a in told.work] == ["a"]


async def test_a_call_is_shown_before_its_result_takes_the_place() -> None:
    _, told = await ran(use(READ), say("Told."))
    cards = [
        entry["status"]
        for number in range(len(told.notices))
        for entry in told.log(number)
        if entry["message_sub_type"] == "read_file"
    ]
    assert cards[0] == "pending"
    assert set(cards[1:]) >= {"success"}
    assert [e["status"] for e in told.log() if e["message_sub_type"] == "read_file"] == ["success"]


async def test_a_failed_call_is_corrected() -> None:
    stand, told = await ran(use(WRONG), use(READ), say("Told."))
    assert told.error is None
    parts = stand.models.prompt(1).messages[-1].parts
    assert [part.failed for part in parts if isinstance(part, ToolResult)] == [True]
    assert told.statuses[-1] == "FINISHED"


async def test_an_answer_without_a_call_is_a_failed_attempt() -> None:
    stand, told = await ran(say("I would read it."), use(READ), say("Told."))
    assert told.error is None
    assert "Nothing was called" in str(stand.models.prompt(1).messages[-1])
    assert told.statuses[-1] == "FINISHED"


@pytest.mark.parametrize("line", [use(WRONG), say("No.")])
async def test_after_the_last_correction_the_flow_takes_the_other_way(line: Line) -> None:
    stand, told = await ran(line)
    assert told.error is None
    assert told.statuses[-1] == "FAILED"
    assert len(stand.models.calls) == 3
