"""Agents whose answer has a schema. Agent-platform contract, 7.3."""

from typing import Any

import pytest

from isthmus.core.errors import LimitExceeded
from isthmus.core.messages import ToolResult
from tests.contract.sessions.test_flows import once, start
from tests.support.scripted_models import Line, ScriptedModels, say, use
from tests.support.session_client import Stand, Told

FITS = ("c1", "verdict", '{"ok":true}')
READ = ("c2", "read_file", '{"file_path":"a"}')
CONFIG: dict[str, Any] = {
    "version": "v1",
    "environment": "ambient",
    "flow": {"entry_point": "judge"},
    "components": [
        {
            "name": "judge",
            "type": "AgentComponent",
            "prompt_id": "judge",
            "toolset": ["read_file"],
            "inputs": ["context:goal"],
            "response_schema_id": "verdict",
            "max_cycles": {"threshold": 3, "iteration_warning_offset": 1},
            "max_wrap_up_retries": 1,
            "ui_log_events": ["on_agent_final_answer", "on_agent_reasoning"],
        },
        {
            "name": "tell",
            "type": "AgentComponent",
            "prompt_id": "tell",
            "toolset": [],
            "inputs": [{"from": "context:judge.final_answer.why", "as": "why"}],
        },
    ],
    "routers": [
        {
            "from": "judge",
            "condition": {
                "input": "context:judge.final_answer.ok",
                "routes": {"True": "tell", "default_route": "abort"},
            },
        },
        {"from": "tell", "to": "end"},
    ],
    "prompts": [
        {"prompt_id": "judge", "prompt_template": {"user": "Judge {{ goal }}."}},
        {"prompt_id": "tell", "prompt_template": {"user": "Because of {{ why }}."}},
    ],
    "response_schemas": [
        {
            "schema_id": "verdict",
            "definition": {
                "type": "object",
                "properties": {"ok": {"type": "boolean"}, "why": {"type": "string"}},
                "required": ["ok"],
            },
        }
    ],
}


async def judged(*lines: Line) -> tuple[Stand, Told]:
    stand, (told,) = await once(ScriptedModels(*lines), start(CONFIG, "it"))
    return stand, told


def results(stand: Stand, number: int) -> list[ToolResult]:
    messages = stand.models.prompt(number).messages
    return [part for one in messages for part in one.parts if isinstance(part, ToolResult)]


async def test_the_answer_is_given_by_a_tool_and_routes_by_its_fields() -> None:
    stand, told = await judged(use(READ), use(FITS, text="Clear."), say("Told."))
    assert told.error is None
    assert told.statuses[-1] == "FINISHED"
    assert stand.models.prompt(0).calls
    offered = [tool.name for tool in stand.models.prompt(0).tools]
    assert offered == ["read_file", "verdict"]
    assert [a.WhichOneof("action") for a in told.work] == ["runReadFile"]
    kept = [entry["content"] for entry in told.log()]
    assert kept[1:3] == ["Clear.", '{"ok":true,"why":null}']
    assert "Because of ." in str(stand.models.prompt().messages)


async def test_another_answer_leads_elsewhere() -> None:
    _, told = await judged(use(("c1", "verdict", '{"ok":false}')))
    assert told.statuses[-1] == "FAILED"


@pytest.mark.parametrize(
    ("wrong", "texts"),
    [
        (use(("c0", "verdict", '{"ok":1}')), ["$.ok: it must be of type boolean"]),
        (use(("c0", "verdict", "{}")), ["$.ok: it is missing"]),
        (use(("c0", "verdict", "[")), ["The arguments are not a JSON object."]),
        (use(("c0", "verdict", '{"ok":true}'), READ), ["must be the only call"] * 2),
    ],
)
async def test_an_answer_that_does_not_fit_is_given_again(wrong: Line, texts: list[str]) -> None:
    stand, told = await judged(wrong, use(FITS), say("Told."))
    assert told.error is None
    assert told.work == []
    found = results(stand, 1)
    assert len(found) == len(texts)
    assert all(one.failed and text in one.text for one, text in zip(found, texts, strict=True))


async def test_a_text_is_no_answer() -> None:
    stand, told = await judged(say("It is fine."), use(FITS), say("Told."))
    assert told.error is None
    assert "calling its tool" in str(stand.models.prompt(1).messages[-1])


@pytest.mark.parametrize("line", [say("It is fine."), use(("c0", "verdict", "{}"))])
async def test_a_model_that_gives_no_such_answer_is_stopped(line: Line) -> None:
    stand, told = await judged(line)
    assert isinstance(told.error, LimitExceeded)
    assert "stuck" in told.error.detail
    assert len(stand.models.calls) == 4
    assert "tool of the final answer" in str(stand.models.prompt().messages[-1])
