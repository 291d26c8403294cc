"""People at browsers: signing in, forms of ours alone, and cookies that other pages cannot use."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from isthmus.auth.password import SALT_BYTES, hashed
from isthmus.core.accounts import TokenKind
from tests.support.browser import CALLBACK, Browser, authorize, browsing, query_of
from tests.support.instance_stand import URL, InstanceStand

USER = "/api/v4/user"
PASSWORD = "correct horse battery staple"
OURS = {"origin": URL, "sec-fetch-site": "same-origin"}


@pytest.fixture(name="browser")
async def _browser(stand: InstanceStand) -> AsyncIterator[Browser]:
    async with browsing(stand.app) as browser:
        yield browser


@pytest.fixture(scope="module", name="kept")
def _kept() -> str:
    return hashed(PASSWORD, b"s" * SALT_BYTES)


async def signed_in(browser: Browser, stand: InstanceStand) -> httpx.Response:
    """The page after it."""
    return await browser.sign_in(await browser.get(authorize()), "alice", stand.alice.token)


async def test_a_password_signs_in_and_a_wrong_one_does_not(
    browser: Browser, stand: InstanceStand, kept: str
) -> None:
    await stand.stores.users.change(stand.alice.user.id, lambda user: replace(user, password=kept))
    page = await browser.get(authorize())
    wrong, nobody = await asyncio.gather(
        browser.send(page, username="alice", password=PASSWORD + "!"),
        browser.send(page, username="nobody", password=PASSWORD),
    )
    for reply in (wrong, nobody):
        assert reply.status_code == 401
        assert "The username or the password is wrong." in reply.text
        assert "isthmus_session" not in reply.headers.get("set-cookie", "")
        assert PASSWORD not in reply.text
    consent = await browser.sign_in(page, "ALICE", PASSWORD)
    assert "Let a client in?" in consent.text


@pytest.mark.parametrize(
    ("username", "kind", "scopes"),
    [
        ("bob", TokenKind.PERSONAL, {"api"}),
        ("", TokenKind.PERSONAL, {"api"}),
        ("alice", TokenKind.PERSONAL, {"read_api"}),
        ("alice", TokenKind.OAUTH, {"api"}),
        ("alice", TokenKind.FLOW, {"api"}),
        ("alice", TokenKind.BROWSER, {"api"}),
    ],
)
async def test_only_ones_own_personal_token_stands_for_a_password(
    browser: Browser, stand: InstanceStand, username: str, kind: TokenKind, scopes: set[str]
) -> None:
    headers = await stand.token(stand.alice, kind, *scopes)
    secret = headers["authorization"].removeprefix("Bearer ")
    page = await browser.get(authorize())
    reply = await browser.send(page, username=username, password=secret)
    assert reply.status_code == 401


async def test_a_disabled_user_does_not_sign_in(
    browser: Browser, stand: InstanceStand, kept: str
) -> None:
    await stand.stores.users.change(
        stand.alice.user.id, lambda user: replace(user, password=kept, active=False)
    )
    page = await browser.get(authorize())
    for secret in (PASSWORD, stand.alice.token):
        assert (await browser.send(page, username="alice", password=secret)).status_code == 401


async def test_attempts_are_counted_by_name(browser: Browser, stand: InstanceStand) -> None:
    page = await browser.get(authorize())
    for _ in range(20):
        reply = await browser.send(page, username="alice", password="glpat-wrong")
        assert reply.status_code == 401
    refused = await browser.send(page, username=" Alice", password=stand.alice.token)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    stand.clock.advance(300.0)
    assert "Let a client in?" in (await browser.sign_in(page, "alice", stand.alice.token)).text


async def test_pages_cannot_be_framed_kept_or_scripted(
    browser: Browser, stand: InstanceStand
) -> None:
    pages = [await browser.get(authorize()), await browser.get("/oauth/device")]
    pages += [await browser.get("/oauth/authorize"), await signed_in(browser, stand)]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["cache-control"] == "no-store"
        assert "<script" not in page.text
    assert (
        "form-action 'self' http://127.0.0.1:8080" in pages[-1].headers["content-security-policy"]
    )


async def test_what_a_client_says_is_text_on_the_page(
    browser: Browser, stand: InstanceStand
) -> None:
    hostile = '"><img/src=x/onerror=alert(1)>'
    page = await browser.get(authorize(client_id=hostile, state=hostile))
    consent = await browser.sign_in(page, "alice", stand.alice.token)
    for shown in (page.text, consent.text):
        assert "<img" not in shown
    wrong = await browser.send(await browser.get("/oauth/device"), user_code="<img src=x>")
    assert "<img" not in wrong.text


async def test_the_cookie_is_for_this_site_alone(browser: Browser, stand: InstanceStand) -> None:
    page = await browser.get(authorize())
    reply = await browser.send(page, username="alice", password=stand.alice.token)
    for cookie in (page.headers["set-cookie"], reply.headers["set-cookie"]):
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie
    assert reply.headers["location"] == authorize()
    over_tls = stand.instance.settings.model_copy(update={"external_url": "https://x.test"})
    object.__setattr__(stand.instance, "settings", over_tls)
    assert "Secure" in (await browsing_anew(stand)).headers["set-cookie"]


async def browsing_anew(stand: InstanceStand) -> httpx.Response:
    async with browsing(stand.app) as browser:
        return await browser.get(authorize())


FOREIGN = [
    {"origin": "http://evil.test", "sec-fetch-site": "cross-site"},
    {"origin": "http://evil.test"},
    {"origin": "null", "sec-fetch-site": "same-origin"},
    {"origin": URL, "sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"origin": URL + ".evil.test"},
    {"origin": "http://instance.test:81"},
    {},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_forms_of_other_pages_do_nothing(
    browser: Browser, stand: InstanceStand, headers: dict[str, str]
) -> None:
    page = await browser.get(authorize())
    sign_in = {"username": "alice", "password": stand.alice.token}
    assert (await browser.send(page, headers, **sign_in)).status_code == 403
    consent = await signed_in(browser, stand)
    reply = await browser.send(consent, headers, decision="allow")
    assert reply.status_code == 403
    assert "location" not in reply.headers


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é"])
async def test_a_form_brings_its_proof(browser: Browser, stand: InstanceStand, csrf: str) -> None:
    consent = await signed_in(browser, stand)
    assert (await browser.send(consent, csrf=csrf, decision="allow")).status_code == 403


async def test_a_proof_is_of_one_browser_and_one_session(
    browser: Browser, stand: InstanceStand
) -> None:
    before = await browser.get(authorize())
    consent = await signed_in(browser, stand)
    # The proof of before, and that of another browser's session, are worth nothing here.
    assert (await browser.send(before, decision="allow")).status_code == 403
    async with browsing(stand.app) as another:
        theirs = await another.sign_in(await another.get(authorize()), "bob", stand.bob.token)
        assert (await browser.send(theirs, decision="allow")).status_code == 403
        assert (await another.send(consent, decision="allow")).status_code == 403
    async with browsing(stand.app) as bare:
        assert (await bare.send(consent, decision="allow")).status_code == 403


async def test_large_and_broken_forms_are_refused(browser: Browser, stand: InstanceStand) -> None:
    consent = await signed_in(browser, stand)
    assert (await browser.send(consent, decision="a" * 20_000)).status_code == 400
    many = "&".join(f"a{number}=1" for number in range(100))
    for content in (many.encode(), b"\xff=1"):
        reply = await browser.http.post(authorize(), content=content, headers=OURS)
        assert reply.status_code == 400


async def test_somebody_else_may_sign_in_instead(browser: Browser, stand: InstanceStand) -> None:
    consent = await signed_in(browser, stand)
    session = browser.http.cookies["isthmus_session"]
    left = await browser.send(consent, decision="leave")
    page = await browser.get(left.headers["location"])
    assert "password" in page.text
    browser.http.cookies.set("isthmus_session", session, domain="instance.test")
    assert "password" in (await browser.get(authorize())).text
    browser.http.cookies.delete("isthmus_session", domain="instance.test")
    assert "bob" in (await browser.sign_in(page, "bob", stand.bob.token)).text


async def test_a_session_ends(browser: Browser, stand: InstanceStand) -> None:
    await signed_in(browser, stand)
    assert (await browser.http.get(USER, headers=OURS)).status_code == 200
    stand.clock.advance(12 * 3_600.0)
    assert (await browser.http.get(USER, headers=OURS)).status_code == 401
    assert "password" in (await browser.get(authorize())).text


async def test_our_pages_use_the_api_with_the_cookie(
    browser: Browser, stand: InstanceStand
) -> None:
    await signed_in(browser, stand)
    reads = await browser.http.get(USER, headers={"sec-fetch-site": "same-origin"})
    assert reads.json()["username"] == "alice"
    path = "/api/v4/ai/duo_workflows/workflows"
    made = await browser.http.post(path, json={"goal": "x"}, headers=OURS)
    assert made.status_code == 201
    assert (await browser.http.get(USER)).status_code == 200


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_other_pages_cannot_use_the_cookie(
    browser: Browser, stand: InstanceStand, headers: dict[str, str]
) -> None:
    await signed_in(browser, stand)
    path = "/api/v4/ai/duo_workflows/workflows"
    made = await browser.http.post(path, json={"goal": "x"}, headers=headers)
    assert made.status_code == 401
    if headers not in ({}, {"sec-fetch-site": "none"}):
        assert (await browser.http.get(USER, headers=headers)).status_code == 401


async def test_a_cookie_is_no_bearer_and_a_token_is_no_cookie(
    browser: Browser, stand: InstanceStand
) -> None:
    await signed_in(browser, stand)
    session = browser.http.cookies["isthmus_session"]
    browser.http.cookies.clear()
    bearer = OURS | {"authorization": f"Bearer {session}"}
    assert (await browser.http.get(USER, headers=bearer)).status_code == 401
    cookie = OURS | {"cookie": f"isthmus_session={stand.alice.token}"}
    assert (await browser.http.get(USER, headers=cookie)).status_code == 401
    right = OURS | {"cookie": f"a=b; isthmus_session={session}; c"}
    assert (await browser.http.get(USER, headers=right)).status_code == 200
    # A token that does not count is not made good by a cookie.
    both = right | {"authorization": "Bearer glpat-wrong"}
    assert (await browser.http.get(USER, headers=both)).status_code == 401


async def test_a_disabled_users_cookie_is_nobodys(browser: Browser, stand: InstanceStand) -> None:
    consent = await signed_in(browser, stand)
    await stand.stores.users.change(stand.alice.user.id, lambda user: replace(user, active=False))
    assert (await browser.http.get(USER, headers=OURS)).status_code == 401
    assert (await browser.send(consent, decision="allow")).status_code == 403


async def test_signing_in_leads_back_to_the_page_and_nowhere_else(
    browser: Browser, stand: InstanceStand
) -> None:
    reply = await browser.send(
        await browser.get(authorize()), username="alice", password=stand.alice.token, next="//evil"
    )
    assert reply.headers["location"].startswith("/oauth/authorize?")
    agreed = await browser.send(await browser.get(authorize()), decision="allow")
    assert agreed.headers["location"].startswith(CALLBACK)
    assert query_of(agreed.headers["location"])["state"] == "s-1"
