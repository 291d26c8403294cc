"""Several agents that are handed work at once. Agent-platform contract, 7.3 (parallel)."""

import asyncio
import copy
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from isthmus.contract.contract_pb2 import Action, Approval, StartWorkflowRequest
from isthmus.core.errors import LimitExceeded, StoreDown, UpstreamFailed
from isthmus.core.identity import Caller
from isthmus.core.messages import Chat, Delta, ModelChoice, Text, ToolResult
from isthmus.core.workflow import Status
from isthmus.platform.engine.components.parallel_step import AT_ONCE
from isthmus.routing.ask import Ask
from tests.contract.sessions.test_delegation import CONFIG, READ
from tests.contract.sessions.test_flows import start
from tests.support.scripted_models import Line, ScriptedModels, say, use
from tests.support.session_client import Reply, Stand, Told, answer

FLAG = {"x-gitlab-version": "19.0.0", "x-gitlab-enabled-feature-flags": "a,dap_parallel_subagents"}
AGREED = Approval(approval=Approval.Approved())
BOSS = "go"
ONE, TWO = "Task 1.", "Task 2."

TEAM: dict[str, Any] = copy.deepcopy(CONFIG)
TEAM["components"][0] |= {"parallel_subagents": True, "max_delegations": 3}
TEAM["components"][1]["toolset"] = ["read_file", "mkdir", "create_plan", "add_new_task"]

ASKING: dict[str, Any] = copy.deepcopy(TEAM)
ASKING["components"][1] |= {"require_tool_approval": True, "pre_approved_tools": ["read_file"]}


class Cast(ScriptedModels):
    """Plays each agent's own lines: an agent is known by the first words of its user.

    `before` is waited for ahead of an answer, with those words.
    """

    def __init__(self, **parts: list[Line]) -> None:
        super().__init__(say("never"))
        self._parts = {{"boss": BOSS, "one": ONE, "two": TWO}[name]: parts[name] for name in parts}
        self.before: Callable[[str], Any] | None = None
        self.heard: dict[str, list[Chat]] = {}

    async def stream(
        self, ask: Ask, choice: ModelChoice, caller: Caller
    ) -> AsyncGenerator[Delta, None]:
        self.calls.append((ask, choice, caller))
        assert isinstance(ask.prompt, Chat)
        first = next(m for m in ask.prompt.messages if m.role == "user").parts[0]
        assert isinstance(first, Text)
        self.heard.setdefault(first.text, []).append(ask.prompt)
        if self.before is not None:
            await self.before(first.text)
        for item in self._parts[first.text].pop(0):
            if isinstance(item, Exception):
                raise item
            yield item


def hand(number: int, **changes: Any) -> tuple[str, str, str]:
    said = {"subagent_name": "reader", "description": f"no. {number}", "prompt": f"Task {number}."}
    return (f"d{number}", "delegate_task", json.dumps(said | changes))


def make(name: str) -> Line:
    return use(("m1", "mkdir", json.dumps({"directory_path": name})))


BOTH = use(hand(1), hand(2))
DONE = say("Done.")


async def led(
    models: Cast, config: dict[str, Any] = TEAM, headers: dict[str, str] = FLAG
) -> tuple[Stand, Told]:
    stand = Stand(models)
    async with stand.serving():
        return stand, await stand.stream(start(config, BOSS), headers=headers)


def results(models: Cast, who: str = BOSS) -> list[ToolResult]:
    messages = models.heard[who][-1].messages
    return [part for one in messages for part in one.parts if isinstance(part, ToolResult)]


def shown(told: Told) -> list[tuple[str | None, str | None, str | None]]:
    keys = ("message_sub_type", "component_name", "subsession_id")
    return [(e.get(keys[0]), e.get(keys[1]), e.get(keys[2])) for e in told.log()]


