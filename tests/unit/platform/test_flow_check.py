"""Configurations of flows: what is at fault is named, and nothing is ignored silently."""

import copy
from typing import Any

import pytest

from isthmus.contract.contract_pb2 import StartWorkflowRequest
from isthmus.core.errors import Invalid
from isthmus.core.identity import ClientInfo
from isthmus.platform import flow_check
from isthmus.platform.address import parse as address
from isthmus.platform.catalogue import MAX_CONFIG_BYTES, MAX_INLINE, Catalogue, select
from isthmus.platform.flow import Agent, Cycles, Flow
from isthmus.platform.flow_prompt import UNSAFE
from isthmus.platform.flow_stock import Stock
from isthmus.platform.toolbox import all_tools

GOOD: dict[str, Any] = {
    "version": "v1",
    "environment": "chat",
    "flow": {"entry_point": "a"},
    "components": [
        {"name": "a", "type": "AgentComponent", "prompt_id": "p", "toolset": ["read_file"]},
        {
            "name": "q",
            "type": "HumanInputComponent",
            "sends_response_to": "a",
            "ui_log_events": ["on_user_response"],
        },
        {
            "name": "s",
            "type": "DeterministicStepComponent",
            "tool_name": "list_dir",
            "inputs": [{"from": ".", "as": "directory", "literal": True}],
        },
    ],
    "routers": [{"from": "a", "to": "q"}, {"from": "q", "to": "s"}, {"from": "s", "to": "end"}],
    "prompts": [{"prompt_id": "p", "prompt_template": {"system": "S {{ goal }}"}}],
    "owner": "ignored",
}


STOCK = Stock(all_tools())
OLD = ClientInfo()
NEW = ClientInfo({"x-gitlab-language-server-version": "8.51.0"})


def flow_of(value: object) -> Flow:
    return flow_check.flow_of(value, stock=STOCK)


def agent(**fields: Any) -> dict[str, Any]:
    return changed(["components", 0], GOOD["components"][0] | fields)


def changed(path: list[str | int], value: Any) -> dict[str, Any]:
    config: Any = copy.deepcopy(GOOD)
    at = config
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return config


def system(text: str) -> dict[str, Any]:
    return changed(["prompts", 0, "prompt_template", "system"], text)


def test_a_good_one_is_read() -> None:
    flow = flow_of(GOOD)
    assert [part.name for part in flow.components] == ["a", "q", "s"]
    assert flow.feature == "duo_agent_platform_agentic_chat"
    assert flow.agent.prompt.unit_primitive == "duo_agent_platform"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ([], "Expected `object`"),
        ({}, "version"),
        (changed(["version"], "v2"), "$.version"),
        (changed(["environment"], "space"), "$.environment"),
        (changed(["components"], []), "$.components"),
        (changed(["components", 0, "type"], "Magic"), "$.components[0].type"),
        (agent(unheard_of=1), "unheard_of"),
        (agent(subagents=[{"name": "q"}]), "components[0]: subagents: there is no agent 'q'"),
        (agent(subagents=[]), "$.components[0].subagents"),
        (agent(subagents=[{"name": "a"}]), "components[0]: subagents: 'a' is there twice"),
        (agent(max_delegations=2), "components[0]: subagents: it is missing"),
        (agent(ui_log_events=["on_delegation"]), "'on_delegation' is a supervisor's"),
        (agent(enable_web_search=True), "only the experimental schema"),
        (agent(response_schema_id="x"), "there is no inline schema 'x'"),
        (agent(response_schema_id="x", response_schema_version="^1"), "in a version '^1'"),
        (agent(response_schema_version="1.0.0"), "response_schema_id: it is missing"),
        (agent(response_schema_tracking=True), "response_schema_id: it is missing"),
        (agent(prompt_version="^1.0.0"), "prompt_id: Failed to load prompt definition for 'p'"),
        (agent(toolset=[{"read_file": {"way": 1}}]), "'read_file' has no parameter 'way'"),
        (agent(prompt_id="other"), "there is no inline prompt 'other'"),
        (agent(toolset=["x", {"a": {}, "b": {}}]), "exactly one tool"),
        (agent(toolset="read_file"), "$.components[0].toolset"),
        (agent(toolset=["t"] * 501), "$.components[0].toolset"),
        (agent(name="end"), "'end' is taken"),
        (agent(name="q"), "'q' is taken"),
        (agent(inputs=["context"]), "'goal' is used by a template and not given"),
        (agent(inputs=["nowhere:goal"]), "begins with none of"),
        (agent(inputs=["status:x"]), "no path"),
        (agent(inputs=["context:a..b"]), "no path"),
        (agent(inputs=["context:" + ".".join("abcdefghijkl")]), "no path"),
        (agent(inputs=["conversation_history"]), "needs a component"),
        (agent(inputs=[{"from": "x", "literal": True}]), "needs `as`"),
        (agent(max_cycles={"threshold": 5, "iteration_warning_offset": 5}), "below threshold"),
        (agent(max_cycles={"threshold": 5, "other": 5}), "max_cycles"),
        (agent(max_cycles=0), "$.components[0].max_cycles"),
        (agent(ui_log_events=["on_everything"]), "ui_log_events"),
        (changed(["components", 1, "sends_response_to"], "s"), "no agent 's'"),
        (changed(["components", 1, "message_template"], "{{ x }}"), "'x' is used"),
        (changed(["components", 2, "toolset"], ["read_file"]), "does not hold 'list_dir'"),
        (changed(["routers", 0], {"from": "b", "to": "q"}), "'b' is no component"),
        (changed(["routers", 1], {"from": "a", "to": "q"}), "routers[1]: from"),
        (changed(["routers", 0], {"from": "a", "to": "b"}), "no component 'b'"),
        (changed(["routers", 0], {"from": "a"}), "either to or condition"),
        (changed(["routers"], GOOD["routers"][:2]), "none leads on from 's'"),
        (
            changed(
                ["routers", 0],
                {"from": "a", "condition": {"input": "ui_chat_log", "routes": {"x": "q"}}},
            ),
            "only context and status",
        ),
        (changed(["flow", "entry_point"], "b"), "flow.entry_point"),
        (changed(["response_schemas"], [{}]), "$.response_schemas[0]"),
        (changed(["components", 1, "ui_log_events"], []), "'on_user_response' must be among"),
        (
            changed(["components", 2, "tool_name"], "x"),
            "components[2]: tool_name: there is no tool",
        ),
        (changed(["components", 2, "inputs"], []), "needs the parameter 'directory'"),
        (
            changed(["components", 2, "inputs"], ["context:goal"]),
            "'list_dir' has no parameter 'goal'",
        ),
        (system("{% for x in goal %}"), "prompt_template.system"),
        (system("{{ goal.__class__() }}{{ other }}"), "'other' is used"),
        (system("{% include 'x' %}{{ goal }}"), "no fragment"),
        (system("x" * 400_001), "too long"),
        (changed(["prompts", 0, "extra"], 1), "extra"),
        (changed(["deep"], __import__("json").loads("[" * 60 + "]" * 60)), "too deeply"),
    ],
)
def test_faults_are_named(config: Any, text: str) -> None:
    with pytest.raises(Invalid) as failure:
        flow_of(config)
    assert text in failure.value.detail
    assert len(failure.value.detail) < 1000


