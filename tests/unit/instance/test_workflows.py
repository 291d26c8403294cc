"""Workflow records: races, approvals, age."""

from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from isthmus.core.approval import Match, matches
from isthmus.core.errors import Forbidden, Invalid, NotFound, Rejected
from isthmus.core.lease import Lease
from isthmus.core.ports import PlaceStore
from isthmus.core.workflow import NewWorkflow, Status, StatusEvent, Terms, Workflow
from isthmus.instance.flags import Flags
from isthmus.instance.places import Places
from isthmus.instance.terms import check
from isthmus.instance.workflows import MAX_TOOLS, Workflows
from isthmus.settings import InstanceSettings
from tests.support.clock import HandClock
from tests.support.memory_flags import MemoryFlags
from tests.support.memory_store import MemoryWorkflows
from tests.unit.instance.test_metadata import MEMBER

OWNER = MEMBER.user.global_id


def use_cases(store: MemoryWorkflows, settings: InstanceSettings | None = None) -> Workflows:
    places = Places(cast("PlaceStore", None), register=False)
    return Workflows(store, places, Flags(MemoryFlags()), HandClock(), settings)


async def running(store: MemoryWorkflows) -> None:
    await store.create(NewWorkflow("chat", "", owner=OWNER, workflow_id="1"))
    await store.move("1", StatusEvent.START)


class Raced(MemoryWorkflows):
    """A store in which somebody else is quicker, once."""

    def __init__(self, other: StatusEvent) -> None:
        super().__init__()
        self.other: StatusEvent | None = other

    async def move(
        self, workflow_id: str, event: StatusEvent, lease: Lease | None = None
    ) -> Workflow:
        if event != StatusEvent.START and self.other is not None:
            other, self.other = self.other, None
            await super().move(workflow_id, other, lease)
        return await super().move(workflow_id, event, lease)


async def test_a_move_that_another_made_first_counts_as_made() -> None:
    store = Raced(StatusEvent.STOP)
    await running(store)
    moved = await use_cases(store).move(MEMBER, "1", "stop")
    assert (moved.workflow.status, moved.changed) == (Status.STOPPED, False)


async def test_a_move_that_came_too_late_is_refused_by_where_the_record_is_now() -> None:
    store = Raced(StatusEvent.STOP)
    await running(store)
    with pytest.raises(Rejected, match="finish a workflow that has status stopped"):
        await use_cases(store).move(MEMBER, "1", "finish")


@pytest.mark.parametrize("workflow_id", ["1", "2", "x", "", "9" * 40])
async def test_what_is_not_the_callers_is_not_there(workflow_id: str) -> None:
    store = MemoryWorkflows()
    await store.create(NewWorkflow("chat", "", owner="somebody", workflow_id="1"))
    with pytest.raises(NotFound, match="404 Workflow Not Found"):
        await use_cases(store).own(MEMBER, workflow_id)


async def test_approvals_are_kept_by_tool() -> None:
    store = MemoryWorkflows()
    await running(store)
    known = use_cases(store)
    await known.approve_calls(MEMBER, "1", "run_command", args='{"command": "ls"}')
    workflow = await known.approve_calls(MEMBER, "1", "run_command", pattern="git status *")
    approval = workflow.approvals["run_command"]
    assert matches(approval, "run_command", '{"command":"ls"}') == Match.CALL
    assert matches(approval, "run_command", '{"command":"git status x"}') == Match.PATTERN
    assert not matches(approval, "run_command", '{"command":"git push"}')


@pytest.mark.parametrize(
    ("tool", "args", "pattern"),
    [
        ("t", "", ""),
        ("t", "{}", "x"),
        ("", "{}", ""),
        ("t" * 256, "{}", ""),
        ("run_command", "", "*"),
    ],
)
async def test_an_approval_needs_one_of_both_and_a_sound_pattern(
    tool: str, args: str, pattern: str
) -> None:
    store = MemoryWorkflows()
    await running(store)
    with pytest.raises(Invalid):
        await use_cases(store).approve_calls(MEMBER, "1", tool, args=args, pattern=pattern)


async def test_approvals_are_bounded_and_may_be_switched_off() -> None:
    store = MemoryWorkflows()
    await running(store)
    known = use_cases(store)
    for number in range(MAX_TOOLS):
        await known.approve_calls(MEMBER, "1", f"t{number}", args="{}")
    with pytest.raises(Invalid, match="At most"):
        await known.approve_calls(MEMBER, "1", "more", args="{}")
    await known.approve_calls(MEMBER, "1", "t0", args="[]")
    off = use_cases(store, InstanceSettings(tool_approval_for_session=False))
    with pytest.raises(Forbidden):
        await off.approve_calls(MEMBER, "1", "t0", args="{}")


def test_what_is_about_something_says_where() -> None:
    check(Terms(issue_id=1), in_project=True)
    for terms, in_project in (
        (Terms(issue_id=1), False),
        (Terms(issue_id=1, merge_request_id=2), True),
        (Terms(environment="moon"), True),
    ):
        with pytest.raises(Invalid):
            check(terms, in_project=in_project)


def test_old_workflows_are_archived() -> None:
    known = use_cases(MemoryWorkflows(), InstanceSettings(archive_after_s=60))
    now = HandClock().utc()
    young = Workflow("1", "chat", "", OWNER, Status.CREATED, "", now, now)
    assert not known.archived(young)
    assert known.archived(replace(young, created_at=now - timedelta(seconds=60)))
