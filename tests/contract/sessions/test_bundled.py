"""The flows that come with the server."""

import pytest
from langgraph.graph import START

from isthmus.contract.contract_pb2 import Approval, StartWorkflowRequest
from isthmus.core.errors import Invalid
from isthmus.core.identity import Caller
from isthmus.core.workflow import Status
from isthmus.platform.catalogue import Entry
from isthmus.platform.engine.compile import compile_flow
from isthmus.platform.engine.components.tool_step import Bench
from isthmus.platform.engine.direct import Direct
from isthmus.platform.scan import Bounds, Guard
from isthmus.platform.vault import Vaults
from tests.support.clock import HandClock
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import FLOWS, RULES, Stand
from tests.support.sink import MemorySink

ANYBODY = Caller(
    "user-1", scopes=frozenset({"duo_workflow_execute_workflow", "duo_agent_platform", "duo_chat"})
)
WRITE = use(("c1", "create_file_with_contents", '{"file_path":"a","contents":"x"}'))
APPROVE = Approval(approval=Approval.Approved())


def start(definition: str, goal: str = "", **fields: object) -> StartWorkflowRequest:
    return StartWorkflowRequest(
        workflowID="7",
        workflowDefinition=definition,
        goal=goal,
        **fields,  # pyright: ignore[reportArgumentType] - fields of the message
    )


@pytest.mark.parametrize("by_id", [False, True])
async def test_a12_22_a_developer_works_alone_to_the_end(*, by_id: bool) -> None:
    stand = Stand(ScriptedModels(WRITE, say("Done.")))
    first = start("developer/v1", "write a")
    if by_id:
        first = start(
            "",
            "write a",
            flowConfigId="developer",
            flowConfigSchemaVersion="v1",
            flowVersion="^1.0.0",
        )
    async with stand.serving():
        told = await stand.stream(first, caller=ANYBODY)
    assert told.error is None
    assert [action.runWriteFile.filepath for action in told.work] == ["a"]
    assert told.statuses[-1] == "FINISHED"
    assert told.log()[-1]["content"] == "Done."
    assert (await stand.workflows.get("7")).status is Status.FINISHED


async def test_a12_22_a_version_that_is_not_there_is_named() -> None:
    stand = Stand(ScriptedModels(say("x")))
    wanted = start(
        "", "g", flowConfigId="developer", flowConfigSchemaVersion="v1", flowVersion="^9.0.0"
    )
    async with stand.serving():
        told = await stand.stream(wanted, caller=ANYBODY)
    assert isinstance(told.error, Invalid)
    assert told.error.detail == "Unknown flow: developer/v1 (version ^9.0.0 not found)"


@pytest.mark.parametrize("definition", ["", "software_development"])
async def test_a12_23_a_plan_is_agreed_to_and_carried_out(definition: str) -> None:
    stand = Stand(ScriptedModels(say("1. Write a."), WRITE, say("Done.")))
    async with stand.serving():
        planned = await stand.stream(start(definition, "write a"), caller=ANYBODY)
        asked = await stand.stream(start(definition, approval=APPROVE), caller=ANYBODY)
        told = await stand.stream(start(definition, approval=APPROVE), caller=ANYBODY)
    assert planned.error is None
    assert planned.statuses[-1] == "PLAN_APPROVAL_REQUIRED"
    assert asked.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert [action.runWriteFile.filepath for action in told.work] == ["a"]
    assert told.statuses[-1] == "FINISHED"
    assert "1. Write a." in str(stand.models.prompt().messages)


@pytest.mark.parametrize("entry", FLOWS.entries, ids=lambda e: f"{e.name}/{e.schema}@{e.version}")
def test_every_flow_of_the_server_is_run_by_its_engine(entry: Entry) -> None:
    sink, clock = MemorySink(), HandClock()
    guard = Guard(None, sink, clock, Bounds())
    bench = Bench(sink, clock, Vaults(RULES, lambda: bytes(32)), guard)
    nodes = compile_flow(entry.flow, ScriptedModels(say("x")), bench).nodes
    assert {node.partition("#")[0] for node in nodes} >= {
        part.name for part in entry.flow.components if part.name not in entry.flow.supervisors
    }
    ways = {name: type(node.node) for name, node in nodes.items() if name != START}
    assert set(ways.values()) == {Direct}
