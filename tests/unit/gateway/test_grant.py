"""Tokens for users: who may ask, and every claim."""

import json

import pytest

from isthmus.auth.issue import SigningKey
from isthmus.core.errors import CannotSign, Forbidden, InsufficientCredits, Invalid
from isthmus.core.events import FeatureUsed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import Use
from isthmus.gateway.grant import Grant, Granted, Signer
from tests.support.clock import HandClock
from tests.support.sink import MemorySink
from tests.support.tokens import NOW_S, claims_in, pem_of, private_key, unb64

GATEWAY, PLATFORM = "gitlab-ai-gateway", "gitlab-duo-workflow-service"
NOBODY = ClientInfo()
SIGNING = SigningKey.from_pem(pem_of(private_key()))


def grant(key: SigningKey | None = SIGNING) -> Grant:
    return Grant(
        Signer(GATEWAY, key),
        Signer(PLATFORM, key),
        HandClock(),
        MemorySink(),
        new_id=lambda: "an-id",
    )


def instance(*scopes: str, **changes: object) -> Caller:
    values: dict[str, object] = {
        "subject": "instance-1",
        "issuer": "https://gitlab.example.test",
        "scopes": frozenset(scopes),
        "realm": "self-managed",
        "instance_id": "instance-1",
        "instance_uid": "uid-1",
        "seat_count": "25",
        "global_user_id": "user-1",
    }
    return Caller(**(values | changes))  # type: ignore[arg-type] - a table of fields


async def test_h11_21_a_user_token_says_who_for_what_and_how_long() -> None:
    granted = await grant().user_token(instance("complete_code", "duo_chat"), NOBODY)
    assert granted.expires_at == NOW_S + 3600
    assert claims_in(granted.token) == {
        "iss": GATEWAY,
        "aud": GATEWAY,
        "sub": "user-1",
        "iat": NOW_S,
        "nbf": NOW_S,
        "exp": NOW_S + 3600,
        "jti": "an-id",
        "gitlab_realm": "self-managed",
        "gitlab_instance_id": "instance-1",
        "gitlab_instance_uid": "uid-1",
        "scopes": ["complete_code"],
        "duo_seat_count": "25",
    }
    assert "kid" not in json.loads(unb64(granted.token.split(".")[0]))


async def test_h11_22_both_scopes_come_in_order() -> None:
    caller = instance("ai_gateway_model_provider_proxy", "complete_code")
    claims = claims_in((await grant().user_token(caller, NOBODY)).token)
    assert claims["scopes"] == ["complete_code", "ai_gateway_model_provider_proxy"]


async def test_h11_23_and_24_others_may_not() -> None:
    for caller in (
        instance("duo_chat", "generate_code"),
        instance("complete_code", self_issued=True, issuer=GATEWAY),
    ):
        with pytest.raises(Forbidden) as caught:
            await grant().user_token(caller, NOBODY)
        assert caught.value.detail == "Unauthorized to create user access token"


async def test_h11_25_without_a_key_nothing_is_signed() -> None:
    with pytest.raises(CannotSign) as caught:
        await grant(None).user_token(instance("complete_code"), NOBODY)
    assert caught.value.detail == "Failed to generate JWT"


async def test_h11_26_what_the_realms_carry() -> None:
    client = ClientInfo(
        {
            "x-gitlab-project-id": "17",
            "x-gitlab-namespace-id": "abc",
            "x-gitlab-root-namespace-id": "42",
        }
    )
    saas = claims_in(
        (await grant().user_token(instance("complete_code", realm="saas"), client)).token
    )
    assert (saas["gitlab_project_id"], saas["gitlab_namespace_id"]) == ("17", "abc")
    assert saas["gitlab_root_namespace_id"] == 42
    assert "gitlab_instance_uid" not in saas
    managed = claims_in((await grant().user_token(instance("complete_code"), client)).token)
    assert managed["gitlab_instance_uid"] == "uid-1"
    assert not {"gitlab_project_id", "gitlab_namespace_id", "gitlab_root_namespace_id"} & set(
        managed
    )


@pytest.mark.parametrize(
    ("claim", "header", "expected"),
    [
        (7, "42", 7),
        ("8", "42", 8),
        (True, "42", 42),
        (0, "42", 42),
        (None, "x", None),
        ([], "", None),
    ],
)
async def test_the_root_namespace_comes_from_the_claim_first(
    claim: object, header: str, expected: int | None
) -> None:
    caller = instance("complete_code", realm="saas", extra={"gitlab_root_namespace_id": claim})
    client = ClientInfo({"x-gitlab-root-namespace-id": header})
    claims = claims_in((await grant().user_token(caller, client)).token)
    assert claims["gitlab_root_namespace_id"] == expected
    assert claims["gitlab_project_id"] is None


async def test_extra_claims_are_copied_and_replace_nothing() -> None:
    hostile = {
        "aud": "x",
        "sub": "root",
        "scopes": ["duo_chat"],
        "exp": 0,
        "skip_usage_cutoff": True,
    }
    claims = claims_in(
        (await grant().user_token(instance("complete_code", extra=hostile), NOBODY)).token
    )
    assert (claims["aud"], claims["sub"], claims["scopes"]) == (
        GATEWAY,
        "user-1",
        ["complete_code"],
    )
    assert claims["skip_usage_cutoff"] is True


