"""Calls within limits: reserved before, cut where it ends, settled however they end."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import pytest

import isthmus
from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.core.errors import Failure, LimitExceeded, Unavailable, UpstreamFailed
from isthmus.core.messages import Delta, RawReply, Usage
from isthmus.routing.ask import EmbedAsk
from isthmus.routing.calls import Governance
from isthmus.routing.catalogue import parse_catalogue
from isthmus.routing.quota import Quotas
from isthmus.settings import ModelsSettings, OpenAISettings, OutboundSettings, RoutingSettings
from isthmus.settings_limits import LimitsSettings
from tests.unit.routing.test_calls import BROKEN, CALLER, LAST, RAW, SONNET, Script, Stage

LIBRARY = (Path(isthmus.__file__).parent / "library" / "models.yml").read_bytes()
SLOT = {"name": "slot", "counts": "concurrency", "amount": 1}
EMBED = EmbedAsk("workflow", "u", ("a",))


def limited(script: Script, *rules: Mapping[str, object]) -> Stage:
    """A stage of one deployment with these limits."""
    stage = Stage({"own": script})
    settings = LimitsSettings.model_validate({"rules": rules})
    quotas = Quotas(settings, InProcessLimiter(stage.clock), stage.sink)
    stage.models.adopt(
        {"anthropic": stage.vendor},
        parse_catalogue(LIBRARY, ModelsSettings(), OpenAISettings()),
        OutboundSettings(),
        Governance(RoutingSettings(), quotas, roll=lambda: 0.0),
    )
    return stage


async def call(stage: Stage, way: str) -> None:
    choice = stage.models.choose("workflow", SONNET)
    if way == "whole":
        await stage.whole()
    elif way == "streamed":
        await stage.streamed()
    elif way == "embedded":
        await stage.models.embed(EMBED, choice, CALLER)
    else:
        async with stage.models.forward("anthropic", RAW, CALLER, "u") as reply:
            await read(reply)


async def read(reply: RawReply) -> None:
    async for _ in reply.chunks:
        pass


WAYS = pytest.mark.parametrize("way", ["whole", "streamed", "embedded", "forwarded"])


@WAYS
async def test_a_place_comes_back_however_a_call_ends(way: str) -> None:
    stage = limited([Delta("a"), LAST], SLOT)
    for _ in range(3):
        await call(stage, way)
    stage.vendor.scripts["own"] = [BROKEN]
    stage.vendor.chunks["own"] = [UpstreamFailed("broke")]
    # Of those that fail, the last find nobody to ask.
    ends: list[type[Failure]] = []
    for _ in range(8):
        with pytest.raises(Failure) as failure:
            await call(stage, way)
        ends.append(failure.type)
    assert LimitExceeded not in ends
    if way != "forwarded":
        assert ends[-1] is Unavailable


@WAYS
async def test_a_call_over_a_limit_asks_nobody(way: str) -> None:
    stage = limited([Delta("a"), LAST], {"name": "one", "amount": 1, "window": "minute"})
    await call(stage, way)
    with pytest.raises(LimitExceeded, match="'one'"):
        await call(stage, way)
    assert len(stage.vendor.calls) == 1


async def test_a_caller_that_leaves_gives_its_place_back() -> None:
    stage = limited([Delta("a"), Delta("b"), LAST], SLOT)
    choice = stage.models.choose("workflow", SONNET)
    for _ in range(3):
        async with aclosing(stage.models.stream(stage.ask(), choice, CALLER)) as deltas:
            assert (await anext(deltas)).text == "a"
            with pytest.raises(LimitExceeded):
                await stage.whole()
    stage.vendor.gates["own"] = asyncio.Event()
    for _ in range(3):
        task = asyncio.ensure_future(stage.whole())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
    stage.vendor.gates["own"].set()
    assert await stage.whole() == "ab"


async def test_a_stream_is_cut_before_the_text_that_is_too_much() -> None:
    script: Script = [*[Delta("x" * 400) for _ in range(20)], LAST]
    stage = limited(script, {"name": "t", "counts": "tokens", "amount": 1_000, "window": "hour"})
    choice = stage.models.choose("workflow", SONNET)
    got: list[str] = []

    async def listen() -> None:
        async with aclosing(stage.models.stream(stage.ask(), choice, CALLER)) as deltas:
            async for delta in deltas:
                got.append(delta.text)

    with pytest.raises(LimitExceeded, match="'t'"):
        await listen()
    assert 8 <= len(got) <= 10
    assert stage.vendor.closed == 1


async def test_what_was_used_is_what_counts() -> None:
    tokens = {"name": "t", "counts": "tokens", "amount": 100_000, "window": "hour"}
    stage = limited([Delta("a"), Delta(finish="stop", usage=Usage(10, 3))], tokens)
    # Each reserves as much as the model may answer, and uses 13.
    for _ in range(100):
        await stage.whole()
    stage.vendor.scripts["own"] = [Delta(finish="stop", usage=Usage(95_000, 0))]
    await stage.whole()
    with pytest.raises(LimitExceeded):
        await stage.whole()