async def test_two_work_side_by_side_and_come_back_in_the_order_of_their_calls() -> None:
    models = Cast(
        boss=[BOTH, DONE], one=[use(READ), use(READ), say("It is x.")], two=[say("It is y.")]
    )
    both = asyncio.Barrier(2)
    met: list[str] = []

    async def meet(who: str) -> None:
        if who != BOSS and len(met) < 2:
            met.append(who)
            async with asyncio.timeout(10):
                await both.wait()

    models.before = meet
    _, told = await led(models)
    assert told.error is None
    assert told.statuses[-1] == "FINISHED"
    assert sorted(met) == [ONE, TWO]
    assert [one.text.splitlines()[:2] for one in results(models)] == [
        ['<delegation_result subagent="reader" subsession_id="1">', "It is x."],
        ['<delegation_result subagent="reader" subsession_id="2">', "It is y."],
    ]
    assert [one.tool_use_id for one in results(models)] == ["d1", "d2"]
    tool = models.heard[BOSS][0].tools[-1]
    assert set(tool.schema["properties"]) == {"subagent_name", "description", "prompt"}  # type: ignore[call-overload]
    assert "at the same time" in tool.description
    assert shown(told)[1:] == [
        ("delegation", "boss", "1"),
        ("delegation", "boss", "2"),
        (None, "reader", "2"),
        ("delegation_returns", "boss", "2"),
        ("read_file", "reader", "1"),
        ("read_file", "reader", "1"),
        (None, "reader", "1"),
        ("delegation_returns", "boss", "1"),
        (None, "boss", None),
    ]
    assert told.log()[1]["content"] == "reader: no. 1"
    # Each has a history of its own.
    assert "Task 2." not in str(models.heard[ONE])
    assert "It is x." not in str(models.heard[TWO])


async def test_calls_of_one_name_are_told_apart() -> None:
    models = Cast(boss=[BOTH, DONE], one=[use(READ), say("x")], two=[use(READ), say("y")])
    _, told = await led(models)
    assert told.error is None
    ids = {e["message_id"] for e in told.log() if e["message_sub_type"] == "read_file"}
    assert len(ids) == 2
    assert [len(results(models, who)) for who in (ONE, TWO)] == [1, 1]


async def test_no_more_than_a_few_work_at_the_same_moment() -> None:
    config = copy.deepcopy(TEAM)
    del config["components"][0]["max_delegations"]
    everybody = use(*(hand(1) for _ in range(AT_ONCE + 4)))
    models = Cast(boss=[everybody, DONE], one=[say("x")] * (AT_ONCE + 4))
    now, most = 0, 0

    async def count(who: str) -> None:
        nonlocal now, most
        if who != BOSS:
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.01)
            now -= 1

    models.before = count
    _, told = await led(models, config)
    assert told.error is None
    assert len(results(models)) == AT_ONCE + 4
    assert most == AT_ONCE


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (use(hand(1), ("m1", "mkdir", '{"directory_path":"a"}')), "no other calls"),
        (use(hand(1), hand(2, subagent_name="nobody")), "it must be one of"),
        (use(hand(1, subsession_id=1)), "no such field"),
        (use(("d1", "delegate_task", '{"subagent_name":"reader","prompt":"p"}')), "description"),
        (use(hand(1), hand(2), hand(1), hand(2)), "Of 3 delegations 3 are left"),
    ],
)
async def test_a_batch_with_one_wrong_delegation_runs_nothing(wrong: Line, text: str) -> None:
    models = Cast(boss=[wrong, DONE])
    _, told = await led(models)
    assert told.error is None
    assert told.work == []
    assert all(one.failed and text in one.text for one in results(models))
    assert len(results(models)) == sum(isinstance(d, Delta) and bool(d.tool_use) for d in wrong)
    (entry,) = (e for e in told.log() if e["message_sub_type"] == "delegation_error")
    assert entry["status"] == "failure"


async def test_delegations_are_counted_over_batches() -> None:
    models = Cast(boss=[BOTH, use(hand(1), hand(2)), DONE], one=[say("x")], two=[say("y")])
    _, told = await led(models)
    assert told.error is None
    assert [one.failed for one in results(models)] == [False, False, True, True]
    assert "Of 3 delegations 1 are left" in results(models)[-1].text


