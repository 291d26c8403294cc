"""Slash commands in a conversation. Agent-platform contract, 7.13."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from isthmus.core.checkpoint import CheckpointQuery
from isthmus.core.errors import UpstreamFailed
from isthmus.core.events import ModelUse, Noted, SessionBilled
from isthmus.core.identity import Caller
from isthmus.core.messages import Delta, ModelChoice, Text, ToolResult, Usage
from isthmus.platform import checkpoints, compaction
from isthmus.platform.engine.components.command_step import FAILED, SUMMED_UP, TOO_LITTLE
from isthmus.routing.ask import Ask
from tests.contract.sessions.test_compaction import look
from tests.contract.sessions.test_endings import until_asked
from tests.contract.sessions.test_turns import WRITE
from tests.support.framed import FRAME
from tests.support.scripted_models import Line, ScriptedModels, say
from tests.support.session_client import COMMANDS, Stand, Told, chat

LOOKS = [look(number) for number in range(7)]
SUMMARY = say("All is well.", usage=Usage(70, 7))


async def talked(*lines: Line, said: tuple[str, ...]) -> tuple[Stand, list[Told]]:
    """A conversation with some history, and then these words."""
    stand = Stand(ScriptedModels(*LOOKS, say("Looked."), *lines))
    async with stand.serving():
        first = await stand.stream(chat("go"))
        assert first.error is None
        return stand, [await stand.stream(chat(words)) for words in said]


async def test_a_conversation_is_summed_up_when_the_user_wants_it() -> None:
    stand, (told, after) = await talked(
        SUMMARY, say("Onward."), said=("/compact the names of files", "and now?")
    )
    assert (told.error, told.statuses[-1], told.work) == (None, "INPUT_REQUIRED", [])
    asked, before = stand.models.prompt(8), stand.models.prompt(7)
    assert asked.messages[:2] == before.messages[:2], "what a provider keeps of it serves again"
    assert asked.tools == before.tools
    wish = asked.messages[-1].parts[-1]
    assert isinstance(wish, Text)
    assert wish.text.startswith(compaction.ASK)
    assert wish.text.endswith(" the names of files")
    words, card, line = told.log()[-3:]
    assert (words["message_type"], words["content"]) == ("user", "/compact the names of files")
    assert (card["message_type"], card["message_sub_type"]) == ("tool", "compaction")
    assert (line["message_type"], line["content"]) == ("agent", SUMMED_UP)
    assert after.error is None
    next_ = stand.models.prompt(9).messages
    assert next_[1].parts == (Text("go"), Text(FRAME.summary("All is well.")))
    assert "/compact" not in str(next_)
    assert next_[-1].parts == (Text("and now?"),)
    bill = stand.sink.of(SessionBilled)[1]
    ((_, use),) = bill.used
    assert isinstance(use, ModelUse)
    assert (use.input_tokens, use.operation) == (70, "compaction_manual")


async def test_it_is_a_step_of_its_own() -> None:
    stand, (told,) = await talked(SUMMARY, said=("/compact",))
    assert told.error is None
    page = await stand.checkpoints.page(CheckpointQuery("7", "", None, 3))
    after, before, _ = [checkpoints.values(stored) for stored in page.items]
    assert (before["command"], after["command"]) == ({"name": "compact", "text": ""}, None)
    assert (before["status"], after["status"]) == ("Execution", "input_required")
    assert before["conversation_history"] != after["conversation_history"]


async def test_too_little_is_not_summed_up() -> None:
    stand = Stand(ScriptedModels(say("never")))
    async with stand.serving():
        told = await stand.stream(chat("/compact"))
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert [entry["content"] for entry in told.log()] == ["/compact", TOO_LITTLE]
    assert stand.models.calls == []


async def test_a_summary_that_fails_is_said_and_the_conversation_stays() -> None:
    broken: Line = [UpstreamFailed("no", status=500)]
    stand, (told, after) = await talked(broken, say("Onward."), said=("/compact", "more"))
    assert (told.error, told.statuses[-1]) == (None, "INPUT_REQUIRED")
    assert (told.log()[-1]["content"], told.log()[-1]["status"]) == (FAILED, "failure")
    assert [note.event for note in stand.sink.of(Noted)] == ["compaction failed: UpstreamFailed"]
    assert after.error is None
    assert len(stand.models.prompt().messages) == len(stand.models.prompt(7).messages) + 2


async def test_a_command_that_there_is_not_asks_no_model_and_fails_nothing() -> None:
    stand, (told, after) = await talked(say("Onward."), said=("/frobnicate it", "more"))
    assert (told.error, told.statuses[-1]) == (None, "INPUT_REQUIRED")
    words, line = told.log()[-2:]
    assert (words["message_type"], words["content"]) == ("user", "/frobnicate it")
    assert (line["message_type"], line["status"]) == ("agent", "failure")
    assert "`/frobnicate`" in line["content"]
    assert after.log()[-1]["content"] == "Onward."
    assert "frobnicate" not in str(stand.models.prompt().messages)


async def test_an_explanation_is_asked_for_in_the_librarys_words() -> None:
    stand, (told,) = await talked(say("It is so."), said=("/explain a.py",))
    asked = stand.models.prompt().messages[-1].parts
    assert asked == (Text(COMMANDS["explain"].replace("{text}", "a.py").strip()),)
    assert [entry["content"] for entry in told.log()[-2:]] == ["/explain a.py", "It is so."]


@pytest.mark.parametrize("known", [True, False])
async def test_a_command_in_place_of_a_decision_cancels_the_calls(known: bool) -> None:
    stand = Stand(ScriptedModels(*LOOKS, WRITE, SUMMARY, say("Onward.")))
    async with stand.serving():
        first = await stand.stream(chat("go"))
        told = await stand.stream(chat("/compact" if known else "/x"))
        after = await stand.stream(chat("more"))
    assert first.statuses[-1] == "TOOL_CALL_APPROVAL_REQUIRED"
    assert (told.error, told.statuses[-1], told.work) == (None, "INPUT_REQUIRED", [])
    types = [entry["message_type"] for entry in told.log()[-3:]]
    assert types == (["user", "tool", "agent"] if known else ["tool", "user", "agent"])
    assert after.error is None
    results = [p for m in stand.models.prompt().messages for p in m.parts]
    assert [p.failed for p in results if isinstance(p, ToolResult)][-1]


async def test_a_server_that_dies_in_it_leaves_it_to_the_next_one() -> None:
    asked = asyncio.Event()

    class Slow(ScriptedModels):
        async def stream(
            self, ask: Ask, choice: ModelChoice, caller: Caller
        ) -> AsyncGenerator[Delta, None]:
            if len(self.calls) == 8:
                asked.set()
                await asyncio.Event().wait()
            async for delta in super().stream(ask, choice, caller):
                yield delta

    first = Stand(Slow(*LOOKS, say("Looked.")))
    async with first.serving(), asyncio.TaskGroup() as group:
        await first.stream(chat("go"))
        client = group.create_task(first.stream(chat("/compact")))
        await asked.wait()
        await first.host.drain(0.0)
        await asyncio.wait({client})
    second = Stand(
        ScriptedModels(SUMMARY), workflows=first.workflows, checkpoints=first.checkpoints
    )
    async with second.serving():
        told = await second.stream(chat(""))
    assert told.error is None
    assert told.log()[-1]["content"] == SUMMED_UP


async def test_calls_that_an_earlier_turn_left_open_are_not_run_by_a_command() -> None:
    stand = Stand(ScriptedModels(LOOKS[0], say("Onward.")))
    async with stand.serving():
        await until_asked(stand)
        told = await stand.stream(chat("/compact"))
        after = await stand.stream(chat("more"))
    assert (told.error, told.statuses[-1], told.work) == (None, "INPUT_REQUIRED", [])
    assert told.log()[-1]["content"] == TOO_LITTLE
    assert after.log()[-1]["content"] == "Onward."
