"""Flows are listed, and configurations checked, over the wire. Agent-platform contract, 4.10."""

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct

from isthmus.contract.contract_pb2 import (
    ListFlowsRequest,
    ListFlowsRequestFilter,
    ValidateFlowConfigRequest,
)
from isthmus.platform.toolbox import published
from tests.contract.grpc.platform_stand import ScriptedHost, metadata, standing
from tests.support.session_client import FLOWS, TOOLS

KEYS = {"flow_identifier", "flow_version", "version", "environment", "config"}
GOOD: dict[str, Any] = {
    "version": "v1",
    "environment": "ambient",
    "flow": {"entry_point": "a"},
    "components": [
        {
            "name": "a",
            "type": "AgentComponent",
            "prompt_id": "p",
            "toolset": ["read_file"],
            "inputs": ["context:goal"],
        }
    ],
    "routers": [{"from": "a", "to": "end"}],
    "prompts": [{"prompt_id": "p", "prompt_template": {"user": "{{ goal }}"}}],
}
UNUSED = ["context:goal", "context:project_id"]


async def listed(**filters: list[str]) -> list[dict[str, Any]]:
    request = ListFlowsRequest(filters=ListFlowsRequestFilter(**filters))
    async with standing(ScriptedHost()) as stand:
        reply = await stand.stub.ListFlows(request, metadata=metadata())
    return [MessageToDict(config) for config in reply.configs]


async def checked(config: dict[str, Any] | None) -> tuple[bool, list[str]]:
    request = ValidateFlowConfigRequest()
    if config is not None:
        request.flow_config.CopyFrom(ParseDict(config, Struct()))
    async with standing(ScriptedHost()) as stand:
        reply = await stand.stub.ValidateFlowConfig(request, metadata=metadata())
    return reply.valid, list(reply.errors)


async def test_a12_66_flows_are_listed_by_environment() -> None:
    found = await listed(environment=["ambient"])
    assert {one["environment"] for one in found} == {"ambient"}
    assert all(one.keys() == KEYS for one in found)
    configs = [json.loads(one["config"]) for one in found]
    assert [config["environment"] for config in configs] == ["ambient"] * len(found)
    assert {one["flow_identifier"] for one in found} >= {"developer", "fix_pipeline"}


async def test_every_flow_is_listed_when_nothing_is_asked_for() -> None:
    found = await listed()
    assert [(one["flow_identifier"], one["flow_version"]) for one in found] == [
        (entry.name, entry.version) for entry in FLOWS.entries
    ]


async def test_filters_narrow_each_other_and_their_values_widen() -> None:
    two = await listed(flow_identifier=["developer", "fix_pipeline"])
    assert {one["flow_identifier"] for one in two} == {"developer", "fix_pipeline"}
    spoken = await listed(
        flow_identifier=["developer"], version=["v1"], environment=["chat", "chat-partial"]
    )
    assert spoken
    assert {(one["flow_identifier"], one["environment"]) for one in spoken} == {
        ("developer", "chat")
    }
    assert {one["version"] for one in await listed(version=["experimental"])} == {"experimental"}


async def test_a12_68_a_good_configuration_is_valid() -> None:
    assert await checked(GOOD) == (True, [])


async def test_a12_68_an_input_that_nothing_reads_is_an_error() -> None:
    agent = GOOD["components"][0] | {"inputs": UNUSED}
    valid, errors = await checked(GOOD | {"components": [agent]})
    assert not valid
    assert errors == ["components[0]: inputs: 'project_id' is given and used by no template"]


async def test_a12_68_an_experimental_configuration_is_checked_like_another() -> None:
    assert await checked(GOOD | {"version": "experimental"}) == (True, [])
    agent = GOOD["components"][0] | {"inputs": UNUSED}
    valid, errors = await checked(GOOD | {"version": "experimental", "components": [agent]})
    assert (valid, len(errors)) == (False, 1)


@pytest.mark.parametrize(
    ("config", "errors"),
    [
        (None, ["Missing required field: flow_config"]),
        ({}, ["Missing required field: version", "Missing required field: environment"]),
        ({"version": "v1"}, ["Missing required field: environment"]),
    ],
)
async def test_what_is_missing_is_named(config: dict[str, Any] | None, errors: list[str]) -> None:
    assert await checked(config) == (False, errors)


def test_tools_that_may_still_change_are_not_published() -> None:
    names = {tool.name for tool in published(TOOLS)}
    assert TOOLS.keys() - names == {
        "todo_write",
        "start_flow",
        "render_ui",
        "get_session_context",
        "notify_me_when",
    }
