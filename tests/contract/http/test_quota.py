"""Credits, asked for at a portal on a real socket, and what the gateway answers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.quota.portal import DENIED_TTL_S, Portal, PortalQuota
from isthmus.auth.authenticate import AuthPolicy
from isthmus.core.errors import InsufficientCredits, NotEntitled
from isthmus.core.events import QuotaAsked
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use
from isthmus.core.ports import Outbound
from isthmus.edge.http.app import create
from isthmus.gateway.grant import Grant, Signer
from isthmus.settings import OutboundSettings
from tests.contract.outbound.rawserver import Peer, RawServer, RealClock, serving
from tests.support.clock import HandClock
from tests.support.http_app import SERVICE, Stand, bearer, signing_key
from tests.support.sink import MemorySink

TOKEN = "t0p-secret-of-the-portal"
USE = Use("code_completions", "code_suggestions", "claude_x")
CALLER = Caller(
    "instance-1",
    realm="saas",
    instance_uid="uid-1",
    global_user_id="user-1",
    extra={"gitlab_root_namespace_id": 9},
)
CLIENT = ClientInfo(
    {
        "x-gitlab-instance-id": "instance-1",
        "x-gitlab-project-id": "12",
        "x-gitlab-namespace-id": "none",
        "x-gitlab-root-namespace-id": "8",
        "x-gitlab-host-name": "gitlab.test",
        "x-gitlab-user-id": "5 & 6",
        "x-gitlab-feature-enablement-type": "duo_pro",
    }
)


@dataclass
class Till:
    """A portal that answers as a test wants, with its quota and what that told."""

    status: int = 200
    headers: str = ""
    silent: bool = False
    sink: MemorySink = field(default_factory=MemorySink)
    clock: HandClock = field(default_factory=HandClock)
    server: RawServer = field(default_factory=RawServer)
    roll: float = 0.5
    rest: asyncio.Event | None = None

    async def answer(self, peer: Peer) -> None:
        while True:
            await peer.read()
            if self.silent:
                await asyncio.Event().wait()
            if self.rest is not None:
                await self.rest.wait()
            head = f"HTTP/1.1 {self.status} X\r\ncontent-length: 0\r\n{self.headers}\r\n"
            await peer.write(head.encode())

    def portal(self) -> Portal:
        url = f"http://localhost:{self.server.port}"
        return Portal(url, "admin@example.test", TOKEN, 0.3, 3600.0, "production")

    @property
    def told(self) -> list[tuple[str, bool, int]]:
        facts = self.sink.of(QuotaAsked)
        return [(fact.result, fact.asked, fact.status) for fact in facts]


@asynccontextmanager
async def open_till(till: Till) -> AsyncIterator[PortalQuota]:
    async with (
        serving(till.answer) as till.server,
        open_client(OutboundSettings(), RealClock()) as outbound,
    ):
        yield quota_of(till, outbound)


def quota_of(till: Till, outbound: Outbound) -> PortalQuota:
    # Answers age by the hand-wound clock; only calls run by the machine's.
    clock = Blended(till.clock)
    return PortalQuota(till.portal(), outbound, clock, till.sink, lambda: till.roll)


class Blended(RealClock):
    """The machine's clock, which a test may wind on."""

    def __init__(self, hand: HandClock) -> None:
        self._hand = hand

    def now_s(self) -> float:
        return super().now_s() + self._hand.now_s()


