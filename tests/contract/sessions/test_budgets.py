"""What a session may use of models: over all its turns, wherever they run, whatever they call."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database
from isthmus.adapters.stores.leases import SqlLeases
from isthmus.adapters.stores.workflows import SqlWorkflowStore
from isthmus.core.checkpoint import Thread
from isthmus.core.errors import LimitExceeded, UpstreamFailed
from isthmus.core.events import Noted
from isthmus.core.identity import Caller
from isthmus.core.messages import Delta, ToolUse, Usage
from isthmus.core.workflow import Status
from isthmus.platform import checkpoints
from isthmus.platform.budget import NO_PRICE
from isthmus.platform.keeping import at_instance
from isthmus.settings import BudgetSettings, PlatformSettings
from tests.contract.sessions.test_compaction import LOOKS
from tests.contract.sessions.test_delegation import CONFIG as DELEGATING
from tests.contract.sessions.test_delegation import READ, hand
from tests.contract.sessions.test_flows import PLANNED, start
from tests.contract.sessions.test_one_off import CONFIG as ONCE
from tests.contract.sessions.test_patience import wound
from tests.support.clock import HandClock
from tests.support.foreign_instance import ForeignInstance
from tests.support.scripted_models import Line, ScriptedModels, say
from tests.support.session_client import Stand, Told, chat, stop

FLOWS = Caller("user-1", scopes=frozenset({"duo_chat", "duo_agent_platform"}))


def call(*calls: tuple[str, str, str], tokens: int = 100) -> Line:
    """An answer that calls tools, and used so much."""
    uses = [Delta(tool_use=ToolUse(*one)) for one in calls]
    return [*uses, Delta(finish="tool_use", usage=Usage(tokens - 10, 10))]


LOOK = call(("c", "list_dir", '{"directory":"."}'))


def stand_of(
    lines: Sequence[Line], *, cost: int | None = 1_000_000, **budgets: Any
) -> tuple[Stand, ScriptedModels]:
    models = ScriptedModels(*lines)
    models.cost = cost
    settings = PlatformSettings(budgets=BudgetSettings(**budgets))
    return Stand(models, settings=settings), models


def raised(stand: Stand, **budgets: Any) -> Stand:
    """The same after the operator gave more."""
    return stand.limited(budgets=BudgetSettings(**budgets))


async def spent(stand: Stand) -> object:
    latest = await stand.checkpoints.get(Thread("7"), None)
    assert latest is not None
    return checkpoints.values(latest).get("spent")


async def test_a_session_ends_when_its_tokens_are_used_up_and_goes_on_with_more() -> None:
    stand, models = stand_of([LOOK, LOOK, say("done", usage=Usage(1, 1))], tokens=150)
    async with stand.serving():
        told = await stand.stream(chat("go"))
        again = await stand.stream(chat(""))
    assert isinstance(told.error, LimitExceeded)
    assert told.error.detail == (
        "The session has used up its budget of 150 tokens (`platform.budgets.tokens`): 200 so far."
        " It can go on once the budget is raised."
    )
    assert (told.statuses[-1], told.log()[-1]["content"]) == ("FAILED", told.error.detail)
    assert (await stand.workflows.get("7")).status is Status.FAILED
    assert isinstance(again.error, LimitExceeded)
    assert len(models.asks) == 2
    richer = raised(stand, tokens=1_000)
    async with richer.serving():
        last = await richer.stream(chat(""))
    assert (last.error, last.log()[-1]["content"]) == (None, "done")
    assert await spent(richer) == {"tokens": 202, "cost": 3_000_000}


async def test_a_session_ends_when_its_money_is_used_up() -> None:
    stand, models = stand_of([LOOK, say("one", usage=Usage(1, 1)), say("two")], cost=1_250_000)
    stand = raised(stand, cost=2.5)
    async with stand.serving():
        told = await stand.stream(chat("go"))
        more = await stand.stream(chat("more"))
    assert told.error is None, "what was begun within the budget is answered"
    assert isinstance(more.error, LimitExceeded)
    assert "2.5 US dollars (`platform.budgets.cost`): 2.5 so far" in more.error.detail
    assert len(models.asks) == 2


async def test_the_sum_is_the_same_on_the_next_server(database: Database) -> None:
    def on(models: ScriptedModels) -> Stand:
        return Stand(
            models,
            workflows=SqlWorkflowStore(database, HandClock()),
            checkpoints=SqlCheckpointStore(database),
            leases=SqlLeases(database),
            settings=PlatformSettings(budgets=BudgetSettings(tokens=150)),
        )

    first = on(ScriptedModels(say("one", usage=Usage(90, 10))))
    async with first.serving():
        await first.stream(chat("go"))
    second = on(ScriptedModels(say("two", usage=Usage(40, 10)), say("three")))
    async with second.serving():
        told = await second.stream(chat("more"))
        last = await second.stream(chat("more"))
    assert told.error is None
    assert isinstance(last.error, LimitExceeded)
    assert ": 150 so far" in last.error.detail


async def test_a_summary_is_counted() -> None:
    lines = [*LOOKS, say("All is well.", usage=Usage(70, 7)), say("Done.", usage=Usage(1, 1))]
    stand, _ = stand_of(lines, tokens=1_000_000)
    async with stand.serving():
        told = await stand.stream(chat("go"))
    assert any(entry["message_sub_type"] == "compaction" for entry in told.log())
    assert await spent(stand) == {"tokens": 8 * 10 + 150_000 + 77 + 2, "cost": 10_000_000}


async def test_agents_that_work_is_handed_to_are_counted() -> None:
    lines = [call(hand()), call(READ), *[say("It is x.", usage=Usage(50, 50))] * 2]
    stand, models = stand_of(lines, tokens=350)
    async with stand.serving():
        told = await stand.stream(start(DELEGATING, "go"), caller=FLOWS)
    assert (told.error, told.statuses[-1], len(models.asks)) == (None, "FINISHED", 4)
    assert await spent(stand) == {"tokens": 400, "cost": 4_000_000}
    stand, models = stand_of(lines, tokens=150)
    async with stand.serving():
        told = await stand.stream(start(DELEGATING, "go"), caller=FLOWS)
    assert isinstance(told.error, LimitExceeded)
    assert len(models.asks) == 2


async def test_one_off_steps_are_counted() -> None:
    lines = [call(("c1", "read_file", '{"file_path":"a"}')), say("told")]
    stand, models = stand_of(lines, tokens=100)
    async with stand.serving():
        told = await stand.stream(start(ONCE, "go"), caller=FLOWS)
    assert isinstance(told.error, LimitExceeded)
    assert len(models.asks) == 1


async def test_a_try_that_failed_is_counted() -> None:
    broken: Line = [Delta(usage=Usage(30, 0)), UpstreamFailed("broke", retryable=True)]
    stand, models = stand_of([broken, say("ok", usage=Usage(5, 5))], tokens=1_000)
    async with wound(stand):
        told = await stand.stream(chat("go"))
    assert (told.error, len(models.asks)) == (None, 2)
    assert await spent(stand) == {"tokens": 40, "cost": 2_000_000}


async def test_who_goes_back_to_an_earlier_step_saves_nothing() -> None:
    lines = [say(str(number), usage=Usage(50, 50)) for number in range(3)]
    stand, _ = stand_of([*lines, say("last")], tokens=300)
    async with stand.serving():
        await stand.stream(chat("one"))
        fork = await stand.head("7")
        await stand.stream(chat("two"))
        third = await stand.stream(chat("three", resume_checkpoint_ts=fork))
        last = await stand.stream(chat("four", resume_checkpoint_ts=fork))
    assert third.error is None
    assert isinstance(last.error, LimitExceeded)


async def test_who_stops_a_flow_and_begins_anew_saves_nothing() -> None:
    config = copy.deepcopy(PLANNED)
    lines = [call(("r", "read_file", '{"file_path":"a"}')), say("plan", usage=Usage(50, 50))]
    stand, _ = stand_of([*lines, say("last")], tokens=200)
    async with stand.serving():
        await stand.stream(start(config, "a"), lambda _: stop("enough"))
        told = await stand.stream(start(config, "b"))
    assert told.error is None
    assert await spent(stand) == {"tokens": 200, "cost": 2_000_000}


async def test_without_a_budget_nothing_is_counted() -> None:
    stand, _ = stand_of([say("ok", usage=Usage(5, 5))])
    async with stand.serving():
        await stand.stream(chat("go"))
    assert await spent(stand) is None


@pytest.mark.parametrize("usage", [Usage(1, 1), None])
async def test_a_model_without_a_price_costs_nothing_and_that_is_said_once(
    usage: Usage | None,
) -> None:
    stand, _ = stand_of([say("one", usage=usage)], cost=None, tokens=10**9)
    stand = raised(stand, cost=0.000_001)
    async with stand.serving():
        for number in range(3):
            told = await stand.stream(chat(f"go {number}"))
            assert told.error is None
    (note,) = stand.sink.of(Noted)
    assert (note.event, dict(note.details)) == (NO_PRICE, {"model": "up-1"})


async def test_tokens_that_nobody_tells_are_estimated() -> None:
    stand, models = stand_of([say("x" * 4_000)], cost=None, tokens=1_000)
    async with stand.serving():
        await stand.stream(chat("go"))
        told = await stand.stream(chat("more"))
    assert isinstance(told.error, LimitExceeded)
    assert len(models.asks) == 1


async def test_an_instance_keeps_the_sum_and_the_commands_of_a_session() -> None:
    instance, headers = ForeignInstance(), {"x-gitlab-version": "19.3.0-ee"}
    told: list[Told] = []
    for goal, line in (("go", "one"), ("/compact", "never"), ("on", "two"), ("more", "three")):
        # Each turn on another server.
        stand = Stand(
            ScriptedModels(say(line, usage=Usage(40, 10))),
            stores=at_instance,
            settings=PlatformSettings(budgets=BudgetSettings(tokens=100)),
        )
        async with stand.serving():
            told.append(await stand.stream(chat(goal), instance, headers=headers))
    assert [one.error for one in told[:3]] == [None] * 3
    assert [entry["content"] for entry in told[2].log()][-2:] == ["on", "two"]
    assert isinstance(told[3].error, LimitExceeded)
    assert ": 100 so far" in told[3].error.detail
