"""Answers of no use: cut off at their length, or with calls that nobody can read.

Agent-platform contract, 7.3 and 9.6.
"""

import json

from isthmus.core.errors import LimitExceeded
from isthmus.core.messages import Delta, Text, ToolUse, Usage
from isthmus.platform import faulty
from tests.contract.sessions.test_delegation import hand, led
from tests.contract.sessions.test_flows import FIXED, once, spoken, start
from tests.contract.sessions.test_one_off import CONFIG as ONCE
from tests.support.scripted_models import Line, ScriptedModels, say, use
from tests.support.session_client import Stand, Told, chat

MALFORMED = use(("c", "list_dir", '{"directory":'))
LOOK = use(("c", "list_dir", '{"directory":"."}'))


def cut(text: str = "") -> Line:
    """An answer that ends where it may not go on, within a call of a tool."""
    half = Delta(tool_use=ToolUse("c", "list_dir", '{"directory":"."}'))
    end = Delta(finish="length", usage=Usage(10, 90))
    return [Delta(text=text), half, end] if text else [half, end]


async def talk(*lines: Line, capabilities: tuple[str, ...] = ()) -> tuple[Stand, Told]:
    stand = Stand(ScriptedModels(*lines))
    async with stand.serving():
        return stand, await stand.stream(chat("go", clientCapabilities=capabilities))


def shown(told: Told) -> dict[str, str]:
    """What a client that replaces messages by their ids has in the end."""
    kept: dict[str, str] = {}
    for notice in told.notices:
        log = json.loads(notice.checkpoint)["channel_values"]["ui_chat_log"]
        kept |= {entry["message_id"]: entry["content"] for entry in log}
    return kept


async def test_an_answer_that_was_cut_off_is_asked_for_anew_and_shown_as_one() -> None:
    stand, told = await talk(
        cut("A very long story"), say("Short."), capabilities=("incremental_streaming",)
    )
    assert (told.error, told.statuses[-1], told.work) == (None, "INPUT_REQUIRED", [])
    assert spoken(stand)[-2:] == [("assistant", "A very long story"), ("user", faulty.CUT)]
    assert list(shown(told).values()) == ["go", "Short."]


async def test_after_five_more_tries_the_session_fails() -> None:
    stand, told = await talk(cut("So long"))
    assert isinstance(told.error, LimitExceeded)
    assert "its answers are too long" in told.error.detail
    assert len(stand.models.asks) == 6
    assert told.work == []
    assert told.statuses[-1] == "FAILED"


async def test_an_answer_of_use_begins_the_count_anew() -> None:
    stand, told = await talk(*[cut()] * 5, LOOK, *[cut()] * 5, say("Done."))
    assert told.error is None
    assert len(stand.models.asks) == 12
    assert [a.WhichOneof("action") for a in told.work] == ["listDirectory"]


async def test_a_flows_agent_is_asked_anew_as_well() -> None:
    stand, (told,) = await once(
        ScriptedModels(cut("It is s"), say("It is so.")), start(FIXED, "tell me")
    )
    assert (told.error, told.statuses[-1]) == (None, "FINISHED")
    assert stand.models.prompt().messages[-1].parts == (Text(faulty.CUT),)


async def test_an_agent_that_work_was_handed_to_is_asked_anew() -> None:
    _, told = await led(use(hand()), cut("It is"), say("It is x."), say("Done."))
    assert (told.error, told.statuses[-1]) == (None, "FINISHED")


async def test_a_one_off_step_that_was_cut_off_did_not_fail() -> None:
    read = use(("c1", "read_file", '{"file_path":"a"}'))
    models = ScriptedModels(*[cut("I read")] * 4, read, say("told"))
    stand, (told,) = await once(models, start(ONCE, "go"))
    assert (told.error, told.statuses[-1]) == (None, "FINISHED")
    assert len(stand.models.asks) == 6


async def test_calls_that_cannot_be_read_are_answered_three_times() -> None:
    stand, told = await talk(*[MALFORMED] * 3, say("I give up."))
    assert told.error is None
    stand, told = await talk(MALFORMED)
    assert isinstance(told.error, LimitExceeded)
    assert "its tool calls cannot be read" in told.error.detail
    assert len(stand.models.asks) == 4
    assert told.work == []


async def test_a_call_that_can_be_read_begins_that_count_anew() -> None:
    bad = [MALFORMED] * 3
    _, told = await talk(*bad, LOOK, *bad, say("Done."))
    assert told.error is None
