"""Sessions whose records stay at their GitLab instance, reached through the client alone."""

from typing import Any

from isthmus.contract.contract_pb2 import Approval
from isthmus.core.workflow import Status
from isthmus.platform.keeping import at_instance
from tests.support.foreign_instance import ForeignInstance
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import Stand, Told, chat

VERSION = "19.3.0-ee"
APPROVE = Approval(approval=Approval.Approved())
RUN = use(("c1", "run_command", '{"program":"ls","args":"-l"}'))


def stand_of(*lines: Any) -> Stand:
    return Stand(ScriptedModels(*lines), stores=at_instance)


async def turn(stand: Stand, instance: ForeignInstance, goal: str = "go", **more: Any) -> Told:
    """One stream of a client of this instance."""
    headers = {"x-gitlab-version": VERSION, **more.pop("headers", {})}
    async with stand.serving():
        return await stand.stream(chat(goal, **more), instance, headers=headers)


async def turns(stand: Stand, instance: ForeignInstance, *starts: dict[str, Any]) -> list[Told]:
    async with stand.serving():
        return [
            await stand.stream(chat(**start), instance, headers={"x-gitlab-version": VERSION})
            for start in starts
        ]


async def test_a12_29_30_the_query_comes_first_and_then_the_move() -> None:
    instance = ForeignInstance()
    first, second = await turns(stand_of(say("hi")), instance, {"goal": "go"}, {"goal": "on"})
    assert first.error is None
    assert instance.journal[:2] == ["query", "PATCH 7 start"]
    begins = [n for n, line in enumerate(instance.journal) if line == "query"]
    assert instance.journal[begins[1] + 1] == "PATCH 7 resume"
    assert instance.queries[0]["variables"] == {
        "workflowId": "gid://gitlab/Ai::DuoWorkflows::Workflow/7"
    }
    instance.status = Status.FAILED
    (third,) = await turns(stand_of(say("hi")), instance, {"goal": "again"})
    assert instance.journal[instance.journal.index("query", begins[1] + 1) + 1] == "PATCH 7 retry"
    assert (second.error, third.error) == (None, None)
