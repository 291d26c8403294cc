"""Bedrock's credentials: keys, API keys, roles that are renewed ahead of time; and its settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from msgspec.structs import replace

from isthmus.adapters.outbound.client import HttpClient, open_client
from isthmus.adapters.providers import bedrock
from isthmus.adapters.providers._http import HttpProvider
from isthmus.adapters.providers.signing import aws
from isthmus.core.errors import Failure, MisconfiguredProvider, UpstreamFailed
from isthmus.core.messages import Chat, Message, ModelCall, Target, Text, collect
from isthmus.settings import OutboundSettings, ProvidersSettings, SettingsError
from tests.contract.outbound.rawserver import Peer, RawServer, RealClock, serving, within
from tests.support.replay import KEY, Asked, Replay, replaying
from tests.support.vendors import ACCESS_KEY, signed_for

CALL = ModelCall("m", Chat((Message("user", (Text("Hi"),)),)), 64)
ROLE = "arn:aws:iam::123456789012:role/models"
BEGAN = datetime(2026, 9, 1, 12, tzinfo=UTC)


class WoundClock(RealClock):
    """The machine's monotonic clock, and a date that a test sets."""

    date = BEGAN

    def utc(self) -> datetime:
        return self.date


@dataclass
class Sts:
    """What it answers; `lifetime` of what it gives, from the clock's date."""

    server: RawServer
    clock: WoundClock
    status: int = 200
    lifetime: timedelta = timedelta(hours=1)
    body: str = ""
    pause_s: float = 0.0

    def answer(self) -> str:
        ends = (self.clock.date + self.lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.body or (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            "<AssumeRoleResult><AssumedRoleUser><Arn>arn</Arn></AssumedRoleUser><Credentials>"
            f"<AccessKeyId>{ACCESS_KEY}</AccessKeyId>\n<SecretAccessKey>{KEY}</SecretAccessKey>"
            f"<SessionToken>a+b/c==</SessionToken><Expiration>{ends}</Expiration></Credentials>"
            "</AssumeRoleResult></AssumeRoleResponse>"
        )


@asynccontextmanager
async def sts(clock: WoundClock) -> AsyncIterator[Sts]:
    async def handle(peer: Peer) -> None:
        while True:
            await peer.read()
            await asyncio.sleep(told.pause_s)
            body = told.answer().encode()
            head = f"HTTP/1.1 {told.status} So\r\ncontent-length: {len(body)}\r\n\r\n"
            await peer.write(head.encode() + body)

    async with serving(handle) as server:
        told = Sts(server, clock)
        yield told


@asynccontextmanager
async def assumed() -> AsyncIterator[tuple[HttpProvider, Sts, Replay]]:
    clock = WoundClock()
    async with (
        sts(clock) as service,
        replaying("bedrock") as replay,
        open_client(OutboundSettings(), clock) as outbound,
    ):
        settings = {
            "access_key_id": "AKIDOWN",
            "secret_access_key": "own-secret",
            "role_arn": ROLE,
            "base_url": replay.base_url,
            "sts_url": f"http://127.0.0.1:{service.server.port}/",
        }
        yield provider(outbound, clock, **settings), service, replay


def provider(outbound: HttpClient, clock: RealClock, **settings: object) -> HttpProvider:
    tree = ProvidersSettings.model_validate({"bedrock": settings})
    return bedrock.build(tree, outbound, clock, OutboundSettings(retries=0))


def as_asked(raw: bytes) -> Asked:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    return Asked("POST", first.split()[1], headers, body)


async def test_a_role_is_assumed_once_and_renewed_ahead_of_its_end() -> None:
    async with assumed() as (door, service, replay):
        answers = await asyncio.gather(*(collect(door.stream(CALL, within())) for _ in range(3)))
        assert {answer.text for answer in answers} == {"Hello, grüß Gott 👋"}
        assert len(service.server.requests) == 1
        asked = as_asked(service.server.requests[0])
        assert signed_for(asked, "AKIDOWN", "own-secret", "sts")
        told = {name: value for name, (value,) in parse_qs(asked.body.decode()).items()}
        assert (told["Action"], told["RoleArn"], told["Version"]) == (
            "AssumeRole",
            ROLE,
            "2011-06-15",
        )
        assert replay.requests[0].headers["x-amz-security-token"] == "a+b/c=="

        service.clock.date += timedelta(minutes=54)
        await collect(door.stream(CALL, within()))
        assert len(service.server.requests) == 1
        service.clock.date += timedelta(minutes=2)
        await collect(door.stream(CALL, within()))
        assert len(service.server.requests) == 2, "five minutes before the end"


async def test_calls_go_on_while_one_renews_what_still_counts() -> None:
    async with assumed() as (door, service, _):
        await collect(door.stream(CALL, within()))
        service.clock.date += timedelta(minutes=56)
        service.pause_s = 0.3
        async with asyncio.TaskGroup() as group:
            group.create_task(collect(door.stream(CALL, within())))
            await asyncio.sleep(0.1)
            await asyncio.wait_for(collect(door.stream(CALL, within())), 0.15)
        assert len(service.server.requests) == 2


async def test_a_renewal_that_fails_matters_only_at_the_end() -> None:
    async with assumed() as (door, service, _):
        await collect(door.stream(CALL, within()))
        service.status = 503
        service.clock.date += timedelta(minutes=56)
        for _ in range(2):
            await collect(door.stream(CALL, within()))
        assert len(service.server.requests) == 2, "it is not asked with every call"
        service.clock.date += aws.AGAIN
        await collect(door.stream(CALL, within()))
        assert len(service.server.requests) == 3
        service.clock.date += timedelta(minutes=5)
        with pytest.raises(UpstreamFailed):
            await collect(door.stream(CALL, within()))


async def test_short_lived_credentials_are_renewed_half_way() -> None:
    async with assumed() as (door, service, _):
        service.lifetime = timedelta(minutes=4)
        await collect(door.stream(CALL, within()))
        service.clock.date += timedelta(seconds=110)
        await collect(door.stream(CALL, within()))
        assert len(service.server.requests) == 1
        service.clock.date += timedelta(seconds=20)
        await collect(door.stream(CALL, within()))
        assert len(service.server.requests) == 2


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, "<ErrorResponse><Code>AccessDenied</Code></ErrorResponse>", MisconfiguredProvider),
        (429, "", UpstreamFailed),
        (500, "", UpstreamFailed),
        (200, "<html>", UpstreamFailed),
        (200, f"<AccessKeyId>a</AccessKeyId>{'<SecretAccessKey>b</SecretAccessKey>' * 2}", None),
        (
            200,
            "<AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey>"
            "<SessionToken>c</SessionToken><Expiration>soon</Expiration>",
            UpstreamFailed,
        ),
        (200, '<!DOCTYPE a [<!ENTITY b "c">]><AccessKeyId>&b;</AccessKeyId>', UpstreamFailed),
        (200, "<AccessKeyId>" + "a" * 100_000, UpstreamFailed),
    ],
)
async def test_a_role_that_cannot_be_assumed(
    status: int, body: str, kind: type[Failure] | None
) -> None:
    async with assumed() as (door, service, replay):
        service.status, service.body = status, body
        with pytest.raises(kind or UpstreamFailed) as raised:
            await collect(door.stream(CALL, within()))
        assert "secret" not in str(raised.value).lower()
        assert replay.requests == []


