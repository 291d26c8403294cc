"""Google's access tokens: when they are fetched, by how many, and what becomes of failures."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

import pytest
from google.auth import jwt

from isthmus.adapters.outbound.client import HttpClient, open_client
from isthmus.adapters.providers.signing.google import GoogleToken, read_credential
from isthmus.core.deadline import Deadline
from isthmus.core.errors import (
    Failure,
    MisconfiguredProvider,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from isthmus.settings import OutboundSettings
from tests.contract.outbound.rawserver import RawServer, answering, serving
from tests.support.clock import HandClock
from tests.support.google import ACCOUNT, SCOPE, service_account
from tests.support.tokens import private_key, public_pem_of


def said(status: bytes, **body: object) -> bytes:
    text = json.dumps(body).encode()
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(text), text)


def token(text: str, expires_in: float = 3600) -> bytes:
    return said(b"200 OK", access_token=text, expires_in=expires_in, token_type="Bearer")


BROKEN = said(b"503 Down", error="internal_failure")


class Bench:
    """A signer with a clock in hand and a scripted token address."""

    def __init__(self, outbound: HttpClient, clock: HandClock, server: RawServer) -> None:
        self.clock = clock
        self.server = server
        self.url = f"http://127.0.0.1:{server.port}/token"
        self.signer = GoogleToken(read_credential(service_account(self.url)), outbound, clock)

    @property
    def deadline(self) -> Deadline:
        return Deadline(self.clock.now_s() + 30.0, 5.0, 5.0, 5.0)

    async def sign(self) -> str:
        """What a call would send."""
        if self.signer.stale:
            await self.signer.renew(self.deadline)
        [(name, value)] = self.signer.headers("POST", "https://x", b"", "")
        assert name == "authorization"
        return value.removeprefix("Bearer ")


@asynccontextmanager
async def bench(*answers: bytes) -> AsyncIterator[Bench]:
    clock = HandClock()
    async with (
        serving(answering(*answers)) as server,
        open_client(OutboundSettings(), clock) as outbound,
    ):
        yield Bench(outbound, clock, server)


async def test_a_token_is_fetched_with_a_signed_assertion() -> None:
    async with bench(token("one")) as it:
        assert await it.sign() == "one"
        form = parse_qs(it.server.requests[0].partition(b"\r\n\r\n")[2].decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        claims = jwt.decode(
            form["assertion"][0],
            certs=public_pem_of(private_key("google")),
            verify=True,
            audience=it.url,
            clock_skew_in_seconds=10**9,
        )
        assert (claims["iss"], claims["scope"]) == (ACCOUNT, SCOPE)
        assert claims["exp"] - claims["iat"] == 3600
        assert claims["iat"] == int(it.clock.utc().timestamp())


async def test_many_callers_make_one_fetch_and_then_none() -> None:
    async with bench(token("one"), token("two")) as it:
        assert it.signer.stale
        assert await asyncio.gather(*(it.sign() for _ in range(20))) == ["one"] * 20
        it.clock.advance(3200)
        assert await it.sign() == "one"
        assert len(it.server.requests) == 1


async def test_it_is_renewed_ahead_by_one_caller_while_the_others_go_on() -> None:
    async with bench(token("one"), token("two")) as it:
        await it.sign()
        it.clock.advance(3400)
        assert it.signer.stale
        got = await asyncio.gather(*(it.sign() for _ in range(5)))
        assert got == ["two", "one", "one", "one", "one"]
        assert len(it.server.requests) == 2


async def test_a_renewal_that_fails_costs_nobody_a_call_until_the_token_ends() -> None:
    async with bench(token("one"), BROKEN, BROKEN, token("two")) as it:
        await it.sign()
        it.clock.advance(3400)
        assert await it.sign() == "one"
        assert not it.signer.stale, "it is not asked again at once"
        it.clock.advance(31)
        assert await it.sign() == "one"
        it.clock.advance(200)
        assert await it.sign() == "two"
        assert len(it.server.requests) == 4


async def test_a_failure_answers_everybody_who_waits() -> None:
    async with bench(BROKEN, token("one")) as it:
        got = await asyncio.gather(*(it.sign() for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in got] == [UpstreamFailed] * 5
        assert len(it.server.requests) == 1
        it.clock.advance(1.5)
        assert await it.sign() == "one"


async def test_a_caller_who_leaves_lets_the_next_one_fetch() -> None:
    async with bench(token("one")) as it:
        first = asyncio.ensure_future(it.sign())
        second = asyncio.ensure_future(it.sign())
        await asyncio.sleep(0)
        first.cancel()
        assert await second == "one"
        assert first.cancelled()


@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (
            said(b"400 Bad", error="invalid_grant", error_description="s3cret"),
            MisconfiguredProvider,
            "Google does not accept the credential (400, invalid_grant).",
        ),
        (said(b"401 No", error="s3cret !"), MisconfiguredProvider, "(401)"),
        (said(b"429 Slow", error="rate_limit"), UpstreamLimited, "429"),
        (BROKEN, UpstreamFailed, "503"),
        (said(b"200 OK", access_token="s3cret\r\nx: y"), UpstreamFailed, "cannot be read"),
        (said(b"200 OK", access_token=7), UpstreamFailed, "cannot be read"),
        (said(b"200 OK"), UpstreamFailed, "cannot be read"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xff", UpstreamFailed, "cannot be read"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n" + b"s3cret" * 15_000,
            UpstreamFailed,
            "too large",
        ),
    ],
)
async def test_refusals_and_nonsense(answer: bytes, kind: type[Failure], detail: str) -> None:
    async with bench(answer) as it:
        with pytest.raises(kind) as raised:
            await it.sign()
        assert type(raised.value) is kind
        assert detail in raised.value.detail
        assert "s3cret" not in repr(raised.value)


async def test_an_address_that_nobody_has_is_unreachable() -> None:
    async with bench(b"") as it:
        pass
    async with open_client(OutboundSettings(), it.clock) as outbound:
        signer = GoogleToken(read_credential(service_account(it.url)), outbound, it.clock)
        with pytest.raises(UpstreamUnreachable):
            await signer.renew(it.deadline)


async def test_a_call_without_time_left_does_not_spoil_the_next_one() -> None:
    async with bench(token("one")) as it:
        with pytest.raises(UpstreamTimeout):
            await it.signer.renew(Deadline(it.clock.now_s() - 1.0, 5.0, 5.0, 5.0))
        assert await it.sign() == "one"


async def test_a_users_refresh_token_does_as_well() -> None:
    async with bench(token("one")) as it:
        told = {
            "type": "authorized_user",
            "client_id": "id",
            "client_secret": "s3cret",
            "refresh_token": "refresh",
        }
        credential = read_credential(json.dumps(told), it.url)
        assert "s3cret" not in repr(credential)
        async with open_client(OutboundSettings(), it.clock) as outbound:
            signer = GoogleToken(credential, outbound, it.clock)
            await signer.renew(it.deadline)
        assert signer.headers("POST", "", b"", "") == (("authorization", "Bearer one"),)
        assert signer.headers("POST", "", b"", "theirs") == (("x-goog-api-key", "theirs"),)
        assert parse_qs(it.server.requests[0].partition(b"\r\n\r\n")[2].decode()) == {
            "grant_type": ["refresh_token"],
            "client_id": ["id"],
            "client_secret": ["s3cret"],
            "refresh_token": ["refresh"],
        }
