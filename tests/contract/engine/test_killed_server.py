"""A session survives its server: a real database, an engine abandoned in the middle of a tool."""

import asyncio

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.leases import SqlLeases
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.contract.contract_pb2 import Action, Approval
from isthmus.core.workflow import Status
from tests.support.clock import HandClock
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import Stand, chat

WRITE = use(("c1", "create_file_with_contents", '{"file_path":"a.py","contents":"x"}'))
APPROVE = Approval(approval=Approval.Approved())


def stand_on(database: Database, models: ScriptedModels) -> Stand:
    return Stand(
        models,
        workflows=SqlWorkflowStore(database, HandClock()),
        checkpoints=SqlCheckpointStore(database),
        leases=SqlLeases(database),
    )


async def test_an_approved_write_is_done_again_after_the_server_died(database: Database) -> None:
    first = stand_on(database, ScriptedModels(use(("c0", "list_dir", '{"directory":"."}')), WRITE))
    async with first.serving():
        told = await first.stream(chat("write a file"))
        assert told.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    dying = stand_on(database, ScriptedModels(say("never said")))
    async with dying.serving():
        asked = asyncio.Event()

        def hold(_: Action) -> None:
            asked.set()

        async with asyncio.TaskGroup() as group:
            client = group.create_task(dying.stream(chat(approval=APPROVE), hold))
            await asked.wait()
            await dying.host.drain(0.0)
            await asyncio.wait({client})
    assert (await dying.workflows.get("7")).status is Status.RUNNING
    last = stand_on(database, ScriptedModels(say("It is written.")))
    async with last.serving():
        told = await last.stream(chat(""))
        more = await last.stream(chat("thanks"))
    assert [action.runWriteFile.filepath for action in told.work] == ["a.py"]
    assert [entry["message_type"] for entry in told.log()] == ["user", "tool", "tool", "agent"]
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert [entry["content"] for entry in more.log()][-2:] == ["thanks", "It is written."]
