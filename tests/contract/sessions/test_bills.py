"""What a session costs: credits before it begins, announcements, and the bill at its end."""

import pytest

from isthmus.contract.contract_pb2 import Action, ActionResponse, PlainTextResponse
from isthmus.core.errors import InsufficientCredits, NotEntitled, UpstreamFailed
from isthmus.core.events import ModelUse, SessionBilled
from isthmus.core.messages import Usage
from isthmus.platform.credits import Credits
from tests.support.quota import Counting
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import Reply, Stand, answer, chat

HEADERS = {"x-gitlab-version": "19.0.0", "x-gitlab-self-hosted-dap-billing-enabled": "1"}
READ = use(("c1", "read_file", '{"file_path":"a"}'))


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (InsufficientCredits("None left."), "USAGE_QUOTA_EXCEEDED"),
        (NotEntitled("Not for you."), "USAGE_QUOTA_NOT_ENTITLED"),
    ],
)
async def test_a12_25_without_credits_no_session_begins(refusal: Exception, code: str) -> None:
    quota = Counting(refusal)
    stand = Stand(ScriptedModels(say("hi")), credits_=Credits(quota))
    async with stand.serving():
        told = await stand.stream(chat("go"))
    assert type(told.error) is type(refusal)
    assert str(told.error).endswith(f". Error code: {code}")
    assert told.actions == []
    assert [asked.feature for asked in quota.asked] == ["chat"]


async def test_a_stream_that_ends_well_is_billed_once_with_all_that_it_used() -> None:
    lines = READ, say("hi", usage=Usage(10, 4, 3, 2))
    stand = Stand(ScriptedModels(*lines))
    async with stand.serving():
        await stand.stream(chat("go", preapproved_tools=["read_file"]))
    (bill,) = stand.sink.of(SessionBilled)
    assert (bill.workflow_id, bill.feature, bill.catalogued) == ("7", "chat", False)
    assert bill.used == (
        ("model", ModelUse("agent", "up-1", "duo_agent_platform_agentic_chat", "scripted", 0, 0)),
        (
            "model",
            ModelUse("agent", "up-1", "duo_agent_platform_agentic_chat", "scripted", 10, 4, 3, 2),
        ),
        ("tool", "read_file"),
    )


async def test_a_stream_that_fails_or_asks_no_model_is_not_billed() -> None:
    failing = Stand(ScriptedModels([UpstreamFailed("no", status=400)]))
    async with failing.serving():
        await failing.stream(chat("go"))
    assert failing.sink.of(SessionBilled) == []


@pytest.mark.parametrize("error", ["", "the cloud is out of reach"])
async def test_each_model_call_of_a_customers_own_is_announced_and_goes_on(error: str) -> None:
    def counting(action: Action) -> Reply:
        if action.HasField("trackLlmCallForSelfHosted"):
            plain = PlainTextResponse(error=error)
            return ActionResponse(requestID=action.requestID, plainTextResponse=plain)
        return answer(action)

    stand = Stand(ScriptedModels(READ, say("hi")), metered=True)
    async with stand.serving():
        start = chat("go", preapproved_tools=["read_file"])
        told = await stand.stream(start, counting, headers=HEADERS)
    assert told.statuses[-1] == "INPUT_REQUIRED"
    kinds = [action.WhichOneof("action") for action in told.work]
    assert kinds == ["trackLlmCallForSelfHosted", "runReadFile", "trackLlmCallForSelfHosted"]
    announced = told.work[0].trackLlmCallForSelfHosted
    assert (announced.workflowID, announced.featureQualifiedName) == ("7", "chat")
    assert stand.sink.of(SessionBilled) == [], "the other server bills it"


async def test_nothing_is_announced_unless_server_and_client_want_it() -> None:
    for metered, headers in ((False, HEADERS), (True, {"x-gitlab-version": "19.0.0"})):
        stand = Stand(ScriptedModels(say("hi")), metered=metered)
        async with stand.serving():
            told = await stand.stream(chat("go"), headers=headers)
        assert told.work == []
