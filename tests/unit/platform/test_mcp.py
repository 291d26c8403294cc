"""Tools that a client brings."""

import json
from typing import Any

import pytest

from isthmus.contract.contract_pb2 import Action, ActionResponse, McpTool, PlainTextResponse
from isthmus.core.errors import Invalid
from isthmus.platform import calls
from isthmus.platform.engine.components.model_step import spec
from isthmus.platform.mcp import MAX_TOOLS, WARNING, tools_of
from isthmus.platform.policy import Allow, Ask, Policy
from tests.support.instance import Machine as Stand

SCHEMA = '{"type":"object","properties":{"q":{"type":"string"}},"required":["q"]}'


class Machine(Stand):
    def __init__(self) -> None:
        self.asked: list[Action] = []

    async def ask(self, action: Action) -> ActionResponse:
        self.asked.append(action)
        return ActionResponse(plainTextResponse=PlainTextResponse(response="found"))

    def has(self, capability: str) -> bool:
        return not capability


def mcp(name: str = "search", **fields: Any) -> McpTool:
    whole: dict[str, Any] = {"description": "Finds.", "inputSchema": SCHEMA} | fields
    return McpTool(name=name, **whole)


async def test_a12_44_models_see_a_clean_name_and_the_client_gets_its_own() -> None:
    tools = tools_of([mcp("my.server/tool")])
    assert list(tools) == ["my_server_tool"]
    machine = Machine()
    assert await tools["my_server_tool"].run({"q": "x"}, machine) == "found"
    sent = machine.asked[0].runMCPTool
    assert (sent.name, json.loads(sent.args)) == ("my.server/tool", {"q": "x"})


@pytest.mark.parametrize(
    ("name", "seen"),
    [("-a_", "a"), ("ü.b", "b"), ("x" * 300, "x" * 128), ("__a b__", "a_b")],
)
def test_names(name: str, seen: str) -> None:
    assert list(tools_of([mcp(name)])) == [seen]


@pytest.mark.parametrize("name", ["", "--", "..", "ü"])
def test_a_name_of_nothing_is_invalid(name: str) -> None:
    with pytest.raises(Invalid, match=r"mcpTools\[0\]"):
        tools_of([mcp(name)])


def test_of_several_with_one_name_the_last_wins() -> None:
    tools = tools_of([mcp("a.b", trusted=True), mcp("a_b", description="Last.", trusted=True)])
    assert (tools["a_b"].original, tools["a_b"].description) == ("a_b", "Last.")


def test_tools_nobody_vouches_for_carry_a_warning() -> None:
    assert tools_of([mcp()])["search"].description == f"{WARNING}\nFinds."
    assert tools_of([mcp(trusted=True)])["search"].description == "Finds."
    assert len(tools_of([mcp(description="x" * 100_000)])["search"].description) < 9_000


@pytest.mark.parametrize(
    "schema",
    [
        *("", "no", "[]", "[" * 100_000, '{"type":"string"}'),
        json.dumps({"x": "y" * 70_000}),
        '{"a":' * 40 + "1" + "}" * 40,
    ],
)
def test_a_schema_that_cannot_be_used_lets_anything_pass(schema: str) -> None:
    shown = spec(tools_of([mcp(inputSchema=schema)])["search"])
    assert shown.schema == {"type": "object", "properties": {}}


def test_each_tool_has_its_own_schema() -> None:
    tools = tools_of([mcp("a"), mcp("b", inputSchema="")])
    assert spec(tools["a"]).schema == json.loads(SCHEMA)
    assert spec(tools["b"]).schema == {"type": "object", "properties": {}}


def test_there_may_be_many_but_not_any_number() -> None:
    tools_of([mcp(f"t{n}") for n in range(MAX_TOOLS)])
    with pytest.raises(Invalid):
        tools_of([mcp(f"t{n}") for n in range(MAX_TOOLS + 1)])


def test_they_ask_like_others() -> None:
    tools = tools_of([mcp()])
    use = calls.stored_use("c", "search", '{"q":"x"}')
    assert calls.read(use, tools, Policy()).verdict == Ask()
    assert calls.read(use, tools, Policy(frozenset({"search"}))).verdict == Allow()
