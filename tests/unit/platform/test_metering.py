"""Announced model calls: each is acknowledged, and counted as its feature is."""

from collections.abc import AsyncIterator

import pytest

from isthmus.contract.contract_pb2 import TrackSelfHostedClientEvent
from isthmus.core.errors import Forbidden, InsufficientCredits
from isthmus.core.events import ModelUse, SessionBilled
from isthmus.core.identity import Caller, ClientInfo
from isthmus.platform.credits import Credits
from isthmus.platform.metering import Metering
from tests.support.quota import Counting
from tests.support.sink import MemorySink

CALLER = Caller("i", scopes=frozenset({"duo_agent_platform"}))


async def announced(*features: str) -> AsyncIterator[TrackSelfHostedClientEvent]:
    for number, feature in enumerate(features):
        yield TrackSelfHostedClientEvent(
            requestID=f"r{number}", workflowID="7", featureQualifiedName=feature
        )


async def tracked(
    *features: str, quota: Counting | None = None, caller: Caller = CALLER
) -> tuple[list[str], MemorySink]:
    sink = MemorySink()
    metering = Metering(Credits(quota), sink)
    stream = metering.track(caller, ClientInfo(), announced(*features))
    return [action.requestID async for action in stream], sink


async def test_every_announcement_is_acknowledged_and_some_features_cost_once() -> None:
    quota = Counting()
    names = ("developer", "code_review", "developer", "code_review", "sast_fp_detection")
    ids, sink = await tracked(*names, quota=quota)
    assert ids == ["r0", "r1", "r2", "r3", "r4"]
    bills = sink.of(SessionBilled)
    assert [bill.feature for bill in bills] == [
        "developer",
        "code_review",
        "developer",
        "sast_fp_detection",
    ]
    assert bills[0].used == (("model", ModelUse("", "", "", "", 1, 1)),)
    assert [use.feature for use in quota.asked] == ["developer"]


async def test_nobody_is_metered_without_scope_or_credit() -> None:
    for caller in (Caller("i"), Caller("i", scopes=CALLER.scopes, self_issued=True)):
        with pytest.raises(Forbidden, match="Unauthorized to track self-hosted"):
            await tracked("developer", caller=caller)
    with pytest.raises(InsufficientCredits, match="USAGE_QUOTA_EXCEEDED"):
        await tracked("developer", quota=Counting(InsufficientCredits("none left")))


async def test_a_stream_without_announcements_asks_nobody() -> None:
    quota = Counting()
    assert (await tracked(quota=quota))[0] == []
    assert quota.asked == []
