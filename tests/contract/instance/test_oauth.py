"""OAuth over HTTP: what a client gets, and everything that it must not get."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from isthmus.core.accounts import TokenKind
from isthmus.core.events import HttpServed
from isthmus.instance.accounts import Wish
from tests.support.browser import (
    CALLBACK,
    CHALLENGE,
    CLIENT,
    DEVICE_GRANT,
    VERIFIER,
    Browser,
    authorize,
    browsing,
    query_of,
)
from tests.support.instance_stand import URL, InstanceStand
from tests.support.sink import MemorySink

USER = "/api/v4/user"
UNUSABLE = "invalid_grant"


@pytest.fixture(name="browser")
async def _browser(stand: InstanceStand) -> AsyncIterator[Browser]:
    async with browsing(stand.app) as browser:
        yield browser


async def code_of(browser: Browser, stand: InstanceStand, **changes: str) -> str:
    return await browser.code("alice", stand.alice.token, **changes)


async def tokens_of(browser: Browser, stand: InstanceStand) -> dict[str, Any]:
    reply = await browser.redeem(await code_of(browser, stand))
    assert reply.status_code == 200, reply.text
    return reply.json()


async def lets_in(browser: Browser, token: str) -> bool:
    headers = {"authorization": f"Bearer {token}"}
    return (await browser.http.get(USER, headers=headers)).status_code == 200


def refused(reply: httpx.Response, error: str = UNUSABLE, status: int = 400) -> bool:
    told = reply.json()
    return (reply.status_code, told["error"]) == (status, error) and "description" in str(told)


async def test_a_client_gets_tokens_for_what_its_user_agreed_to(
    browser: Browser, stand: InstanceStand
) -> None:
    page = await browser.get(authorize())
    assert page.status_code == 200
    consent = await browser.sign_in(page, "Alice", stand.alice.token)
    for words in (CLIENT, "http://127.0.0.1:8080", "alice", "api"):
        assert words in consent.text
    agreed = await browser.send(consent, decision="allow")
    there = agreed.headers["location"]
    assert there.startswith(CALLBACK + "?")
    assert query_of(there)["state"] == "s-1"
    reply = await browser.redeem(query_of(there)["code"])
    assert reply.headers["cache-control"] == "no-store"
    body = reply.json()
    assert body == {
        "access_token": body["access_token"],
        "refresh_token": body["refresh_token"],
        "token_type": "Bearer",
        "expires_in": 7_200,
        "scope": "api",
        "created_at": int(stand.clock.utc().timestamp()),
    }
    assert await lets_in(browser, body["access_token"])
    info = await browser.http.get(
        "/oauth/token/info", headers={"authorization": f"Bearer {body['access_token']}"}
    )
    assert info.json()["application"] == {"uid": CLIENT}
    stand.clock.advance(7_200.0)
    assert not await lets_in(browser, body["access_token"])


async def test_the_token_endpoint_takes_json_too(browser: Browser, stand: InstanceStand) -> None:
    body = {
        "grant_type": "authorization_code",
        "client_id": CLIENT,
        "code": await code_of(browser, stand),
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    assert (await browser.http.post("/oauth/token", json=body)).status_code == 200


async def test_a_user_may_say_no(browser: Browser, stand: InstanceStand) -> None:
    consent = await browser.sign_in(await browser.get(authorize()), "alice", stand.alice.token)
    reply = await browser.send(consent, decision="deny")
    assert query_of(reply.headers["location"])["error"] == "access_denied"
    undecided = await browser.send(consent, decision="perhaps")
    assert "Let a client in?" in undecided.text


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/cb",
        "http://127.0.0.1:9999/a?b=c",
        "http://[::1]:7/cb",
        "http://localhost:1455/auth/callback",
    ],
)
async def test_codes_go_to_the_browsers_own_machine(
    browser: Browser, stand: InstanceStand, address: str
) -> None:
    code = await code_of(browser, stand, redirect_uri=address)
    assert (await browser.redeem(code, redirect_uri=address)).status_code == 200


OPEN_REDIRECTS = [
    "",
    "https://evil.test/cb",
    "http://evil.test/",
    "//evil.test",
    "/relative",
    "javascript:alert(1)",
    "data:text/html,x",
    "http://127.0.0.1@evil.test/",
    "http://user@127.0.0.1/",
    "http://127.0.0.1.evil.test/",
    "http://localhost.evil.test/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1\\@evil.test/",
    "http://evil.test\\@127.0.0.1/",
    "http://127.0.0.1/#evil",
    "https://127.0.0.1/",
    "http://127.0.0.1/\r\nx: y",
    "http://0.0.0.0/",
    "http://2130706433/",
    "http://127.0.0.1/" + "a" * 2_000,
    "vscode://gitlab/auth",
]


@pytest.mark.parametrize("address", OPEN_REDIRECTS)
async def test_codes_and_faults_go_nowhere_else(browser: Browser, address: str) -> None:
    for changes in ({}, {"response_type": "token"}, {"scope": "sudo"}):
        page = await browser.get(authorize(redirect_uri=address, **changes))
        assert page.status_code == 400
        assert "location" not in page.headers
        assert "isthmus_session" not in page.headers.get("set-cookie", "")


async def test_codes_go_to_listed_addresses_exactly(browser: Browser, stand: InstanceStand) -> None:
    listed = "vscode://gitlab/auth"
    settings = stand.instance.settings.model_copy(update={"oauth_redirects": (listed,)})
    object.__setattr__(stand.instance, "settings", settings)
    code = await code_of(browser, stand, redirect_uri=listed)
    assert (await browser.redeem(code, redirect_uri=listed)).status_code == 200
    assert (await browser.get(authorize(redirect_uri=listed + "/more"))).status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": ""}, "unsupported_response_type"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "x"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"scope": "api sudo"}, "invalid_scope"),
        ({"scope": "ai_workflows"}, "invalid_scope"),
    ],
)
async def test_the_client_is_told_what_is_wrong(
    browser: Browser, changes: dict[str, str], error: str
) -> None:
    reply = await browser.get(authorize(**changes))
    assert reply.status_code == 303
    told = query_of(reply.headers["location"])
    assert (told["error"], told["state"]) == (error, "s-1")


@pytest.mark.parametrize("client_id", ["", "a b", "x" * 256, "\n", "é"])
async def test_a_client_says_who_it_is(browser: Browser, client_id: str) -> None:
    assert (await browser.get(authorize(client_id=client_id))).status_code == 400
    twice = authorize() + "&redirect_uri=https://evil.test"
    assert (await browser.get(twice)).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "w" * 43},
        {"code_verifier": ""},
        {"code_verifier": CHALLENGE},
        {"code_verifier": "v" * 42},
        {"code_verifier": VERIFIER + "\n"},
        {"redirect_uri": "http://127.0.0.1:8081/callback"},
        {"redirect_uri": ""},
        {"client_id": "another"},
        {"code": "unknown"},
        {"code": ""},
        {"code": "c" * 9_000},
    ],
)
async def test_a_code_is_worth_nothing_without_all_that_belongs_to_it(
    browser: Browser, stand: InstanceStand, changes: dict[str, str]
) -> None:
    code = await code_of(browser, stand)
    assert refused(await browser.redeem(**({"code": code} | changes)))
    if "code" not in changes:
        # Whoever tried has had its one try.
        assert refused(await browser.redeem(code))


async def test_a_code_ends_soon(browser: Browser, stand: InstanceStand) -> None:
    code = await code_of(browser, stand)
    stand.clock.advance(121.0)
    assert refused(await browser.redeem(code))


async def test_a_code_that_comes_twice_takes_back_what_it_gave(
    browser: Browser, stand: InstanceStand
) -> None:
    code = await code_of(browser, stand)
    given = (await browser.redeem(code)).json()
    assert await lets_in(browser, given["access_token"])
    assert refused(await browser.redeem(code))
    assert not await lets_in(browser, given["access_token"])
    reply = await browser.token("refresh_token", refresh_token=given["refresh_token"])
    assert refused(reply)


async def test_a_refresh_token_works_once(browser: Browser, stand: InstanceStand) -> None:
    first = await tokens_of(browser, stand)
    other = await tokens_of(browser, stand)
    second = (await browser.token("refresh_token", refresh_token=first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert await lets_in(browser, second["access_token"])
    # Somebody else has the first one: its whole family ends, and no other.
    assert refused(await browser.token("refresh_token", refresh_token=first["refresh_token"]))
    assert not await lets_in(browser, second["access_token"])
    assert not await lets_in(browser, first["access_token"])
    assert refused(await browser.token("refresh_token", refresh_token=second["refresh_token"]))
    assert await lets_in(browser, other["access_token"])


async def test_a_refresh_token_is_its_clients(browser: Browser, stand: InstanceStand) -> None:
    given = await tokens_of(browser, stand)
    renewal = given["refresh_token"]
    reply = await browser.token("refresh_token", refresh_token=renewal, client_id="another")
    assert refused(reply)
    assert refused(await browser.token("refresh_token", refresh_token=renewal))
    late = (await tokens_of(browser, stand))["refresh_token"]
    stand.clock.advance(31 * 86_400.0)
    assert refused(await browser.token("refresh_token", refresh_token=late))


@pytest.mark.parametrize("kind", ["access_token", "personal"])
async def test_only_refresh_tokens_refresh(
    browser: Browser, stand: InstanceStand, kind: str
) -> None:
    text = stand.alice.token
    if kind == "access_token":
        text = (await tokens_of(browser, stand))["access_token"]
    assert refused(await browser.token("refresh_token", refresh_token=text))


async def test_a_refresh_token_and_a_code_let_nobody_in(
    browser: Browser, stand: InstanceStand
) -> None:
    code = await code_of(browser, stand)
    assert not await lets_in(browser, code)
    given = (await browser.redeem(code)).json()
    assert not await lets_in(browser, given["refresh_token"])


async def test_a_disabled_user_gets_no_more_tokens(browser: Browser, stand: InstanceStand) -> None:
    code, given = await code_of(browser, stand), await tokens_of(browser, stand)
    await stand.stores.users.change(stand.alice.user.id, lambda user: replace(user, active=False))
    assert refused(await browser.redeem(code))
    assert refused(await browser.token("refresh_token", refresh_token=given["refresh_token"]))
    assert not await lets_in(browser, given["access_token"])


async def test_what_is_asked_for_is_what_is_given(browser: Browser, stand: InstanceStand) -> None:
    code = await code_of(browser, stand, scope="read_api ai_features")
    given = (await browser.redeem(code)).json()
    assert given["scope"] == "ai_features read_api"
    headers = {"authorization": f"Bearer {given['access_token']}"}
    reply = await browser.http.post("/api/v4/ai/duo_workflows/direct_access", headers=headers)
    assert reply.json()["error"] == "insufficient_scope"


async def test_other_grants_are_not_given(browser: Browser, stand: InstanceStand) -> None:
    secret = {"username": "alice", "password": stand.alice.token}
    for grant in ("password", "client_credentials", ""):
        assert refused(await browser.token(grant, **secret), "unsupported_grant_type")
    nobody = await browser.token("refresh_token", refresh_token="x", client_id="")
    assert refused(nobody, "invalid_client", 401)
    reply = await browser.http.post(
        "/oauth/token", content=b"[1]", headers={"content-type": "application/json"}
    )
    assert refused(reply, "invalid_request")
    wrong = await browser.http.post("/oauth/token", json={"grant_type": {"a": 1}})
    assert refused(wrong, "invalid_request")


async def test_secrets_do_not_come_in_an_address(browser: Browser, stand: InstanceStand) -> None:
    code = await code_of(browser, stand)
    reply = await browser.http.post(
        f"/oauth/token?grant_type=authorization_code&client_id={CLIENT}&code={code}"
        f"&redirect_uri={CALLBACK}&code_verifier={VERIFIER}"
    )
    assert refused(reply, "unsupported_grant_type")
    assert isinstance(stand.services.telemetry, MemorySink)
    served = stand.services.telemetry.of(HttpServed)
    assert served[-1].path == "/oauth/token"
    assert all(code not in repr(fact) for fact in served)


async def test_a_client_throws_its_tokens_away(browser: Browser, stand: InstanceStand) -> None:
    given = await tokens_of(browser, stand)
    access, renewal = given["access_token"], given["refresh_token"]

    async def revoke(token: str, client_id: str = CLIENT) -> int:
        form = {"token": token, "client_id": client_id}
        return (await browser.http.post("/oauth/revoke", data=form)).status_code

    assert await revoke(access, "another") == 200
    assert await revoke("unknown") == 200
    assert await revoke(stand.alice.token, "") == 200
    assert await lets_in(browser, stand.alice.token)
    assert await lets_in(browser, access)
    assert await revoke(renewal) == 200
    assert not await lets_in(browser, access)
    assert refused(await browser.token("refresh_token", refresh_token=renewal))


async def begun(browser: Browser) -> dict[str, Any]:
    form = {"client_id": CLIENT, "scope": "api"}
    reply = await browser.http.post("/oauth/authorize_device", data=form)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def decided(browser: Browser, stand: InstanceStand, typed: str, decision: str) -> str:
    """What the page says in the end."""
    asked = await browser.sign_in(await browser.get("/oauth/device"), "bob", stand.bob.token)
    consent = await browser.send(asked, user_code=typed)
    assert CLIENT in consent.text
    return (await browser.send(consent, decision=decision)).text


async def test_a_device_is_let_in(browser: Browser, stand: InstanceStand) -> None:
    device = await begun(browser)
    assert device["verification_uri"] == f"{URL}/oauth/device"
    code = device["device_code"]
    poll = {"device_code": code}
    assert refused(await browser.token(DEVICE_GRANT, **poll), "authorization_pending")
    assert refused(await browser.token(DEVICE_GRANT, **poll), "slow_down")
    typed = device["user_code"].lower().replace("-", " ")
    assert "may go on" in await decided(browser, stand, typed, "allow")
    given = (await browser.token(DEVICE_GRANT, **poll)).json()
    headers = {"authorization": f"Bearer {given['access_token']}"}
    assert (await browser.http.get(USER, headers=headers)).json()["username"] == "bob"
    assert refused(await browser.token(DEVICE_GRANT, **poll))


async def test_a_device_is_turned_away(browser: Browser, stand: InstanceStand) -> None:
    device = await begun(browser)
    assert "turned away" in await decided(browser, stand, device["user_code"], "deny")
    reply = await browser.token(DEVICE_GRANT, device_code=device["device_code"])
    assert refused(reply, "access_denied")


async def test_a_device_waits_only_so_long_and_for_its_own_client(
    browser: Browser, stand: InstanceStand
) -> None:
    device = await begun(browser)
    poll = {"device_code": device["device_code"]}
    assert refused(await browser.token(DEVICE_GRANT, **poll, client_id="another"))
    assert refused(await browser.token(DEVICE_GRANT, device_code="unknown"))
    stand.clock.advance(600.0)
    assert refused(await browser.token(DEVICE_GRANT, **poll), "expired_token")
    asked = await browser.sign_in(await browser.get("/oauth/device"), "bob", stand.bob.token)
    late = await browser.send(asked, user_code=device["user_code"])
    assert late.status_code == 404


async def test_device_codes_cannot_be_guessed_for_long(
    browser: Browser, stand: InstanceStand
) -> None:
    asked = await browser.sign_in(await browser.get("/oauth/device"), "bob", stand.bob.token)
    for _ in range(20):
        assert (await browser.send(asked, user_code="BCDF-GHJK")).status_code == 404
    assert (await browser.send(asked, user_code="BCDF-GHJK")).status_code == 429


@pytest.mark.parametrize(
    ("form", "error", "status"),
    [
        ({"client_id": ""}, "invalid_client", 401),
        ({"client_id": CLIENT, "scope": "sudo"}, "invalid_scope", 400),
    ],
)
async def test_devices_of_nobody_are_refused(
    browser: Browser, form: dict[str, str], error: str, status: int
) -> None:
    reply = await browser.http.post("/oauth/authorize_device", data=form)
    assert refused(reply, error, status)


async def test_of_two_who_refresh_at_once_one_gets_it(stand: InstanceStand) -> None:
    wish = Wish(TokenKind.REFRESH, frozenset({"api"}), 60.0, client_id=CLIENT)
    renewal = await stand.instance.accounts.mint(stand.alice.user, wish)
    form = {"client_id": CLIENT, "refresh_token": renewal.text}
    oauth = stand.instance.oauth
    both = await asyncio.gather(oauth.refresh(form), oauth.refresh(form))
    assert sorted(type(each).__name__ for each in both) == ["Fault", "Issued"]
