"""What sessions tell of themselves; and streams that end because their record was stopped."""

import asyncio
import copy
from dataclasses import replace

import pytest

from isthmus.contract.contract_pb2 import Action, ActionResponse, HttpResponse
from isthmus.core.errors import InsufficientCredits
from isthmus.core.events import SessionEnded
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use
from isthmus.core.session_facts import (
    ActionAnswered,
    AnswerShaped,
    Compacted,
    RouteTaken,
    SessionAsked,
    SessionRejected,
)
from isthmus.core.workflow import Status, StatusEvent, after
from isthmus.platform.credits import Credits
from isthmus.platform.endpoint import endpoint
from tests.contract.sessions.test_compaction import look, spoken
from tests.contract.sessions.test_flows import PARTIAL, once, start
from tests.contract.sessions.test_structured import CONFIG, FITS
from tests.support.memory_store import MemoryWorkflows
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import Reply, Stand, chat

READ = ("c1", "read_file", '{"file_path":"a"}')


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/v4/projects/7/issues/3?state=opened", "/api/v4/projects/:id/issues/:id"),
        ("/api/v4/projects/secret%2Fapp/repository/files/k.pem/raw", ""),
        ("/api/graphql#x", "/api/graphql"),
        ("//x/" + "users/" * 100, "/:id" + "/users" * 15),
        ("", "/"),
    ],
)
def test_a_route_names_nothing_of_anybody(path: str, route: str) -> None:
    raw = "/api/v4/projects/:id/repository/files/:id/raw"
    assert endpoint(path) == (route or raw)


async def test_the_start_of_a_stream_is_told_without_its_words() -> None:
    stand = Stand(ScriptedModels(say("x")))
    said = {"x-gitlab-version": "18.7.0", "x-gitlab-client-type": "browser"}
    async with stand.serving():
        await stand.stream(chat("my goal", workflowMetadata='{"a":"words"}'), headers=said)
    [asked] = stand.sink.of(SessionAsked)
    assert (asked.workflow_id, asked.definition) == ("7", "chat")
    assert dict(asked.client)["client_type"] == "browser"
    assert dict(asked.about)["has_flow_config"] is False
    assert "goal" not in str(asked)
    assert "words" not in str(asked)
    assert stand.sink.of(SessionRejected) == []
    assert stand.sink.of(SessionEnded)[0].mode == "start"


async def test_what_is_turned_away_is_told_with_the_reason() -> None:
    class NoMore:
        async def check(self, use: Use, caller: Caller, client: ClientInfo) -> None:
            del use, caller, client
            raise InsufficientCredits("no")

    stand = Stand(ScriptedModels(say("x")))
    async with stand.serving():
        await stand.stream(chat("hi"))
        await stand.stream(chat("hi", "8"), caller=Caller("user-1"))
        other = Caller("user-2", scopes=frozenset({"duo_chat"}))
        await stand.stream(chat("hi"), caller=other)
    told = [(one.workflow_id, one.reason) for one in stand.sink.of(SessionRejected)]
    assert told == [("8", "Forbidden"), ("7", "Invalid")]
    full = stand.limited(max_sessions=0)
    async with full.serving():
        await full.stream(chat("hi"))
    [told_full] = full.sink.of(SessionRejected)
    assert (told_full.definition, told_full.reason) == ("", "LimitExceeded")
    poor = Stand(ScriptedModels(say("x")), credits_=Credits(NoMore()))
    async with poor.serving():
        await poor.stream(chat("hi"))
    assert poor.sink.of(SessionRejected)[0].definition == "chat"


async def test_the_ways_of_a_flow_and_its_answers_are_told() -> None:
    counted = copy.deepcopy(CONFIG)
    counted["components"][0]["response_schema_tracking"] = True
    stand, _ = await once(ScriptedModels(use(FITS), say("Told.")), start(counted, "it"))
    [taken] = stand.sink.of(RouteTaken)
    assert (taken.component, taken.value, taken.default) == ("judge", "True", False)
    assert taken.workflow_id
    assert [one.component for one in stand.sink.of(AnswerShaped)] == ["judge"]
    elsewhere = ScriptedModels(use(("c1", "verdict", '{"ok":false}')))
    stand, _ = await once(elsewhere, start(CONFIG, "it"))
    [taken] = stand.sink.of(RouteTaken)
    assert (taken.value, taken.default) == ("invalid_route", True)
    assert stand.sink.of(AnswerShaped) == []


async def test_conversations_that_are_summed_up_are_told() -> None:
    stand, _ = await spoken(say("All is well so far."), say("Done."))
    [told] = stand.sink.of(Compacted)
    assert (told.workflow_id, told.definition, told.agent) == ("7", "chat", "agent")
    assert told.status == "success"
    assert told.duration_s >= 0
    stand, _ = await spoken(say("  "), look(8), say("Done."))
    assert [one.status for one in stand.sink.of(Compacted)] == ["empty"]


async def test_a_request_to_the_instance_is_told_by_its_route() -> None:
    asked = '{"endpoint":"projects/secret%2Fapp/issues/3"}'
    issue = ("c1", "gitlab_api_get", asked)

    def answered(action: Action) -> Reply:
        reply = HttpResponse(statusCode=200, body="{}")
        return ActionResponse(requestID=action.requestID, httpResponse=reply)

    reading = copy.deepcopy(PARTIAL)
    reading["components"][0]["toolset"] = ["gitlab_api_get"]
    stand = Stand(ScriptedModels(use(issue), say("ok")))
    async with stand.serving():
        first = start(reading, "go", preapproved_tools=["gitlab_api_get"])
        await stand.stream(first, answered)
    [told] = stand.sink.of(ActionAnswered)
    assert (told.method, told.status) == ("GET", 200)
    assert told.endpoint == "/api/v4/projects/:id/issues/:id"


async def test_a_record_that_is_stopped_ends_its_stream() -> None:
    stand = Stand(ScriptedModels(use(READ), say("never")))
    assert isinstance(stand.workflows, MemoryWorkflows)
    workflows = stand.workflows

    def stopping(action: Action) -> Reply:
        assert action.HasField("runReadFile")
        record = workflows.records["7"]
        stopped = after(record.status, StatusEvent.STOP)
        workflows.records["7"] = replace(record, status=stopped)
        return None

    async with asyncio.timeout(20), stand.serving():
        told = await stand.stream(chat("go"), stopping)
        assert told.error is None
        assert told.statuses[-1] == "STOPPED"
        [ended] = stand.sink.of(SessionEnded)
        assert (ended.outcome, ended.reason) == ("stopped", "record")
        # The next turn begins with a record that says `stopped`, and is not stopped by it.
        models = ScriptedModels(use(READ), say("on"))
        again = Stand(models, workflows=workflows, checkpoints=stand.checkpoints)

        async with again.serving():
            told = await again.stream(chat("more"))
    assert told.error is None
    assert (await workflows.get("7")).status is Status.INPUT_REQUIRED
