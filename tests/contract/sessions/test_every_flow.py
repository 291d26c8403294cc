"""Every flow that comes with the server runs to its end, with a willing model and an instance."""

import json
from typing import Any

import pytest

from isthmus.contract.contract_pb2 import AdditionalContext, Approval, StartWorkflowRequest
from isthmus.core.events import ToolCalled
from isthmus.core.identity import Caller
from isthmus.core.workflow import NewWorkflow, Terms
from isthmus.platform.catalogue import Entry
from isthmus.platform.flow import FixedStep
from tests.contract.sessions.test_flows import start
from tests.support.session_client import FLOWS, TOOLS, Stand, Told
from tests.support.willing import Willing, instance, sample

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
OTHER_WAYS = {
    "fix_pipeline": ("direct_code_suggestions", "add_comment"),
    "security_review": ("mention",),
}
"""Flow -> what else a model may choose, or an instance may tell of, so that it goes another way."""
OFFERED_BY_NONE = (
    "create_plan",
    "add_new_task",
    "set_task_status",
    "update_task_description",
    "remove_task",
    "get_plan",
    "create_branch",
    "get_commit_comments",
    "get_issue_note",
    "get_session_context",
    "gitlab_api_get",
    "gitlab_commit_search",
    "gitlab_graphql",
    "gitlab_note_search",
    "gitlab_wiki_blob_search",
    "render_ui",
    "start_flow",
    "update_form_fields",
)
"""Tools that no bundled flow has: they are for flows that a client brings."""
BROUGHT: dict[str, Any] = {
    "version": "v1",
    "environment": "ambient",
    "flow": {"entry_point": "worker"},
    "components": [
        {
            "name": "worker",
            "type": "AgentComponent",
            "prompt_id": "work",
            "toolset": list(OFFERED_BY_NONE),
        },
    ],
    "routers": [{"from": "worker", "to": "end"}],
    "prompts": [{"prompt_id": "work", "prompt_template": {"user": "{{ goal }}"}}],
}
HEADERS = {"x-gitlab-version": "19.0.0", "x-gitlab-host-name": "gitlab.example.com"}


def contexts(entry: Entry, event: str) -> list[AdditionalContext]:
    """What an instance attaches, as far as the flow asks for it."""
    found: list[AdditionalContext] = []
    for one in entry.flow.wanted:
        values = {name: sample({"type": kind}, name) for name, kind in one.fields.items()}
        values |= {"url": f"{PROJECT}/-/merge_requests/1"} if "url" in values else {}
        values |= {"event_type": event} if "event_type" in values else {}
        found.append(AdditionalContext(category=one.category, content=json.dumps(values)))
    return found


async def prepared(model: Willing, definition: str, goal: str) -> Stand:
    """A stand with a session that may do everything."""
    stand = Stand(model)
    terms = Terms(privileges=(1, 2, 3, 4, 5, 6, 7))
    new = NewWorkflow(definition, goal, "user-1", "7", project_id=1, terms=terms)
    await stand.workflows.create(new)
    return stand


async def run(entry: Entry, way: str = "label") -> tuple[Stand, list[Told]]:
    """A flow's turns until it waits for its user, or is finished."""
    goal = GOALS.get(entry.name, "Do it.")
    stand = await prepared(Willing((way,)), entry.name, goal)
    turns: list[Told] = []
    async with stand.serving():
        while len(turns) < TURNS:
            start = StartWorkflowRequest(
                workflowID="7",
                flowConfigId=entry.name,
                flowConfigSchemaVersion=entry.schema,
                flowVersion=entry.version,
                goal="" if turns else goal,
                approval=APPROVE if turns else None,
                additional_context=contexts(entry, way),
                clientCapabilities=["schedule_notification"],
            )
            told = await stand.stream(start, instance, caller=CALLER, headers=HEADERS)
            turns.append(told)
            assert told.error is None, told.log()[-1:]
            if told.statuses[-1] in ("FINISHED", "INPUT_REQUIRED"):
                break
    return stand, turns


def well_called(stand: Stand) -> set[str]:
    """The tools that a session called, and that answered."""
    return {fact.tool for fact in stand.sink.of(ToolCalled) if not fact.failure}


@pytest.mark.parametrize(
    "entry", FLOWS.entries, ids=lambda entry: f"{entry.name}-{entry.schema}-{entry.version}"
)
async def test_a_flow_runs_to_its_end(entry: Entry) -> None:
    _, turns = await run(entry)
    works_alone = entry.flow.environment == "ambient" or entry.name == "software_development"
    assert turns[-1].statuses[-1] == ("FINISHED" if works_alone else "INPUT_REQUIRED")
    steps = {part.name for part in entry.flow.components if isinstance(part, FixedStep)}
    failed = [
        one["component_name"]
        for one in turns[-1].log()
        if one["status"] == "failure" and one["component_name"] in steps
    ]
    assert failed == []


async def test_every_tool_is_called_by_a_flow_that_offers_it() -> None:
    called: set[str] = set()
    for entry in FLOWS.entries:
        for way in ("label", *OTHER_WAYS.get(entry.name, ())):
            stand, turns = await run(entry, way)
            assert turns[-1].statuses[-1] in ("FINISHED", "INPUT_REQUIRED")
            called |= well_called(stand)
    assert called == set(TOOLS) - set(OFFERED_BY_NONE)
    stand = await prepared(Willing(), "chat", "Do it.")
    async with stand.serving():
        told = await stand.stream(start(BROUGHT, "Do it."), instance, headers=HEADERS)
    assert told.error is None
    assert told.statuses[-1] == "FINISHED"
    assert well_called(stand) == set(OFFERED_BY_NONE)