@pytest.mark.parametrize("headers", [{"x-gitlab-version": "19.0.0"}, FLAG], ids=["off", "on"])
async def test_both_the_flag_and_the_flow_switch_it_on(headers: dict[str, str]) -> None:
    config = copy.deepcopy(TEAM)
    config["components"][0]["parallel_subagents"] = headers is not FLAG
    models = Cast(boss=[BOTH, DONE])
    _, told = await led(models, config, headers)
    assert told.error is None
    assert all("the only call" in one.text for one in results(models))


@pytest.mark.parametrize(
    "failure", [UpstreamFailed("its own words"), LimitExceeded("It is stuck.", 0.0)]
)
async def test_one_that_fails_loses_nothing_of_the_others(failure: Exception) -> None:
    models = Cast(boss=[BOTH, DONE], one=[[failure]], two=[use(READ), say("It is y.")])
    _, told = await led(models)
    assert told.error is None
    assert told.statuses[-1] == "FINISHED"
    first, second = results(models)
    assert first.failed
    assert "reader failed" in first.text
    assert "its own words" not in first.text
    assert "It is y." in second.text
    assert ("delegation_error", "boss", "1") in shown(told)


async def test_the_last_one_may_fail_when_the_others_are_back() -> None:
    models = Cast(
        boss=[BOTH, DONE], one=[say("It is x.")], two=[use(READ), [UpstreamFailed("down")]]
    )
    _, told = await led(models)
    assert told.error is None
    assert [one.failed for one in results(models)] == [False, True]


async def test_where_all_fail_the_session_fails_and_goes_on_with_all() -> None:
    models = Cast(
        boss=[BOTH, DONE],
        one=[use(READ), [UpstreamFailed("down")], say("It is x.")],
        two=[use(READ), [UpstreamFailed("down")], say("It is y.")],
    )
    stand = Stand(models)
    async with stand.serving():
        failed = await stand.stream(start(TEAM, BOSS), headers=FLAG)
        told = await stand.stream(start(TEAM), headers=FLAG)
    assert [failed.statuses[-1], told.statuses[-1]] == ["FAILED", "FINISHED"]
    assert [len(failed.work), len(told.work)] == [2, 0]
    assert ["It is x." in results(models)[0].text, "It is y." in results(models)[1].text] == [
        *(True, True)
    ]


async def test_what_is_no_agents_failure_is_the_sessions() -> None:
    models = Cast(boss=[BOTH, DONE], one=[[StoreDown("down")], say("x")], two=[say("y")])
    _, told = await led(models)
    assert told.statuses[-1] == "PAUSED"


async def decided(models: Cast, *approvals: Approval, config: Any = ASKING) -> list[Told]:
    stand = Stand(models)
    async with stand.serving():
        told = [await stand.stream(start(config, BOSS), headers=FLAG)]
        for approval in approvals:
            told.append(await stand.stream(start(config, approval=approval), headers=FLAG))
    return told


async def test_the_record_waits_for_nobody_while_one_works() -> None:
    models = Cast(boss=[BOTH], one=[make("a")], two=[use(READ), use(READ), make("b")])
    stand = Stand(models)
    seen: list[Status] = []

    async def look(_: str) -> None:
        seen.append((await stand.workflows.get("7")).status)

    models.before = look
    async with stand.serving():
        told = await stand.stream(start(ASKING, BOSS), headers=FLAG)
    assert told.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert seen == [Status.RUNNING] * 5
    assert (await stand.workflows.get("7")).status is Status.TOOL_CALL_APPROVAL_REQUIRED


async def test_two_that_ask_are_agreed_to_together() -> None:
    models = Cast(boss=[BOTH, DONE], one=[make("a"), say("x")], two=[make("b"), say("y")])
    asked, told = await decided(models, AGREED)
    assert asked.error is None
    assert asked.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert asked.work == []
    assert [e["tool_info"]["args"]["directory_path"] for e in asked.log()[-2:]] == ["a", "b"]
    assert asked.kinds[-2:] == ["request", "request"]
    assert [a.mkdir.directory_path for a in told.work] == ["./a", "./b"]
    assert told.statuses[-1] == "FINISHED"
    assert [one.failed for one in results(models)] == [False, False]


