"""Workflows that a runner carries out: what its job is given."""

import json
from dataclasses import dataclass, field, replace

import pytest

from isthmus.core.errors import Failure, Forbidden, NotFound, Rejected, Unavailable
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.job import RunnerJob, RunnerRef
from isthmus.core.workflow import WorkflowQuery
from isthmus.gateway.grant import Granted
from isthmus.instance.broker import Broker
from isthmus.instance.launch import Launch, Parts, minting
from isthmus.instance.runs import Runs
from tests.support.instance_stand import IDENTITY, SITE, InstanceStand

WORKFLOWS = "/api/v4/ai/duo_workflows/workflows"


@dataclass
class Scripted:
    """A runner that notes what it is given, and fails when it is told to."""

    failure: Failure | None = None
    jobs: list[RunnerJob] = field(default_factory=list[RunnerJob])
    stopped: list[str] = field(default_factory=list[str])

    async def start(self, job: RunnerJob) -> RunnerRef:
        if self.failure is not None:
            raise self.failure
        self.jobs.append(job)
        return RunnerRef(f"job-{len(self.jobs)}", len(self.jobs))

    async def stop(self, ref: RunnerRef) -> None:
        self.stopped.append(ref.id)


class Grants:
    """Signs for the platform as the gateway's stand does not."""

    async def user_token(self, caller: Caller, client: ClientInfo) -> Granted:
        raise NotImplementedError

    def platform_token(
        self, caller: Caller, client: ClientInfo, workflow_definition: str
    ) -> Granted:
        assert caller.global_user_id
        assert workflow_definition
        assert client
        return Granted("platform-token", 1)


def launching(stand: InstanceStand, failure: Failure | None = None) -> Scripted:
    runner, own = Scripted(failure), stand.instance
    mint = minting(own.accounts, Broker(Grants(), IDENTITY))
    parts = Parts(runner, stand.stores.workflows, own.places, own.metadata, mint, SITE)
    stand.serve(replace(own, runs=Runs(own.workflows, Launch(parts))))
    return runner


async def test_a_workflow_may_be_started_as_it_is_made(stand: InstanceStand) -> None:
    runner = launching(stand)
    item = {"Category": "file", "Content": "{}", "Metadata": {"a": 1}}
    body = {"start_workflow": True, "additional_context": [item], "project_id": "acme/app"}
    async with stand.client() as http, stand.client(relayed=True) as relay:
        reply = await http.post(WORKFLOWS, json=body | {"image": "a/b", "source_branch": "main"})
        plain = await http.post(WORKFLOWS, json={"start_workflow": False})
        again = await relay.get(f"{WORKFLOWS}/{reply.json()['id']}")
    assert (reply.status_code, plain.status_code) == (201, 201)
    assert reply.json()["workload"]["id"] == again.json()["workload"]["id"] == 1
    assert plain.json()["workload"]["id"] is None
    (job,) = runner.jobs
    assert job.workflow_id == str(reply.json()["id"])
    assert (job.project, job.image, job.branch) == ("acme/app", "a/b", "main")
    assert job.variables["GITLAB_BASE_URL"] == "http://instance.test"
    context = json.loads(job.variables["DUO_WORKFLOW_ADDITIONAL_CONTEXT_CONTENT"])
    assert {"Category": "file", "Content": "{}", "Metadata": '{"a":1}'} in context


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
        body = {"start_workflow": True, "project_id": "acme/app"}
        reply = await http.post(WORKFLOWS, json=body)
    assert reply.status_code == status
    assert set(reply.json()) == {"message"}
    (record,) = (await stand.stores.workflows.page(WorkflowQuery())).items
    assert record.status == "failed"


async def test_without_a_project_nothing_is_started(stand: InstanceStand) -> None:
    launching(stand)
    async with stand.client() as http:
        reply = await http.post(WORKFLOWS, json={"start_workflow": True})
    assert (reply.status_code, reply.json()) == (
        422,
        {"message": "Can not execute workflow in CI"},
    )


async def test_a_workflow_is_resumed_with_its_owners_word(stand: InstanceStand) -> None:
    runner = launching(stand)
    async with stand.client() as http:
        one = f"{WORKFLOWS}/{(await http.post(WORKFLOWS, json={})).json()['id']}"
        reply = await http.post(f"{one}/resume", json={"human_approval": True})
        told = {"human_approval": "false", "human_message": "not so"}
        again = await http.post(f"{one}/resume", data=told)
    assert reply.status_code == again.status_code == 201
    assert [reply.json()["workload"]["id"], again.json()["workload"]["id"]] == [1, 2]
    first, second = [" ".join(job.arguments) for job in runner.jobs]
    assert "--approval true" in first
    assert "--approval false" in second
    assert "not so" in second


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
    runner = launching(stand)
    async with stand.client() as http:
        body = {"start_workflow": True, "project_id": "acme/app"}
        made = (await http.post(WORKFLOWS, json=body)).json()["id"]
        for event in ("start", "stop", "explode"):
            await http.patch(f"{WORKFLOWS}/{made}", json={"status_event": event})
    assert runner.stopped == ["job-1"]


async def test_items_of_the_catalogue_need_a_project_and_are_not_here(
    stand: InstanceStand,
) -> None:
    async with stand.client() as http:
        nowhere = await http.post(WORKFLOWS, json={"ai_catalog_item_consumer_id": 1})
        body = {"ai_catalog_item_consumer_id": 1, "project_id": "acme/app"}
        unknown = await http.post(WORKFLOWS, json=body)
    assert (nowhere.status_code, unknown.status_code) == (400, 404)


async def test_a_deleted_workflow_leaves_no_run_behind(stand: InstanceStand) -> None:
    runner = launching(stand)
    async with stand.client() as http:
        body = {"start_workflow": True, "project_id": "acme/app"}
        made = (await http.post(WORKFLOWS, json=body)).json()["id"]
        gid = f"gid://gitlab/Ai::DuoWorkflows::Workflow/{made}"
        given = f'{{deleteDuoWorkflowsWorkflow(input:{{workflowId:"{gid}"}}){{success errors}}}}'
        reply = await http.post("/api/graphql", json={"query": f"mutation{given}"})
    assert reply.json()["data"]["deleteDuoWorkflowsWorkflow"] == {"success": True, "errors": []}
    assert runner.stopped == ["job-1"]