@pytest.mark.parametrize(
    "hidden",
    ["\U000e0041", "<!-- x -->", "</system>", "< GOAL >", "<kept_output>", "a\n[//]: # (hidden)"],
)
def test_a12_24_prompts_that_hide_something_are_refused(hidden: str) -> None:
    config = changed(["prompts", 0, "prompt_template", "user"], ["{{ goal }}", f"x {hidden}"])
    start = StartWorkflowRequest(workflowID="7", flowConfigSchemaVersion="v1")
    start.flowConfig.update(config)
    with pytest.raises(Invalid) as failure:
        Catalogue({}, STOCK).resolve(select(start), start, OLD)
    assert failure.value.detail == UNSAFE


def test_numbers_of_the_wire_are_whole_again() -> None:
    flow = flow_of(
        agent(
            max_cycles=12.0,
            toolset=["read_file", {"read_file": {"offset": 3.0}}],
            model_size_preference="small",
        )
    )
    (first, *_) = flow.components
    assert isinstance(first, Agent)
    assert (first.cycles, first.fixed) == (Cycles(12, 2, 3), {"read_file": {"offset": 3}})
    assert (first.toolset, first.tags) == (("read_file",), ("small",))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"components": GOOD["components"]}, "exactly one AgentComponent"),
        ({"components": GOOD["components"][2:]}, "exactly one AgentComponent"),
        ({"prompts": [*GOOD["prompts"], GOOD["prompts"][0] | {"prompt_id": "r"}]}, "at most one"),
        ({"prompts": []}, "there is no inline prompt"),
    ],
)
def test_a_persona_is_one_agent_with_one_prompt(change: dict[str, Any], text: str) -> None:
    alone: list[Any] = GOOD["components"][:1]
    persona: dict[str, Any] = {**GOOD, "environment": "chat-partial", "components": alone}
    unrouted: dict[str, Any] = {**persona, "routers": []}
    assert flow_of(unrouted).talks
    with pytest.raises(Invalid, match=text):
        flow_of(persona | change)


def inline(config: dict[str, Any], **fields: Any) -> StartWorkflowRequest:
    start = StartWorkflowRequest(workflowID="7", **fields)
    start.flowConfig.update(config)
    return start


def test_the_same_configuration_is_checked_once() -> None:
    catalogue = Catalogue({}, STOCK)
    first = catalogue.resolve(select(inline(GOOD)), inline(GOOD), OLD)
    assert catalogue.resolve(select(inline(GOOD)), inline(GOOD), OLD) is first
    for number in range(MAX_INLINE):
        other = inline(system(f"{number} {{{{ goal }}}}"))
        catalogue.resolve(select(other), other, OLD)
    again = catalogue.resolve(select(inline(GOOD)), inline(GOOD), OLD)
    assert again is not first
    assert again.key == first.key


def test_a_configuration_is_bounded() -> None:
    large = inline(GOOD | {"note": "x" * MAX_CONFIG_BYTES})
    with pytest.raises(Invalid, match="larger than"):
        Catalogue({}, STOCK).resolve(select(large), large, OLD)


def test_values_of_a_state_by_their_address() -> None:
    state = {"status": "x", "context": {"a": {"b": 1, "c": None}}}
    assert address("context:a.b").read(state) == 1
    assert address("context:a.c").read(state) is None
    assert address("status").read(state) == "x"
    with pytest.raises(Invalid, match=r"context:a\.b\.c"):
        address("context:a.b.c").read(state)


@pytest.mark.parametrize(("schema", "fits"), [("v1", True), ("experimental", False), ("", False)])
def test_a_new_editor_names_the_schema_that_it_sends(schema: str, *, fits: bool) -> None:
    start = inline(GOOD, flowConfigSchemaVersion=schema)
    assert Catalogue({}, STOCK).resolve(select(start), start, OLD).entry == "a"
    if fits:
        assert Catalogue({}, STOCK).resolve(select(start), start, NEW).entry == "a"
        return
    with pytest.raises(Invalid, match="flowConfigSchemaVersion"):
        Catalogue({}, STOCK).resolve(select(start), start, NEW)