async def test_who_asks_waits_until_nobody_works() -> None:
    models = Cast(
        boss=[BOTH, DONE],
        one=[make("a"), say("x")],
        two=[use(READ), use(READ), make("b"), make("c"), say("y")],
    )
    asked, again, told = await decided(models, AGREED, AGREED)
    assert [a.WhichOneof("action") for a in asked.work] == ["runReadFile"] * 2
    assert asked.kinds[-2:] == ["request", "request"]
    assert "TOOL_CALL_APPROVAL_REQUIRED" not in asked.statuses[:-1]
    assert again.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert [a.mkdir.directory_path for a in again.work] == ["./a", "./b"]
    assert [a.mkdir.directory_path for a in told.work] == ["./c"]
    assert told.statuses[-1] == "FINISHED"


@pytest.mark.parametrize("words", ["", "Use another name."])
async def test_two_that_ask_are_rejected_together(words: str) -> None:
    models = Cast(boss=[BOTH, DONE], one=[make("a"), say("x")], two=[make("b"), say("y")])
    reject = Approval(rejection=Approval.Rejected(message=words or None))
    _, told = await decided(models, reject)
    assert told.work == []
    assert told.statuses[-1] == "FINISHED"
    for who in (ONE, TWO):
        assert [one.failed for one in results(models, who)] == [True]
        assert (words in str(models.heard[who][-1].messages[-1])) or not words
    assert told.kinds.count("user") == (1 if words else 0)


async def killed(stand: Stand, first: StartWorkflowRequest) -> Stand:
    """Another server on the same records, when this one is gone with two actions in the air."""
    asked = asyncio.Event()
    open_actions: list[Action] = []

    def hold(action: Action) -> Reply:
        open_actions.append(action)
        if len(open_actions) == 2:
            asked.set()
        return None

    async with asyncio.TaskGroup() as group:
        client = group.create_task(stand.stream(first, hold, headers=FLAG))
        await asked.wait()
        await stand.host.drain(0.0)
        await asyncio.wait({client})
    return Stand(
        stand.models,
        workflows=stand.workflows,
        checkpoints=stand.checkpoints,
        leases=stand.leases,
        ledger=stand.ledger,
    )


async def test_another_server_goes_on_with_all_of_them() -> None:
    models = Cast(
        boss=[BOTH, DONE], one=[use(READ), say("It is x.")], two=[use(READ), say("It is y.")]
    )
    async with Stand(models).serving() as dead:
        stand = await killed(dead, start(TEAM, BOSS))
    async with stand.serving():
        told = await stand.stream(start(TEAM), answer, headers=FLAG)
    assert told.error is None
    assert [a.runReadFile.filepath for a in told.work] == ["a", "a"]
    assert told.statuses[-1] == "FINISHED"
    assert [len(models.heard[who]) for who in (BOSS, ONE, TWO)] == [2, 2, 2]
    assert "It is x." in results(models)[0].text


async def test_what_a_lost_server_left_in_doubt_is_asked_about_together() -> None:
    models = Cast(boss=[BOTH, DONE], one=[make("a"), say("x")], two=[make("b"), say("y")])
    async with Stand(models).serving() as dead:
        await dead.stream(start(ASKING, BOSS), headers=FLAG)
        stand = await killed(dead, start(ASKING, approval=AGREED))
    async with stand.serving():
        asked = await stand.stream(start(ASKING), headers=FLAG)
        told = await stand.stream(start(ASKING, approval=AGREED), headers=FLAG)
    assert (asked.error, asked.work) == (None, [])
    assert asked.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert ["unknown. May it run again?" in e["content"] for e in asked.log()[-2:]] == [True, True]
    assert [a.mkdir.directory_path for a in told.work] == ["./a", "./b"]
    assert told.statuses[-1] == "FINISHED"


async def test_no_change_of_the_plan_is_lost() -> None:
    plan = use(("p1", "create_plan", '{"tasks":["one"]}'))
    more = use(("p2", "add_new_task", '{"description":"two"}'))
    models = Cast(boss=[BOTH, DONE], one=[plan, say("x")], two=[more, say("y")])
    _, told = await led(models)
    assert told.error is None
    steps = json.loads(told.notices[-1].checkpoint)["channel_values"]["plan"]["steps"]
    assert [step["description"] for step in steps] == ["one", "two"]
