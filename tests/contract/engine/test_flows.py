"""A flow on real databases: each turn in another process, as after a restart."""

import json

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.leases import SqlLeases
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.contract.contract_pb2 import Approval, StartWorkflowRequest
from isthmus.core.checkpoint import CheckpointQuery
from isthmus.core.identity import Caller
from isthmus.core.messages import ModelChoice
from isthmus.core.workflow import Status
from isthmus.platform.opening import MODEL_HEADER
from isthmus.platform.records import record_of
from tests.support.clock import HandClock
from tests.support.scripted_models import Line, ScriptedModels, say, use
from tests.support.session_client import Stand, Told, stop

CALLER = Caller("user-1", scopes=frozenset({"duo_workflow_execute_workflow"}))
SECOND = ModelChoice("scripted-2", "scripted", "e", "up-2")
PINNED = '{"name":"scripted-2","provider":"gitlab","endpoint":null,"identifier":null}'
APPROVE = Approval(approval=Approval.Approved())
LOOK = use(("c1", "list_dir", '{"directory":"."}'))


def stand_on(database: Database, line: Line) -> Stand:
    return Stand(
        ScriptedModels(line, say("Done."), known={"scripted-2": SECOND}),
        workflows=SqlWorkflowStore(database, HandClock()),
        checkpoints=SqlCheckpointStore(database),
        leases=SqlLeases(database),
    )


async def turn(
    stand: Stand, goal: str = "", approval: Approval | None = None, header: str = ""
) -> Told:
    start = StartWorkflowRequest(
        workflowID="7", workflowDefinition="software_development", goal=goal, approval=approval
    )
    headers = {"x-gitlab-version": "18.7.0", MODEL_HEADER: header}
    async with stand.serving():
        return await stand.stream(start, caller=CALLER, headers=headers)


async def test_a_plan_outlives_its_server_with_its_model(database: Database) -> None:
    planned = await turn(stand_on(database, say("A plan.")), "build", header=PINNED)
    assert planned.statuses[-1] == "PLAN_APPROVAL_REQUIRED"
    last = stand_on(database, LOOK)
    told = await turn(last, approval=APPROVE)
    assert told.error is None
    assert [action.WhichOneof("action") for action in told.work] == ["listDirectory"]
    assert told.statuses[-1] == "FINISHED"
    record = await last.workflows.get("7")
    assert (record.status, record.model) == (Status.FINISHED, PINNED)
    assert [choice.id for _, choice, _ in last.models.calls] == ["scripted-2"] * 2
    page = await last.checkpoints.page(CheckpointQuery("7", limit=1))
    values = json.loads(record_of(page.items[0]).checkpoint)["channel_values"]
    assert values["status"] == "Completed"
    assert values["ui_chat_log"] == told.log()
    assert values["context"]["executor"]["final_answer"] == "Done."


async def test_a_stopped_flow_without_a_question_begins_anew(database: Database) -> None:
    first = stand_on(database, LOOK)
    async with first.serving():
        start = StartWorkflowRequest(
            workflowID="7", workflowDefinition="software_development", goal="a"
        )
        await first.stream(start, lambda _: stop("enough"), caller=CALLER)
    told = await turn(stand_on(database, say("A plan.")), "b")
    assert told.error is None
    assert [entry["content"] for entry in told.log()][:2] == ["b", "A plan."]
    assert told.statuses[-1] == "PLAN_APPROVAL_REQUIRED"