async def test_a_blank_seat_count_is_left_out() -> None:
    caller = instance("complete_code", seat_count=" ")
    assert "duo_seat_count" not in claims_in((await grant().user_token(caller, NOBODY)).token)


async def test_a_user_must_be_named() -> None:
    caller = instance("complete_code", "duo_chat", global_user_id="")
    with pytest.raises(Invalid) as caught:
        await grant().user_token(caller, NOBODY)
    assert caught.value.detail == "Validation error"
    with pytest.raises(Invalid):
        grant().platform_token(caller, NOBODY, "chat")


async def test_a_debug_caller_gets_everything_under_its_own_name() -> None:
    debug = Caller("debug", debug=True)
    user = claims_in((await grant().user_token(debug, NOBODY)).token)
    assert user["sub"] == "debug"
    assert user["scopes"] == ["complete_code", "ai_gateway_model_provider_proxy"]
    session = claims_in(grant().platform_token(debug, NOBODY, "").token)
    assert isinstance(session["scopes"], list)
    assert "duo_agent_platform" in session["scopes"]


def test_a12_13_a_platform_token() -> None:
    kept = {"skip_usage_cutoff": True, "tool_access_policies": {"deny": ["x"]}, "other": 1}
    caller = instance("duo_chat", "duo_agent_platform", "complete_code", "made_up", extra=kept)
    client = ClientInfo({"x-gitlab-realm": "saas", "x-gitlab-instance-id": "instance-9"})
    granted = grant().platform_token(caller, client, "chat")
    assert isinstance(granted, Granted)
    assert claims_in(granted.token) == {
        "iss": PLATFORM,
        "aud": PLATFORM,
        "sub": "user-1",
        "iat": NOW_S,
        "nbf": NOW_S,
        "exp": NOW_S + 3600,
        "jti": "an-id",
        "gitlab_realm": "saas",
        "gitlab_instance_id": "instance-9",
        "gitlab_instance_uid": "uid-1",
        "scopes": ["duo_agent_platform", "duo_chat"],
        "duo_seat_count": "25",
        "skip_usage_cutoff": True,
        "tool_access_policies": {"deny": ["x"]},
    }
    header = json.loads(unb64(granted.token.split(".")[0]))
    assert header == {"alg": "RS256", "typ": "JWT", "kid": f"{PLATFORM}_signing_key"}


@pytest.mark.parametrize(
    ("scope", "definition", "allowed"),
    [
        ("duo_chat", "chat", True),
        ("duo_chat", "developer/v1", False),
        ("duo_chat", "", False),
        ("duo_agent_platform", "chat", False),
        ("duo_agent_platform", "", True),
        ("duo_workflow_execute_workflow", "developer/v1", True),
        ("duo_workflow_execute_workflow", "chat", False),
    ],
)
def test_a12_10_and_11_the_definition_decides_the_scope(
    scope: str, definition: str, allowed: bool
) -> None:
    if allowed:
        assert grant().platform_token(instance(scope), NOBODY, definition).token
        return
    with pytest.raises(Forbidden) as caught:
        grant().platform_token(instance(scope), NOBODY, definition)
    assert caught.value.detail == "Unauthorized to generate token"


def test_a12_12_our_own_token_gets_no_other() -> None:
    with pytest.raises(Forbidden):
        grant().platform_token(instance("duo_chat", self_issued=True), NOBODY, "chat")


async def test_ids_differ_by_default() -> None:
    real = Grant(Signer(GATEWAY, SIGNING), Signer(PLATFORM, SIGNING), HandClock(), MemorySink())
    tokens = [(await real.user_token(instance("complete_code"), NOBODY)).token for _ in range(2)]
    assert claims_in(tokens[0])["jti"] != claims_in(tokens[1])["jti"]


class Counting:
    """A quota that counts, and refuses when told to."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.asked: list[Use] = []
        self._refusal = refusal

    async def check(self, use: Use, caller: Caller, client: ClientInfo) -> None:
        del caller, client
        self.asked.append(use)
        if self._refusal is not None:
            raise self._refusal


def metered(quota: Counting, sink: MemorySink) -> Grant:
    signer = Signer(GATEWAY, SIGNING)
    return Grant(signer, signer, HandClock(), sink, quota)


async def test_credits_are_asked_for_before_the_permission_and_after_the_user() -> None:
    quota, sink = Counting(InsufficientCredits("none left")), MemorySink()
    with pytest.raises(InsufficientCredits):
        await metered(quota, sink).user_token(instance(), NOBODY)
    with pytest.raises(Invalid):
        await metered(quota, sink).user_token(instance(global_user_id=""), NOBODY)
    assert quota.asked == [Use("code_completions", "code_suggestions")]
    assert sink.facts == []


async def test_a_granted_token_is_told_once() -> None:
    quota, sink = Counting(), MemorySink()
    caller = instance("complete_code")
    await metered(quota, sink).user_token(caller, NOBODY)
    assert sink.facts == [FeatureUsed("complete_code", caller, NOBODY)]
    with pytest.raises(Forbidden):
        await metered(quota, sink).user_token(instance("duo_chat"), NOBODY)
    assert (len(quota.asked), len(sink.facts)) == (2, 1)
