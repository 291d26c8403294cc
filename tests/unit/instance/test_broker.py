"""What the broker mints: tokens that the listeners take with the headers that go with them."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from isthmus.auth.authenticate import Authenticator, AuthPolicy
from isthmus.core.accounts import (
    FLOW_SCOPES,
    Member,
    Namespace,
    Place,
    Project,
    Token,
    TokenKind,
    User,
)
from isthmus.core.errors import (
    Forbidden,
    InsufficientCredits,
    NotEntitled,
    Unauthenticated,
    Unavailable,
)
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use
from isthmus.core.ports import VerificationKey
from isthmus.gateway.grant import Grant, Signer
from isthmus.instance.broker import Access, Broker, Identity, Reach, capabilities
from tests.support.clock import HandClock
from tests.support.http_app import SERVICE, signing_key
from tests.support.sink import MemorySink

CLOCK = HandClock()
US = Identity("i-1", "gitlab.test", "19.0.0-ee", "self-managed")
USER = User(7, "ada", "Ada", "ada@test", "g-7", 3, CLOCK.utc())
TOKEN = Token(
    1, TokenKind.PERSONAL, 7, frozenset({"api"}), "", "", CLOCK.utc(), None, None, details={}
)
MEMBER = Member(USER, TOKEN)
HOME = Namespace(3, "ada", "Ada", "ada", 3, owner_id=7)


class NoCredit:
    """A portal that says no."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    async def check(self, use: Use, caller: Caller, client: ClientInfo) -> None:
        assert use
        assert caller.global_user_id == "g-7"
        assert client
        raise self.failure


def broker(
    *, key: bool = True, quota: NoCredit | None = None, us: Identity = US, direct: bool = True
) -> Broker:
    held = signing_key() if key else None
    grant = Grant(Signer(SERVICE, held), Signer("platform", held), CLOCK, MemorySink(), quota)
    return Broker(grant, us, Reach(direct=direct))


class OurKey:
    """The key that signed everything here."""

    async def keys(self, kid: str | None) -> Sequence[VerificationKey]:
        return (signing_key().public(kid or ""),)


async def seen(access: Access, service: str = SERVICE) -> Caller:
    """Whom a listener sees behind the token and its headers."""
    headers = {name.lower(): value for name, value in access.headers.items()}
    presented = headers | {"authorization": f"Bearer {access.token}"}
    keys = Authenticator(OurKey(), AuthPolicy(service), MemorySink(), CLOCK)
    return await keys.caller(presented)


@pytest.mark.parametrize("realm", ["self-managed", "saas"])
async def test_i7_30_a_proxy_token_goes_with_its_headers_which_are_strings(realm: str) -> None:
    access = await broker(us=Identity("i-1", "gitlab.test", "19", realm)).gateway(MEMBER)
    assert all(type(value) is str for value in access.headers.values())
    assert access.headers["x-gitlab-unit-primitive"] == "ai_gateway_model_provider_proxy"
    assert access.headers["x-gitlab-authentication-type"] == "oidc"
    assert access.expires_at == int((CLOCK.utc() + timedelta(hours=1)).timestamp())
    caller = await seen(access)
    assert (caller.global_user_id, caller.realm, caller.self_issued) == ("g-7", realm, True)
    assert "ai_gateway_model_provider_proxy" in caller.scopes


async def test_a_proxy_token_without_its_headers_lets_nobody_in() -> None:
    access = await broker().gateway(MEMBER)
    another = dict(access.headers) | {"x-gitlab-global-user-id": "g-8"}
    with pytest.raises(Unauthenticated, match="Global-User-Id"):
        await seen(Access(access.token, access.expires_at, another))


async def test_a_suggestion_token_has_titled_headers() -> None:
    access = await broker().suggestions(MEMBER)
    assert access.headers["X-Gitlab-Authentication-Type"] == "oidc"
    assert access.headers["X-Gitlab-Saas-Duo-Pro-Namespace-Ids"] == ""
    assert "complete_code" in (await seen(access)).scopes


async def test_direct_connections_can_be_switched_off() -> None:
    with pytest.raises(Forbidden):
        await broker(direct=False).suggestions(MEMBER)


@pytest.mark.parametrize("project", [None, Project(9, "p", "p", "ada/p", 3, 3)])
async def test_a_platform_token_names_where_its_session_belongs(project: Project | None) -> None:
    access = await broker().platform(MEMBER, Place(HOME, project), "chat")
    assert access.headers["x-gitlab-root-namespace-id"] == "3"
    assert access.headers.get("x-gitlab-project-id") == ("9" if project else None)
    caller = await seen(access, "platform")
    assert caller.extra["gitlab_root_namespace_id"] == 3
    assert "duo_chat" in caller.scopes
    assert "complete_code" not in caller.scopes


async def test_without_a_key_nothing_is_minted() -> None:
    keyless = broker(key=False)
    with pytest.raises(Unavailable):
        await keyless.gateway(MEMBER)
    with pytest.raises(Unavailable):
        await keyless.platform(MEMBER, Place(HOME), "chat")


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (InsufficientCredits("none left"), "USAGE_QUOTA_EXCEEDED: none left"),
        (NotEntitled("not you"), "USAGE_BILLING_FORBIDDEN: not you"),
    ],
)
async def test_want_of_credits_is_told_in_the_contracts_words(
    failure: Exception, text: str
) -> None:
    with pytest.raises(Forbidden) as refused:
        await broker(quota=NoCredit(failure)).gateway(MEMBER)
    assert refused.value.detail == text


def test_capabilities_follow_what_is_switched_on() -> None:
    bare = capabilities(approval=False, incremental=False)
    whole = capabilities(approval=True, incremental=True)
    assert set(whole) - set(bare) == {
        "tool_call_approval",
        "tool_call_pattern_approval",
        "incremental_checkpoints",
    }
    assert FLOW_SCOPES.isdisjoint(whole)