@pytest.fixture
async def outbound() -> AsyncIterator[HttpClient]:
    async with open_client(OutboundSettings(), RealClock()) as client:
        yield client


async def test_keys_of_each_kind(outbound: HttpClient) -> None:
    async with replaying("bedrock") as replay:
        keys = {"access_key_id": ACCESS_KEY, "secret_access_key": KEY, "session_token": "temp"}
        for settings in ({"bearer_token": KEY}, {"bearer_token": KEY} | keys, keys):
            door = provider(outbound, RealClock(), base_url=replay.base_url, **settings)
            assert door.configured
            await collect(door.stream(CALL, within()))
        seen = [asked.headers["authorization"].split()[0] for asked in replay.requests]
        assert seen == ["Bearer", "Bearer", "AWS4-HMAC-SHA256"]
        assert replay.requests[2].headers["x-amz-security-token"] == "temp"
        wrong = provider(
            outbound,
            RealClock(),
            base_url=replay.base_url,
            access_key_id=ACCESS_KEY,
            secret_access_key="wrong",
        )
        with pytest.raises(UpstreamFailed) as raised:
            await collect(wrong.stream(CALL, within()))
        assert raised.value.status == 403
        theirs = replace(CALL, target=Target("", KEY))
        await collect(wrong.stream(theirs, within()))
        assert replay.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_what_makes_it_configured(outbound: HttpClient) -> None:
    for settings, configured in (
        ({}, False),
        ({"access_key_id": "a"}, False),
        ({"access_key_id": "a", "secret_access_key": "b"}, True),
        ({"bearer_token": "a"}, True),
        ({"base_url": "http://127.0.0.1:1"}, True),
    ):
        assert provider(outbound, RealClock(), **settings).configured is configured


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"role_arn": ROLE}, "role_arn"),
        ({"guardrail": {"guardrailIdentifier": "UPPER"}}, "guardrailIdentifier"),
        ({"guardrail": {"trace": "enabled"}}, "guardrailIdentifier"),
        ({"guardrail": {"guardrailIdentifier": "a", "guardrailVersion": "01"}}, "guardrailVersion"),
        ({"guardrail": {"guardrailIdentifier": "a", "trace": "yes"}}, "trace"),
        ({"guardrail": {"guardrailIdentifier": "a", "other": "b"}}, "other"),
        ({"guardrail": {"guardrailIdentifier": 7}}, "guardrailIdentifier"),
    ],
)
def test_settings_that_cannot_be_used(
    outbound: HttpClient, settings: dict[str, object], told: str
) -> None:
    with pytest.raises(SettingsError, match=rf"^providers\.bedrock\..*{told}"):
        provider(outbound, RealClock(), **settings)


async def test_a_guardrail_goes_with_every_call(outbound: HttpClient) -> None:
    arn = "arn:aws:bedrock:eu-central-1:123456789012:guardrail/abc1"
    given = {"guardrailIdentifier": arn, "guardrailVersion": "3"}
    async with replaying("bedrock") as replay:
        door = provider(
            outbound, RealClock(), bearer_token=KEY, base_url=replay.base_url, guardrail=given
        )
        await collect(door.stream(CALL, within()))
        assert replay.requests[0].json()["guardrailConfig"] == given | {"trace": "disabled"}
