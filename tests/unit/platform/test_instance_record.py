"""The query for a session's record, and what instances of each age answer."""

import re
from typing import Any

import pytest

from isthmus.core.workflow import Status
from isthmus.platform import instance_record
from tests.support.foreign_instance import recorded

BLANK = instance_record.blank("7", "chat", "me")


def fields(version: str) -> set[str]:
    return set(re.findall(r"\w+", instance_record.query(version)))


@pytest.mark.parametrize(
    ("version", "there", "absent"),
    [
        ("18.2.0", {"statusName", "firstCheckpoint"}, {"archived", "namespace", "threadTs"}),
        ("", {"statusName", "firstCheckpoint"}, {"archived", "namespace", "threadTs"}),
        ("nonsense", {"firstCheckpoint"}, {"archived", "latestCheckpoint"}),
        ("18.3.0", {"archived", "stalled", "exclusionRules"}, {"latestCheckpoint"}),
        ("18.8.1", {"latestCheckpoint", "threadTs", "checkpoint"}, {"firstCheckpoint"}),
        ("18.9.0", {"promptInjectionProtectionLevel"}, {"compressedCheckpoint"}),
        ("19.0.0-ee", {"compressedCheckpoint"}, {"incrementalCheckpointsEnabled", "checkpoint"}),
        ("19.2.3", {"incrementalCheckpointsEnabled", "enabledFoundationalFlows"}, {"no_such"}),
        ("19.3.0", {"webSearchEnabled"}, {"firstCheckpoint"}),
        ("20.1.0", {"webSearchEnabled"}, {"firstCheckpoint"}),
    ],
)
def test_an_instance_is_asked_for_what_it_knows(
    version: str, there: set[str], absent: set[str]
) -> None:
    asked = fields(version)
    assert there <= asked
    assert not absent & asked
    text = instance_record.query(version)
    assert text.count("{") == text.count("}")


def found(name: str) -> instance_record.Found:
    (node,) = instance_record.nodes(recorded(name)["data"])
    return instance_record.found_in(node, BLANK)


def test_a_project_of_a_new_instance() -> None:
    record = found("workflow_19.3").workflow
    assert (record.status, record.project_id, record.namespace_id) == (Status.CREATED, 4711, None)
    assert (record.terms.privileges, record.terms.preapproved) == ((1, 2, 4), (2,))
    site = record.site
    assert (site.default_branch, site.languages) == ("release/1.x", ("Ruby", "Go"))
    assert site.excluded == ("secrets/**", "*.pem")
    assert (site.protection, site.flows) == ("INTERRUPT", frozenset({"code_review/v1"}))
    assert site.clone_url == "https://gitlab.example.com/space/rocket.git"
    assert record.closed == ""


def test_a_namespace_of_an_old_instance_keeps_its_checkpoint_elsewhere() -> None:
    told = found("workflow_18.3")
    assert (told.latest, told.elsewhere) == (None, True)
    assert told.workflow.namespace_id == 12
    assert told.workflow.site.namespace_name == "Space"
    assert not told.workflow.terms.privileges
    assert not told.workflow.terms.mcp
    assert told.workflow.site.flows is None


@pytest.mark.parametrize("flag", ["archived", "stalled"])
def test_what_is_over_says_why(flag: str) -> None:
    (node,) = instance_record.nodes(recorded("workflow_19.3")["data"])
    closed = instance_record.found_in(node | {flag: True}, BLANK).workflow.closed
    assert flag in closed
    assert "new workflow" in closed


@pytest.mark.parametrize(
    "node",
    [
        None,
        {},
        {"statusName": "of_tomorrow"},
        {"statusName": 1},
        {"statusName": "created", "project": 1},
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error(node: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each names another fault
        instance_record.found_in(node, BLANK)


def test_nothing_found_is_nothing() -> None:
    answers: list[dict[str, Any]] = [
        {},
        {"duoWorkflowWorkflows": None},
        {"duoWorkflowWorkflows": {"nodes": []}},
    ]
    for data in answers:
        assert instance_record.nodes(data) == []
