"""The first message of a stream, and which flow it selects."""

from typing import Any

import pytest

from isthmus.contract.contract_pb2 import Approval, StartWorkflowRequest
from isthmus.core.errors import Invalid
from isthmus.core.identity import ClientInfo
from isthmus.core.messages import Message, Text
from isthmus.core.workflow import Status, StatusEvent
from isthmus.platform import start
from isthmus.platform.catalogue import Catalogue, Selector, select
from isthmus.platform.flow_check import parse
from isthmus.platform.mode import Mode, mode_of
from isthmus.platform.start import PART_BITS, Decision, numbered

NEW = ClientInfo({"x-gitlab-version": "18.7.0-ee"})


def message(**fields: Any) -> StartWorkflowRequest:
    whole: dict[str, Any] = {"workflowID": "7"} | fields
    return StartWorkflowRequest(**whole)


def read(info: ClientInfo = NEW, **fields: Any) -> start.Start:
    return start.read(message(**fields), info)


@pytest.mark.parametrize(
    ("version", "capable"),
    [
        ("18.7.0", True),
        ("18.7", True),
        ("v19.0.1-pre", True),
        ("18.6.9", False),
        ("17.11.0", False),
        ("", False),
        ("new", False),
    ],
)
def test_a12_42_capabilities_need_a_new_enough_instance(version: str, *, capable: bool) -> None:
    info = ClientInfo({"x-gitlab-version": version})
    assert ("x" in read(info, clientCapabilities=["x"]).capabilities) is capable


@pytest.mark.parametrize(
    ("approval", "decision"),
    [
        (None, None),
        (Approval(), None),
        (Approval(approval=Approval.Approved()), Decision("approve")),
        (Approval(rejection=Approval.Rejected()), Decision("reject")),
        (Approval(rejection=Approval.Rejected(message="null")), Decision("reject")),
        (Approval(rejection=Approval.Rejected(message="no")), Decision("modify", "no")),
    ],
)
def test_decisions(approval: Approval | None, decision: Decision | None) -> None:
    assert read(approval=approval).decision == decision


def test_empty_metadata_counts_as_an_empty_object() -> None:
    contexts = [{"category": "file", "metadata": ""}, {"category": "x", "metadata": '{"a":1}'}]
    found = read(workflowMetadata="", additional_context=contexts).contexts
    assert [context.metadata for context in found] == [{}, {"a": 1}]


@pytest.mark.parametrize(
    "fields",
    [
        {"workflowMetadata": "{"},
        {"workflowMetadata": "[1]"},
        {"workflowMetadata": "[" * 100_000},
        {"additional_context": [{"category": "x", "metadata": "no"}]},
        {"preapproved_tools": ["x"] * 1001},
        {"workflowID": "x"},
        {"workflowID": "0"},
    ],
)
def test_what_does_not_fit_is_invalid(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        read(**fields)


@pytest.mark.parametrize(
    ("status", "mode"),
    [
        (Status.CREATED, Mode.START),
        (Status.INPUT_REQUIRED, Mode.RESUME),
        (Status.TOOL_CALL_APPROVAL_REQUIRED, Mode.RESUME),
        (Status.PLAN_APPROVAL_REQUIRED, Mode.RESUME),
        (Status.RUNNING, Mode.RETRY),
        (Status.FAILED, Mode.RETRY),
        (Status.STOPPED, Mode.RETRY),
        (Status.FINISHED, Mode.RETRY),
    ],
)
def test_the_status_of_the_record_tells_the_mode(status: Status, mode: Mode) -> None:
    assert mode_of(status) is mode
    assert mode.event is StatusEvent(mode.value)


def test_a12_19_empty_strings_count_as_unset() -> None:
    empty = message(flowConfigId="", flowVersion="", workflowDefinition="chat")
    assert select(empty) == Selector("chat", built_in="chat")


def test_a12_23_nothing_selected_is_software_development() -> None:
    assert select(message()) == Selector("", built_in="software_development")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"flowConfigId": "a", "flowConfig": {}}, "mutually exclusive"),
        ({"flowConfigId": "a", "flowConfigSchemaVersion": "v1"}, "flowVersion"),
        ({"flowConfigId": "a", "flowVersion": "1.0.0"}, "flowConfigSchemaVersion"),
        ({"flowVersion": "1.0.0"}, "flowConfigId"),
        (
            {"flowConfigId": "a", "flowVersion": "1.0.0", "flowConfigSchemaVersion": "v9"},
            "schema version",
        ),
        ({"workflowDefinition": "a/b/c"}, "Unknown flow: a/b/c"),
        ({"workflowDefinition": "a/v9"}, "schema version"),
        ({"workflowDefinition": "plain"}, "Unknown flow: plain"),
        ({"workflowDefinition": "/v1"}, "Unknown flow"),
        ({"workflowDefinition": "x" * 300 + "/v1"}, "Unknown flow"),
    ],
)
def test_a12_18_19_20_selectors_that_do_not_fit(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        select(message(**fields))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"workflowDefinition": "nope/v1"}, "Unknown flow: nope/v1"),
        (
            {"flowConfigId": "nope", "flowVersion": "1.0.0", "flowConfigSchemaVersion": "v1"},
            "Unknown flow: nope/v1",
        ),
        ({"flowConfig": {"version": "v1"}}, "Failed to create flow from FlowConfig protobuf:"),
        ({}, "Unknown flow: software_development"),
    ],
)
def test_a12_21_a_flow_that_is_not_there_is_named(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid) as failure:
        Catalogue({}).resolve(select(message(**fields)), message(**fields), NEW)
    assert failure.value.detail.startswith(text)


def test_experimental_names_that_moved_are_rewritten() -> None:
    assert select(message(workflowDefinition="duo_planner/experimental")).schema == "v1"


GOOD = """
version: v1
environment: chat
name: N
description: D
components: [{name: a, type: AgentComponent, prompt_id: p, toolset: [read_file]}]
prompts: [{prompt_id: p, prompt_template: {system: S}}]
routers: [{from: a, to: end}]
flow: {entry_point: a}
"""


def test_a_flow_file_is_read() -> None:
    flow = parse(GOOD.encode(), "x@1.0.0")
    (said,) = flow.agent.prompt.script.render({})
    assert said == Message("system", (Text("S"),))
    assert (flow.agent.name, flow.agent.toolset) == ("a", ("read_file",))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("v1", "v2"),
        ("entry_point: a", "entry_point: b"),
        ("prompt_id: p, prompt_t", "prompt_id: q, prompt_t"),
        ("toolset:", "unknown: 1, toolset:"),
        ("toolset: [read_file]", "toolset: read_file"),
        ("description: D", "description: [D"),
    ],
)
def test_a_flow_file_with_a_fault_is_refused_by_name(old: str, new: str) -> None:
    with pytest.raises(Invalid, match=r"Failed to load flow x@1\.0\.0"):
        parse(GOOD.replace(old, new).encode(), "x@1.0.0")


def test_each_listed_instance_has_records_of_its_own() -> None:
    assert numbered("7", "") == "7"
    acme, globex = numbered("7", "acme"), numbered("7", "globex")
    assert len({"7", acme, globex}) == 3
    assert int(acme) < 2**63
    assert int(acme) & (2**PART_BITS - 1) == 7
    with pytest.raises(Invalid, match="too large"):
        numbered(str(2**PART_BITS), "acme")
