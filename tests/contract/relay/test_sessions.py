"""The relay before our own platform, with models that play a script and real stores.

Source: instance contract, sections 3.12, 3.13 and 5.1 (c).
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.core.workflow import Status
from isthmus.edge.instance import InstanceServices
from isthmus.platform.keeping import at_instance
from tests.support.instance_stand import InstanceStand
from tests.support.relay_stand import Frame, Heard, RelayStand, open_relay, plain, say
from tests.support.scripted_models import Line, ScriptedModels, use
from tests.support.scripted_models import say as says
from tests.support.session_client import Stand

LS = ("c1", "run_command", '{"program":"ls","args":"-l"}')
READ = ("c2", "read_file", '{"file_path":"a.py"}')


@dataclass(frozen=True)
class Home:
    """A directory for a database, and where sessions keep their records: in it, or behind it."""

    directory: Path
    at_instance: bool


@pytest.fixture(params=["embedded", "instance"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    return Home(tmp_path, request.param == "instance")


@asynccontextmanager
async def sessions(home: Home, *lines: Line) -> AsyncIterator[RelayStand]:
    """A relay whose sessions run in this process; the model says these lines."""
    stands: list[Stand] = []

    def local(people: InstanceStand, services: InstanceServices) -> InstanceServices:
        stores = people.stores
        models = ScriptedModels(*lines)
        stand = Stand(
            models,
            workflows=stores.workflows,
            checkpoints=stores.checkpoints,
            leases=stores.leases,
            ledger=stores.ledger,
            stores=at_instance if home.at_instance else None,
        )
        stands.append(stand)
        return replace(services, sessions=stand.host)

    async with open_relay(home.directory, change=local) as relay, stands[0].serving():
        yield relay


async def turn(relay: RelayStand, workflow_id: str, **start: Any) -> Heard:
    """One turn of the chat."""
    told = {"workflowDefinition": "chat", "goal": "", **start}
    return await relay.run(told, workflow_id=workflow_id, answer=plain)


async def status(relay: RelayStand, workflow_id: str) -> Status:
    return (await relay.instance.workflows.own(relay.people.alice.member, workflow_id)).status


def work(heard: Heard) -> list[Frame]:
    return [frame for frame in heard.frames if "newCheckpoint" not in frame]


def texts(heard: Heard, message_id: str) -> list[str]:
    """The text of a message as it grew, notice by notice."""
    notices = range(len(heard.statuses))
    entries = [entry for place in notices for entry in heard.log(place)]
    return [entry["content"] for entry in entries if entry["message_id"] == message_id]


async def test_trace_1_a_plain_turn_and_the_next_one(home: Home) -> None:
    async with sessions(home, says("Hel", "lo"), says("Again")) as relay:
        workflow_id = await relay.workflow(definition="chat")
        first = await turn(relay, workflow_id, goal="hi")
        assert (first.code, first.statuses[-1]) == (1000, "INPUT_REQUIRED")
        assert first.log()[-1]["content"] == "Hello"
        assert await status(relay, workflow_id) is Status.INPUT_REQUIRED
        second = await turn(relay, workflow_id, goal="and?")
        assert second.log()[-1]["content"] == "Again"


async def test_i7_50_message_ids_are_unique_and_texts_only_grow(home: Home) -> None:
    async with sessions(home, says("Hel", "lo"), says("Again")) as relay:
        workflow_id = await relay.workflow(definition="chat")
        turns = [await turn(relay, workflow_id, goal=goal) for goal in ("hi", "and?")]
        logs = [heard.log() for heard in turns]
        assert logs[1][: len(logs[0])] == logs[0], "indexes are stable"
        ids = [entry["message_id"] for entry in logs[1]]
        assert len(set(ids)) == len(ids)
        for heard in turns:
            grown = texts(heard, heard.log()[-1]["message_id"])
            assert all(new.startswith(old) for old, new in itertools.pairwise(grown))


async def test_i7_49_the_server_closes_and_a_new_socket_brings_the_decision(
    home: Home,
) -> None:
    decisions: tuple[dict[str, Any], ...] = (
        {"approval": {}},
        {"approval": {"tool_name": "run_command", "tool_args_json": "{}"}},
    )
    for number, approval in enumerate(decisions):
        place = replace(home, directory=home.directory / str(number))
        place.directory.mkdir()
        async with sessions(place, use(LS), says("Done")) as relay:
            workflow_id = await relay.workflow(definition="chat")
            asked = await turn(relay, workflow_id, goal="list them")
            assert asked.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
            assert asked.code == 1000
            assert work(asked) == []
            # Clients repeat their goal with the decision: the decision is what counts.
            went_on = await turn(relay, workflow_id, goal="list them", approval=approval)
            assert [next(iter(frame.keys() - {"requestID"})) for frame in work(went_on)] == [
                "runCommand"
            ]
            assert went_on.statuses[-1] == "INPUT_REQUIRED"
            assert went_on.log()[-1]["content"] == "Done"
            users = [e for e in went_on.log() if e["message_type"] == "user"]
            assert len(users) == 1


async def test_i7_49_a_rejection_goes_on_without_the_call(home: Home) -> None:
    async with sessions(home, use(LS), says("Then not")) as relay:
        workflow_id = await relay.workflow(definition="chat")
        await turn(relay, workflow_id, goal="list them")
        rejection = {"rejection": {"message": "User rejected"}}
        heard = await turn(relay, workflow_id, goal="list them", approval=rejection)
        assert work(heard) == []
        assert heard.log()[-1]["content"] == "Then not"


async def test_i7_51_a_stopped_session_goes_on_with_the_next_turn(home: Home) -> None:
    async with sessions(home, use(READ), says("Back")) as relay:
        workflow_id = await relay.workflow(definition="chat")
        stop = {"stopWorkflow": {"reason": "USER_ACTION_TRIGGERED_STOP"}}
        heard = await relay.run(
            {"workflowDefinition": "chat", "goal": "read it"},
            workflow_id=workflow_id,
            answer=lambda frame: stop if "runReadFile" in frame else None,
        )
        assert (heard.code, heard.statuses[-1]) == (1000, "STOPPED")
        assert await status(relay, workflow_id) is Status.STOPPED
        again = await turn(relay, workflow_id, goal="go on")
        assert (again.code, again.statuses[-1]) == (1000, "INPUT_REQUIRED")


async def test_i7_64_a_client_that_closes_after_an_action_can_come_back(home: Home) -> None:
    async with sessions(home, use(READ), says("Back")) as relay:
        workflow_id = await relay.workflow(definition="chat")
        async with relay.connect() as socket:
            start = {"workflowID": workflow_id, "workflowDefinition": "chat", "goal": "read it"}
            await say(socket, {"startRequest": start})
            while b"runReadFile" not in await socket.recv(decode=False):
                pass
            await socket.close(1000, "Client closing")
        async with asyncio.timeout(10):
            while await status(relay, workflow_id) is not Status.STOPPED:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            while not relay.instance.locks.take(workflow_id):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        relay.instance.locks.free(workflow_id)
        again = await turn(relay, workflow_id, goal="go on")
        assert (again.code, again.statuses[-1]) == (1000, "INPUT_REQUIRED")


async def test_i7_45_a_close_while_the_user_is_awaited_leaves_the_record(home: Home) -> None:
    async with sessions(home, says("Hello")) as relay:
        workflow_id = await relay.workflow(definition="chat")
        async with relay.connect() as socket:
            start = {"workflowID": workflow_id, "workflowDefinition": "chat", "goal": "hi"}
            await say(socket, {"startRequest": start})
            while b"INPUT_REQUIRED" not in await socket.recv(decode=False):
                pass
            await socket.close(1000)
        assert await status(relay, workflow_id) is Status.INPUT_REQUIRED
        again = await turn(relay, workflow_id, goal="more")
        assert again.statuses[-1] == "INPUT_REQUIRED"


async def test_i7_63_an_empty_decision_is_none(home: Home) -> None:
    async with sessions(home, says("Hello")) as relay:
        workflow_id = await relay.workflow(definition="chat")
        heard = await turn(
            relay, workflow_id, goal="hi", approval={}, preapproved_tools=["grep", "grep"]
        )
        assert heard.log()[-1]["content"] == "Hello"
