"""Workflows that a runner carries out: what routes ask of the launcher."""

from dataclasses import dataclass, field, replace

import pytest

from isthmus.core.accounts import Member
from isthmus.core.errors import Failure, Forbidden, NotFound, Rejected, Unavailable
from isthmus.core.workflow import Workflow, WorkflowQuery
from isthmus.instance.launcher import Kickoff, Workload
from tests.support.instance_stand import InstanceStand

WORKFLOWS = "/api/v4/ai/duo_workflows/workflows"


@dataclass
class Scripted:
    """A launcher that notes what it is asked, and fails when it is told to."""

    failure: Failure | None = None
    started: list[tuple[str, Kickoff]] = field(default_factory=list[tuple[str, Kickoff]])
    resumed: list[tuple[bool, str]] = field(default_factory=list[tuple[bool, str]])
    stopped: list[str] = field(default_factory=list[str])

    async def start(self, member: Member, workflow: Workflow, kickoff: Kickoff) -> Workload:
        assert member.user.global_id == workflow.owner
        self.started.append((workflow.workflow_id, kickoff))
        return self._answer()

    async def resume(
        self, member: Member, workflow: Workflow, *, approved: bool, message: str = ""
    ) -> Workload:
        assert member.user.global_id == workflow.owner
        self.resumed.append((approved, message))
        return self._answer()

    async def stop(self, workflow: Workflow) -> None:
        self.stopped.append(workflow.workflow_id)

    def _answer(self) -> Workload:
        if self.failure is not None:
            raise self.failure
        return Workload(7, "Started.")


def launching(stand: InstanceStand, failure: Failure | None = None) -> Scripted:
    launcher = Scripted(failure)
    stand.serve(replace(stand.instance, launcher=launcher))
    return launcher


async def test_a_workflow_may_be_started_as_it_is_made(stand: InstanceStand) -> None:
    launcher = launching(stand)
    item = {"Category": "file", "Content": "{}", "Metadata": "{}"}
    body = {"start_workflow": True, "additional_context": [item], "shallow_clone": False}
    async with stand.client() as http:
        reply = await http.post(WORKFLOWS, json=body)
        plain = await http.post(WORKFLOWS, json={"start_workflow": False})
    assert (reply.status_code, plain.status_code) == (201, 201)
    assert reply.json()["workload"] == {"id": 7, "message": "Started."}
    context = ({"Category": "file", "Content": "{}"},)
    expected = Kickoff(context, shallow_clone=False)
    assert launcher.started == [(str(reply.json()["id"]), expected)]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (None, 422),
        (Unavailable("No room."), 422),
        (Rejected("Can not execute workflow in CI."), 422),
        (Forbidden("Not you."), 403),
    ],
    ids=["no runner", "unavailable", "rejected", "forbidden"],
)
async def test_a_workflow_that_cannot_be_started_is_given_up(
    stand: InstanceStand, failure: Failure | None, status: int
) -> None:
    if failure is not None:
        launching(stand, failure)
    async with stand.client() as http:
        reply = await http.post(WORKFLOWS, json={"start_workflow": True})
    assert reply.status_code == status
    assert set(reply.json()) == {"message"}
    (record,) = (await stand.stores.workflows.page(WorkflowQuery())).items
    assert record.status == "failed"


async def test_a_workflow_is_resumed_with_its_owners_word(stand: InstanceStand) -> None:
    launcher = launching(stand)
    async with stand.client() as http:
        one = f"{WORKFLOWS}/{(await http.post(WORKFLOWS, json={})).json()['id']}"
        reply = await http.post(f"{one}/resume", json={"human_approval": True})
        told = {"human_approval": "false", "human_message": "not so"}
        again = await http.post(f"{one}/resume", data=told)
    assert reply.status_code == again.status_code == 201
    assert reply.json()["workload"] == {"id": 7, "message": "Started."}
    assert launcher.resumed == [(True, ""), (False, "not so")]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "human_approval is missing"),
        ({"human_approval": "maybe"}, "human_approval is invalid"),
        (
            {"human_approval": True, "human_message": "m" * 2_001},
            "human_message does not have a valid value",
        ),
    ],
)
async def test_what_a_resumption_needs(
    stand: InstanceStand, body: dict[str, object], told: str
) -> None:
    async with stand.client() as http:
        reply = await http.post(f"{WORKFLOWS}/1/resume", json=body)
    assert (reply.status_code, reply.json()) == (400, {"error": told})


@pytest.mark.parametrize(
    ("failure", "status"), [(NotFound("404 Not Found"), 404), (Rejected("No."), 400)], ids=str
)
async def test_what_cannot_be_resumed(stand: InstanceStand, failure: Failure, status: int) -> None:
    launching(stand, failure)
    async with stand.client() as http:
        one = f"{WORKFLOWS}/{(await http.post(WORKFLOWS, json={})).json()['id']}"
        reply = await http.post(f"{one}/resume", json={"human_approval": True})
    assert reply.status_code == status


async def test_stopping_a_workflow_stops_its_run(stand: InstanceStand) -> None:
    launcher = launching(stand)
    async with stand.client() as http:
        made = (await http.post(WORKFLOWS, json={})).json()["id"]
        for event in ("start", "stop", "explode"):
            await http.patch(f"{WORKFLOWS}/{made}", json={"status_event": event})
    assert launcher.stopped == [str(made)]


async def test_items_of_the_catalogue_need_a_project_and_are_not_here(
    stand: InstanceStand,
) -> None:
    async with stand.client() as http:
        nowhere = await http.post(WORKFLOWS, json={"ai_catalog_item_consumer_id": 1})
        body = {"ai_catalog_item_consumer_id": 1, "project_id": "acme/app"}
        unknown = await http.post(WORKFLOWS, json=body)
    assert (nowhere.status_code, unknown.status_code) == (400, 404)