async def post(quota: PortalQuota, headers: Mapping[str, str] | None = None) -> httpx.Response:
    stand = Stand(policy=AuthPolicy(SERVICE))
    signer = Signer(SERVICE, signing_key())
    grant = Grant(signer, signer, stand.clock, stand.sink, quota)
    transport = httpx.ASGITransport(create(replace(stand.services(), grant=grant)))
    holder = bearer({"scopes": ["complete_code"]}) | {"x-gitlab-global-user-id": "user-1"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return await http.post("/v1/code/user_access_token", headers=holder | dict(headers or {}))


async def test_h11_68_used_up_credits_are_a_402() -> None:
    async with open_till(Till(status=402)) as quota:
        reply = await post(quota)
    assert reply.status_code == 402
    assert reply.json() == {
        "error": "insufficient_credits",
        "error_code": "USAGE_QUOTA_EXCEEDED",
        "message": "Consumer does not have sufficient credits for this request",
    }


async def test_h11_68_a_portal_that_is_silent_is_a_403() -> None:
    till = Till(silent=True)
    async with open_till(till) as quota:
        reply = await post(quota)
    assert reply.status_code == 403
    assert reply.json() == {
        "error": "not_entitled",
        "error_code": "USAGE_QUOTA_NOT_ENTITLED",
        "message": "Consumer does not have entitlements to use this feature.",
    }
    assert till.told == [("error", True, 0)]


async def test_h11_69_an_answer_with_an_age_is_asked_for_once() -> None:
    till = Till(headers="cache-control: max-age=60\r\n")
    async with open_till(till) as quota:
        assert [(await post(quota)).status_code for _ in range(2)] == [200, 200]
        assert len(till.server.requests) == 1
        till.clock.advance(61)
        assert (await post(quota)).status_code == 200
    assert len(till.server.requests) == 2
    assert till.told == [("allow", True, 200), ("allow", False, 200), ("allow", True, 200)]


async def test_the_question_is_built_from_the_caller_and_the_client() -> None:
    till = Till()
    async with open_till(till) as quota:
        await quota.check(USE, CALLER, CLIENT)
    (request,) = till.server.requests
    line, *headers = request.decode().split("\r\n")
    method, url, _ = line.split(" ")
    assert (method, urlsplit(url).path) == ("HEAD", "/api/v1/consumers/resolve")
    assert {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()} == {
        "environment": "production",
        "source": "ai-gateway-python",
        "realm": "saas",
        "instance_id": "instance-1",
        "unique_instance_id": "uid-1",
        "host_name": "gitlab.test",
        "project_id": "12",
        "root_namespace_id": "9",
        "user_id": "5 & 6",
        "global_user_id": "user-1",
        "feature_enablement_type": "duo_pro",
        "event_type": "code_completions",
        "feature_qualified_name": "code_suggestions",
        "model_id": "claude_x",
    }
    assert "x-admin-email: admin@example.test" in headers
    assert f"x-admin-token: {TOKEN}" in headers


@pytest.mark.parametrize("status", [403, 404, 500, 204, 302])
async def test_everything_but_200_and_402_is_a_403(status: int) -> None:
    till = Till(status=status)
    async with open_till(till) as quota:
        with pytest.raises(NotEntitled):
            await quota.check(USE, CALLER, CLIENT)
    result = "deny" if status == 403 else "error"
    assert till.told == [(result, True, status)]


async def test_a_portal_that_is_not_there_is_a_403_and_no_secret_is_told() -> None:
    till = Till()
    async with open_client(OutboundSettings(), RealClock()) as outbound:
        till.server.port = 1
        quota = quota_of(till, outbound)
        with pytest.raises(NotEntitled) as caught:
            await quota.check(USE, CALLER, CLIENT)
    assert TOKEN not in f"{till.sink.facts} {caught.value!r} {till.portal()!r}"


async def test_who_asks_the_same_at_once_shares_one_question() -> None:
    till = Till(rest=asyncio.Event())
    async with open_till(till) as quota, asyncio.TaskGroup() as group:
        tasks = [group.create_task(quota.check(USE, CALLER, CLIENT)) for _ in range(5)]
        await till.server.asked.wait()
        assert till.rest is not None
        till.rest.set()
        await asyncio.wait(tasks)
    assert len(till.server.requests) == 1
    assert sorted(asked for _, asked, _ in till.told) == [False] * 4 + [True]


async def test_who_waits_asks_when_the_one_who_asked_leaves() -> None:
    till = Till(rest=asyncio.Event())
    async with open_till(till) as quota, asyncio.TaskGroup() as group:
        first = group.create_task(quota.check(USE, CALLER, CLIENT))
        await till.server.asked.wait()
        second = group.create_task(quota.check(USE, CALLER, CLIENT))
        await asyncio.sleep(0)
        first.cancel()
        assert till.rest is not None
        till.rest.set()
        await second
    assert till.told == [("allow", True, 200)]


async def test_a_token_may_lift_the_check() -> None:
    till = Till(status=402)
    lifted = Caller("instance-1", extra={"skip_usage_cutoff": True})
    async with open_till(till) as quota:
        await quota.check(USE, lifted, CLIENT)
        with pytest.raises(InsufficientCredits):
            await quota.check(USE, CALLER, CLIENT)
    assert len(till.server.requests) == 1


@pytest.mark.parametrize(
    ("status", "headers", "kept_s"),
    [
        (200, "", 3600.0),
        (200, "Cache-Control: private, max-age=10\r\n", 10.0),
        (200, "cache-control: no-store\r\n", 0.0),
        (200, "cache-control: max-age=0\r\n", 0.0),
        (402, "", DENIED_TTL_S),
        (402, "cache-control: max-age=600\r\n", 600.0),
        (500, "cache-control: max-age=600\r\n", 0.0),
    ],
)
@pytest.mark.parametrize(("roll", "share"), [(0.0, 0.9), (1.0, 1.1)])
async def test_how_long_an_answer_counts(
    status: int, headers: str, kept_s: float, roll: float, share: float
) -> None:
    till = Till(status=status, headers=headers, roll=roll)

    async def ask(quota: PortalQuota) -> int:
        with pytest.raises((InsufficientCredits, NotEntitled)) if status != 200 else nullcontext():
            await quota.check(USE, CALLER, CLIENT)
        return len(till.server.requests)

    async with open_till(till) as quota:
        assert await ask(quota) == 1
        if kept_s:
            till.clock.advance(kept_s * share - 1.0)
            assert await ask(quota) == 1
            till.clock.advance(2.0)
        assert await ask(quota) == 2


async def test_other_users_features_and_models_are_other_questions() -> None:
    till = Till()
    async with open_till(till) as quota:
        for use, caller in (
            (USE, CALLER),
            (USE, Caller("instance-1", realm="saas", global_user_id="user-2")),
            (Use("code_generations", "code_suggestions", "claude_x"), CALLER),
            (Use("code_completions", "code_suggestions"), CALLER),
            (USE, CALLER),
        ):
            await quota.check(use, caller, CLIENT)
    assert len(till.server.requests) == 4
