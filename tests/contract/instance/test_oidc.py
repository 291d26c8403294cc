"""Sign-in of a team at its OpenID provider, over real sockets."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import SecretStr

from isthmus.adapters.keysets.jwks import Fetching
from isthmus.adapters.keysets.merged import open_keys
from isthmus.adapters.limits.inprocess import InProcessLimiter
from isthmus.adapters.outbound.client import open_client
from isthmus.adapters.signin.oidc import OidcProvider
from isthmus.auth.issue import SigningKey
from isthmus.core.accounts import NewUser
from isthmus.core.events import HttpServed
from isthmus.edge.http.app import create
from isthmus.edge.instance import InstanceServices
from isthmus.instance.signin import SignIn
from isthmus.settings import OidcSettings, OutboundSettings
from tests.support.browser import URL, Browser, authorize, browsing, query_of
from tests.support.http_app import signing_key
from tests.support.instance_stand import InstanceStand
from tests.support.listener import listening
from tests.support.provider import CLIENT_ID, SECRET, TeamProvider
from tests.support.sink import MemorySink
from tests.support.tokens import pem_of, private_key


class RealClock:
    """The clocks of this machine."""

    def now_s(self) -> float:
        return time.monotonic()

    def utc(self) -> datetime:
        return datetime.fromtimestamp(time.time(), UTC)


@pytest.fixture(name="provider")
def _provider() -> Iterator[TeamProvider]:
    provider = TeamProvider()
    with listening(provider.app()) as port:
        provider.url = f"http://127.0.0.1:{port}"
        yield provider


@dataclass
class Team:
    """A browser at an instance whose people sign in at the provider."""

    browser: Browser
    provider: TeamProvider
    stand: InstanceStand

    async def leave(self, start: str | None = None) -> dict[str, str]:
        """Off to the provider: what the browser is sent there with."""
        page = await self.browser.get(start or authorize())
        there = page.text.partition('href="')[2].partition('"')[0].replace("&amp;", "&")
        gone = await self.browser.get(there)
        assert gone.status_code == 303, gone.text
        assert gone.headers["location"].startswith(f"{self.provider.issuer}/authorize?")
        return query_of(gone.headers["location"])

    async def come_back(self, query: dict[str, str], **changes: str) -> httpx.Response:
        """Back with a code."""
        answer = {"code": self.provider.agree(query), "state": query["state"]} | changes
        there = httpx.URL("/oauth/oidc/callback", params=answer)
        return await self.browser.http.get(there)

    async def sign_in(self) -> str:
        """The page that the browser comes back to in the end."""
        back = await self.come_back(await self.leave())
        assert back.status_code == 303, back.text
        return (await self.browser.get(back.headers["location"])).text


@pytest.fixture(name="team")
async def _team(stand: InstanceStand, provider: TeamProvider) -> AsyncIterator[Team]:
    clock, sink = RealClock(), MemorySink()
    settings = OidcSettings(
        issuer=provider.issuer, client_id=CLIENT_ID, client_secret=SecretStr(SECRET)
    )
    async with AsyncExitStack() as stack:
        outbound = await stack.enter_async_context(open_client(OutboundSettings(), clock))
        fetching = Fetching(outbound, clock, sink)
        keys = await stack.enter_async_context(open_keys((), (provider.issuer,), fetching))
        identity = OidcProvider(settings, outbound, keys, clock)
        limiter = InProcessLimiter(stand.clock)
        signing = SignIn(stand.stores.users, stand.instance.accounts, limiter, identity)
        instance = replace(stand.instance, sign_in=signing)

        async def door() -> InstanceServices:
            return instance

        app = create(replace(stand.services, instance=door))
        browser = await stack.enter_async_context(browsing(app))
        yield Team(browser, provider, stand)


async def test_a_new_person_gets_an_account_and_keeps_it(team: Team) -> None:
    query = await team.leave()
    assert query["redirect_uri"] == f"{URL}/oauth/oidc/callback"
    assert query["scope"] == "openid profile email"
    back = await team.come_back(query)
    assert back.headers["location"] == authorize()
    assert "grace" in (await team.browser.get(back.headers["location"])).text
    user = await team.stand.stores.users.find(subject=f"{team.provider.issuer} sub-1")
    assert (user.username, user.name, user.email) == ("grace", "Grace", "grace@team.test")
    # A new name there makes no new account here.
    team.provider.claims = {"preferred_username": "hopper"}
    team.browser.http.cookies.clear()
    assert "grace" in await team.sign_in()
    assert len(await team.stand.stores.users.all()) == 4


@pytest.mark.parametrize(
    ("claims", "username"),
    [
        ({"preferred_username": "alice"}, "alice1"),
        ({"preferred_username": "Al Ice!/.."}, "Al-Ice"),
        ({"preferred_username": None}, "grace"),
        ({"preferred_username": None, "email": None}, "user"),
        ({"preferred_username": "007"}, "user-007"),
        ({"preferred_username": ["grace"], "email": {}}, "user"),
        ({"preferred_username": "x" * 400}, "x" * 100),
    ],
)
async def test_an_account_gets_a_username_of_its_own(
    team: Team, claims: dict[str, object], username: str
) -> None:
    team.provider.claims = claims
    await team.sign_in()
    user = await team.stand.stores.users.find(subject=f"{team.provider.issuer} sub-1")
    assert user.username == username
    assert user.id not in {team.stand.alice.user.id, team.stand.bob.user.id}


async def test_an_address_alone_does_not_give_an_account_away(team: Team) -> None:
    mail = "grace@team.test"
    other = await team.stand.stores.users.create(NewUser("owner", "Owner", email=mail))
    await team.sign_in()
    user = await team.stand.stores.users.find(subject=f"{team.provider.issuer} sub-1")
    assert user.id != other.id


async def test_a_disabled_person_stays_outside(team: Team) -> None:
    await team.sign_in()
    user = await team.stand.stores.users.find(subject=f"{team.provider.issuer} sub-1")
    await team.stand.stores.users.change(user.id, lambda user: replace(user, active=False))
    team.browser.http.cookies.clear()
    back = await team.come_back(await team.leave())
    assert back.status_code == 401
    assert "disabled" in back.text


WRONG: dict[str, dict[str, object]] = {
    "issuer": {"iss": "http://evil.test"},
    "no issuer": {"iss": None},
    "audience": {"aud": "another"},
    "party": {"azp": "another"},
    "nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "subject": {"sub": ""},
    "no subject": {"sub": None},
    "expired": {"exp": 1_700_000_000},
    "endless": {"exp": None},
    "early": {"nbf": 4_000_000_000},
}


@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG)
async def test_tokens_that_do_not_fit_let_nobody_in(team: Team, claims: dict[str, object]) -> None:
    team.provider.claims = claims
    back = await team.come_back(await team.leave())
    assert back.status_code == 401
    assert "isthmus_session" not in back.headers.get("set-cookie", "")


async def test_a_token_of_another_key_lets_nobody_in(team: Team) -> None:
    team.provider.key = SigningKey.from_pem(pem_of(private_key("thief")))
    assert (await team.come_back(await team.leave())).status_code == 401
    team.provider.key = signing_key()
    assert (await team.come_back(await team.leave())).status_code == 303


async def test_a_trip_ends_where_it_began(team: Team) -> None:
    query = await team.leave()
    for changes in ({"state": "another"}, {"state": ""}, {"code": "unknown"}):
        assert (await team.come_back(query, **changes)).status_code == 401
    async with browsing(team.stand.app) as another:
        theirs = Team(another, team.provider, team.stand)
        assert (await theirs.come_back(query)).status_code == 401
    denied = {"error": "access_denied", "state": query["state"]}
    there = httpx.URL("/oauth/oidc/callback", params=denied)
    assert (await team.browser.http.get(there)).status_code == 401
    assert (await team.come_back(query)).status_code == 303
    # It is over: its cookie is gone.
    assert (await team.come_back(query)).status_code == 401


@pytest.mark.parametrize(
    "there",
    [
        "",
        "https://evil.test/",
        "//evil.test",
        "/oauth/authorize/../../x",
        "/\\evil.test",
        "/api/v4/user",
        "/oauth/authorizer",
        "/oauth/device#x\ny",
        "/oauth/authorize?" + "a" * 7_000,
    ],
)
async def test_a_trip_leads_to_pages_of_ours_alone(team: Team, there: str) -> None:
    page = await team.browser.http.get(httpx.URL("/oauth/oidc", params={"next": there}))
    assert page.status_code == 400


async def test_a_cookie_that_was_made_up_leads_nowhere(team: Team) -> None:
    query = await team.leave()
    for value in ("x", "e30", "eyJzdGF0ZSI6MX0"):
        team.browser.http.cookies.set("isthmus_trip", value, domain="instance.test")
        assert (await team.come_back(query)).status_code == 401


async def test_codes_are_in_no_record(team: Team) -> None:
    sink = team.stand.services.telemetry
    assert isinstance(sink, MemorySink)
    await team.sign_in()
    code = "code="
    served = sink.of(HttpServed)
    assert any(fact.path == "/oauth/oidc/callback" for fact in served)
    assert not any(
        code in fact.path and "callback" in fact.path.partition("?")[0] for fact in served
    )


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "http://evil.test"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
async def test_a_provider_that_says_odd_things_is_down(
    team: Team, described: dict[str, object]
) -> None:
    team.provider.described = described
    page = await team.browser.http.get("/oauth/oidc?next=/oauth/device")
    assert page.status_code == 503
    assert int(page.headers["retry-after"]) >= 1


async def test_a_provider_is_asked_once_who_it_is(team: Team) -> None:
    await team.sign_in()
    team.browser.http.cookies.clear()
    await team.sign_in()
    # Once for its addresses, once for its keys.
    assert team.provider.calls.count("describe") == 2


async def test_without_a_provider_there_is_no_way_there(stand: InstanceStand) -> None:
    async with browsing(stand.app) as browser:
        assert (await browser.get("/oauth/oidc?next=/oauth/device")).status_code == 404
        assert (await browser.get("/oauth/oidc/callback?code=x&state=y")).status_code == 401
