"""A model whose provider is in trouble is asked again: waits by the clock, which tests wind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from isthmus.contract.contract_pb2 import ClientEvent
from isthmus.core.errors import (
    Interrupted,
    LimitExceeded,
    Unavailable,
    UpstreamFailed,
    UpstreamLimited,
)
from isthmus.core.events import Noted
from isthmus.core.identity import ClientInfo
from isthmus.core.messages import Delta
from isthmus.core.workflow import Status
from isthmus.platform.ending import PROVIDER_TROUBLE
from isthmus.platform.engine.answering import TICK_S
from tests.support.scripted_models import Line, ScriptedModels, say
from tests.support.session_client import CALLER, Stand, chat, feed, stop

OVERLOADED: Line = [UpstreamLimited("no", status=529)]


@asynccontextmanager
async def wound(stand: Stand) -> AsyncIterator[None]:
    """Serves while the stand's clock runs fast."""

    async def wind() -> None:
        while True:
            await asyncio.sleep(0.01)
            stand.clock.advance(1.0)

    async with stand.serving(), asyncio.TaskGroup() as group:
        winding = group.create_task(wind())
        yield
        winding.cancel()


async def until_waiting(stand: Stand, waits: int = 1) -> None:
    async with asyncio.timeout(10):
        while len(stand.sink.of(Noted)) < waits:  # noqa: ASYNC110 - a sink cannot be awaited
            await asyncio.sleep(0.01)


async def test_it_is_asked_four_times_and_then_the_session_fails() -> None:
    stand = Stand(ScriptedModels(OVERLOADED))
    async with stand.serving(), asyncio.TaskGroup() as group:
        client = group.create_task(stand.stream(chat("go")))
        for number, wait_s in enumerate((3.0, 9.0, 27.0), 1):
            await until_waiting(stand, number)
            stand.clock.advance(wait_s - 0.1)
            await asyncio.sleep(3 * TICK_S)
            assert len(stand.models.asks) == number
            stand.clock.advance(0.2)
        told = await client
    assert len(stand.models.asks) == 4
    assert isinstance(told.error, UpstreamLimited)
    assert (told.statuses[-1], told.log()[-1]["content"]) == ("FAILED", PROVIDER_TROUBLE)
    assert {note.event for note in stand.sink.of(Noted)} == {
        "the model is asked again: UpstreamLimited"
    }


async def test_a_message_that_broke_off_is_begun_anew_as_the_same_one() -> None:
    broken: Line = [Delta(text="It is a hum"), UpstreamFailed("broke", retryable=True)]
    models = ScriptedModels(broken, say("It is", " a wall."), say("More."))
    stand = Stand(models)
    async with wound(stand):
        told = await stand.stream(chat("go"))
        after = await stand.stream(chat("and?"))
    assert told.error is None
    shown = [told.log(number)[1:] for number in range(len(told.notices))]
    texts = [entry["content"] for log in shown for entry in log]
    assert texts[0] == "It is a hum"
    assert texts[-1] == "It is a wall."
    assert all("hum" not in text or text == "It is a hum" for text in texts)
    assert all(len(log) <= 1 for log in shown), "one message"
    assert len({entry["message_id"] for log in shown for entry in log}) == 1
    assert "hum" not in str(stand.models.prompt().messages)
    assert after.error is None


async def test_who_asks_too_often_is_not_asked_again() -> None:
    stand = Stand(ScriptedModels([UpstreamLimited("slow", status=429, retryable=True)]))
    async with stand.serving():
        told = await stand.stream(chat("go"))
    assert isinstance(told.error, UpstreamLimited)
    assert len(stand.models.asks) == 1


async def test_open_breakers_are_waited_for_and_do_not_hide_the_cause() -> None:
    stand = Stand(ScriptedModels(OVERLOADED, [Unavailable("all are out of service", 5.0)]))
    async with wound(stand):
        told = await stand.stream(chat("go"))
    assert len(stand.models.asks) == 4
    assert isinstance(told.error, UpstreamLimited)


async def test_a_drain_ends_the_wait_and_the_session_goes_on_elsewhere() -> None:
    stand = Stand(ScriptedModels(OVERLOADED))
    async with stand.serving(), asyncio.TaskGroup() as group:
        client = group.create_task(stand.stream(chat("go")))
        await until_waiting(stand)
        await stand.host.drain(5.0)
        told = await client
    assert isinstance(told.error, Interrupted)
    assert (await stand.workflows.get("7")).status is Status.RUNNING
    other = Stand(
        ScriptedModels(say("done")), workflows=stand.workflows, checkpoints=stand.checkpoints
    )
    async with other.serving():
        again = await other.stream(chat(""))
    assert [entry["content"] for entry in again.log()] == ["go", "done"]


@pytest.mark.parametrize("stops", [True, False])
async def test_a_wait_ends_with_who_stops_or_leaves(stops: bool) -> None:
    stand = Stand(ScriptedModels(OVERLOADED))
    queue: asyncio.Queue[ClientEvent | None] = asyncio.Queue()
    queue.put_nowait(ClientEvent(startRequest=chat("go")))

    async def client() -> None:
        async with aclosing(stand.host.open(CALLER, ClientInfo(), feed(queue))) as actions:
            async for _ in actions:
                pass

    async with stand.serving(), asyncio.timeout(10), asyncio.TaskGroup() as group:
        streaming = group.create_task(client())
        await until_waiting(stand)
        if stops:
            queue.put_nowait(stop())
        else:
            streaming.cancel()
        await asyncio.wait({streaming})
    expected = Status.STOPPED if stops else Status.FAILED
    assert (await stand.workflows.get("7")).status is expected
    assert len(stand.models.asks) == 1


async def test_a_wait_ends_with_the_time_of_the_turn() -> None:
    stand = Stand(ScriptedModels(OVERLOADED)).limited(session_s=0.3)
    async with stand.serving():
        told = await stand.stream(chat("go"))
    assert isinstance(told.error, LimitExceeded)
    assert len(stand.models.asks) == 1
