"""The model of a session: from the header, from the record, and what is told of it."""

import json

import pytest

from isthmus.core.checkpoint import Thread
from isthmus.core.events import Noted
from isthmus.core.messages import ModelChoice
from isthmus.platform.opening import MODEL_HEADER
from tests.support.scripted_models import ScriptedModels, say
from tests.support.session_client import Stand, Told, chat

OTHER = {"scripted-2": ModelChoice("scripted-2", "scripted", "e", "up-2")}
SECOND = '{"name":"scripted-2","provider":"gitlab","endpoint":null,"identifier":null}'


async def turns(stand: Stand, *headers: str) -> list[Told]:
    sent = [{"x-gitlab-version": "18.7.0", MODEL_HEADER: header} for header in headers]
    async with stand.serving():
        return [await stand.stream(chat("hi"), headers=one) for one in sent]


def served(stand: Stand) -> list[str]:
    return [choice.id for _, choice, _ in stand.models.calls]


async def test_a12_64_the_header_decides_and_the_first_model_stays_with_the_record() -> None:
    stand = Stand(ScriptedModels(say("x"), known=OTHER))
    feature = '{"provider":"gitlab","feature_setting":"duo_agent_platform_agentic_chat"}'
    first, second, third = await turns(stand, SECOND, feature, "")
    assert served(stand) == ["scripted-2", "scripted-1", "scripted-2"]
    assert (await stand.workflows.get("7")).model == SECOND
    assert [told.notices[-1].model_metadata_json for told in (first, third)] == [SECOND, SECOND]
    assert json.loads(second.notices[-1].model_metadata_json)["name"] == "scripted-1"
    assert [None if w is None else w.name for w, _ in stand.models.wanted] == [
        *("scripted-2", "", "scripted-2"),
    ]


async def test_every_choice_is_drawn_among_a_features_defaults() -> None:
    stand = Stand(ScriptedModels(say("x")))
    await turns(stand, "")
    assert stand.models.wanted == [(None, frozenset({"ai_gateway_multi_default_models"}))]


@pytest.mark.parametrize(
    "header", ['{"provider":', "[]", '{"api_key":"s3cret"}', "x" * 20_000, "[" * 10_000]
)
async def test_i7_28_metadata_that_cannot_be_read_does_not_break_the_stream(header: str) -> None:
    stand = Stand(ScriptedModels(say("x"), known=OTHER))
    told, after = await turns(stand, header, header)
    assert (told.error, after.error) == (None, None)
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert served(stand) == ["scripted-1", "scripted-1"]
    noted = [fact for fact in stand.sink.of(Noted) if fact.level == "warning"]
    assert [fact.event for fact in noted] == ["model metadata cannot be read"] * 2
    assert header not in str(noted)


async def test_i7_28_a_record_whose_text_cannot_be_read_gets_the_default() -> None:
    stand = Stand(ScriptedModels(say("x")))
    async with stand.serving():
        await stand.stream(chat("hi"))
        await stand.workflows.pin("7", '{"provider')
        told = await stand.stream(chat("more"))
    assert told.error is None
    assert served(stand) == ["scripted-1", "scripted-1"]


async def test_i7_27_a_key_in_the_header_is_told_to_nobody() -> None:
    own = {"provider": "openai", "name": "scripted-2", "identifier": "m", "api_key": "s3cret-key"}
    own["endpoint"] = "https://models.example/v1"
    stand = Stand(ScriptedModels(say("x"), known=OTHER))
    (told,) = await turns(stand, json.dumps(own))
    kept = (await stand.workflows.get("7")).model
    assert json.loads(kept) == {
        "name": "scripted-2",
        "provider": "openai",
        "endpoint": "https://models.example/v1",
        "identifier": "m",
    }
    latest = await stand.checkpoints.get(Thread("7"), None)
    for text in (kept, str(told.actions), str(stand.sink.facts), str(latest)):
        assert "s3cret-key" not in text


async def test_a_model_that_is_gone_is_replaced_with_one_warning_in_the_log() -> None:
    stand = Stand(ScriptedModels(say("x")))
    gone = SECOND.replace("scripted-2", "scripted-9")
    first, second = await turns(stand, gone, gone)
    assert first.error is None
    assert served(stand) == ["scripted-1", "scripted-1"]
    warned = [e for e in second.log() if e["message_sub_type"] == "warning"]
    assert len(warned) == 1
    assert "scripted-9" in warned[0]["content"]
    assert [e["message_type"] for e in first.log()] == ["user", "agent", "agent"]
    assert json.loads((await stand.workflows.get("7")).model)["name"] == "scripted-1"
    assert "the model of a session is gone" in {fact.event for fact in stand.sink.of(Noted)}
