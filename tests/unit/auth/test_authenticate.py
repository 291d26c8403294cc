"""Headers in, caller out: the contract's order, texts and caches."""

import pytest

from isthmus.auth.authenticate import (
    Authenticator,
    AuthPolicy,
    Bound,
    gateway_policy,
    platform_policy,
    root_namespace_id,
)
from isthmus.core.errors import Unauthenticated, Unavailable
from isthmus.core.events import Noted
from isthmus.core.identity import Caller
from isthmus.core.ports import VerificationKey
from isthmus.settings import AuthSettings
from tests.support.clock import HandClock
from tests.support.sink import MemorySink
from tests.support.tokens import (
    INSTANCE,
    NOW_S,
    SERVICE,
    FixedKeys,
    headers_for,
    payload,
    private_key,
    public_of,
    signed,
)

OIDC = "Invalid authentication token type - only OIDC is supported"
REFUSED = "Forbidden by auth provider"


class Bench:
    """An authenticator with everything around it."""

    def __init__(self, policy: AuthPolicy | None = None) -> None:
        self.keys = FixedKeys(public_of(private_key()))
        self.sink = MemorySink()
        self.clock = HandClock()
        assert self.clock.utc().timestamp() == NOW_S
        chosen = policy or AuthPolicy(SERVICE)
        self.authenticator = Authenticator(self.keys, chosen, self.sink, self.clock)

    async def caller(self, token: str, **changes: str | None) -> Caller:
        headers = headers_for(token, **changes)
        recalled = self.authenticator.recall(headers, self.clock.utc().timestamp())
        caller = await self.authenticator.caller(headers)
        assert recalled is None or recalled == caller
        return caller

    async def refusal(self, token: str, **changes: str | None) -> str:
        headers = headers_for(token, **changes)
        assert self.authenticator.recall(headers, self.clock.utc().timestamp()) is None
        with pytest.raises(Unauthenticated) as caught:
            await self.caller(token, **changes)
        return caught.value.detail

    def notes(self) -> list[str]:
        return [note.event.rpartition(".")[2] for note in self.sink.of(Noted)]


def self_issued(**changes: object) -> str:
    return signed(payload(iss=SERVICE, sub="user-1", **changes))


async def test_an_instance_token_makes_a_caller() -> None:
    caller = await Bench().caller(signed(payload(gitlab_project_id=7)))
    assert caller == Caller(
        subject=INSTANCE,
        issuer="https://gitlab.example.test",
        scopes=frozenset({"complete_code", "generate_code", "duo_chat"}),
        realm="self-managed",
        instance_id=INSTANCE,
        instance_uid="uid-1",
        seat_count="25",
        global_user_id="user-1",
        extra={"gitlab_project_id": 7},
    )


async def test_h11_03_no_authorization_header() -> None:
    assert await Bench().refusal("", authorization=None) == "No authorization header presented"


@pytest.mark.parametrize("value", ["", "Basic x", "Bearerx", " Bearer x", "Token x"])
async def test_h11_06_another_scheme(value: str) -> None:
    assert await Bench().refusal("", authorization=value) == "Invalid authorization header"


@pytest.mark.parametrize("value", [None, "", "oidc ", "jwt"])
async def test_h11_07_another_token_type(value: str | None) -> None:
    token = signed(payload())
    assert await Bench().refusal(token, x_gitlab_authentication_type=value) == OIDC


async def test_h11_08_the_token_type_in_capitals() -> None:
    token = signed(payload())
    assert await Bench().refusal(token, x_gitlab_authentication_type="OIDC") == OIDC


async def test_the_checks_stand_in_the_contracts_order() -> None:
    bench = Bench()
    wrong = {"x_gitlab_realm": "saas", "x_gitlab_instance_id": "other"}
    late = signed(payload(exp=NOW_S))
    none = None
    assert "presented" in await bench.refusal(
        late, authorization=none, x_gitlab_authentication_type=none, **wrong
    )
    assert "Invalid authorization" in await bench.refusal(
        late, authorization="Basic x", x_gitlab_authentication_type=none, **wrong
    )
    assert await bench.refusal(late, x_gitlab_authentication_type=none, **wrong) == OIDC
    assert await bench.refusal(late, **wrong) == REFUSED
    good = signed(payload())
    assert await bench.refusal(good, **wrong) == "Header mismatch 'X-Gitlab-Realm'"
    wrong["x_gitlab_realm"] = "self-managed"
    assert await bench.refusal(good, **wrong) == "Header mismatch 'X-Gitlab-Instance-Id'"


async def test_the_scheme_is_case_insensitive_and_one_space_follows_it() -> None:
    token = signed(payload())
    for scheme in ("bearer", "BEARER", "BeArEr"):
        assert (await Bench().caller(token, authorization=f"{scheme} {token}")).subject
    assert await Bench().refusal(token, authorization=f"Bearer  {token}") == REFUSED
    assert await Bench().refusal(token, authorization="Bearer") == REFUSED
    assert await Bench().refusal(token, authorization=f"Bearer {token} ") == REFUSED


async def test_h11_09_bad_tokens_and_no_look_at_the_keys_for_hopeless_ones() -> None:
    bench = Bench()
    for token in (
        signed(payload(exp=NOW_S - 1)),
        signed(payload(nbf=NOW_S + 60)),
        signed(payload(aud="another")),
        "x" * 20_000,
        "not a token",
        "é",
    ):
        assert await bench.refusal(token) == REFUSED
    assert bench.keys.asked == []
    assert await bench.refusal(signed(payload(), private_key("nobody"))) == REFUSED
    assert await bench.refusal(signed(payload(), header={"alg": "none"})) == REFUSED


async def test_h11_11_the_realm_header_must_match() -> None:
    bench, token = Bench(), signed(payload())
    for value in (None, "", "saas", "Self-Managed"):
        detail = await bench.refusal(token, x_gitlab_realm=value)
        assert detail == "Header mismatch 'X-Gitlab-Realm'"


async def test_h11_12_the_instance_header_must_match() -> None:
    bench, token = Bench(), signed(payload())
    for value in (None, "", "other", INSTANCE.upper()):
        detail = await bench.refusal(token, x_gitlab_instance_id=value)
        assert detail == "Header mismatch 'X-Gitlab-Instance-Id'"


async def test_the_subject_of_a_foreign_token_is_its_instance() -> None:
    token = signed(payload(sub="another", gitlab_instance_id=None))
    assert await Bench().refusal(token) == "Header mismatch 'X-Gitlab-Instance-Id'"
    token = signed(payload(gitlab_instance_id=None))
    assert (await Bench().caller(token)).subject == INSTANCE


async def test_h11_13_the_user_of_our_own_token_must_match() -> None:
    bench, token = Bench(), self_issued()
    assert (await bench.caller(token)).self_issued
    for value in (None, "", "user-2"):
        detail = await bench.refusal(token, x_gitlab_global_user_id=value)
        assert detail == "Header mismatch 'X-Gitlab-Global-User-Id'"


async def test_h11_14_seat_counts_that_differ_are_told_and_pass() -> None:
    bench, token = Bench(), signed(payload())
    assert (await bench.caller(token, x_gitlab_duo_seat_count="24")).seat_count == "25"
    assert bench.notes() == ["seat_count_differs"]


async def test_h11_15_empty_claims_are_not_compared() -> None:
    token = signed(payload(gitlab_realm=None, gitlab_instance_id=None, sub=None))
    caller = await Bench().caller(token, x_gitlab_realm=None, x_gitlab_instance_id=None)
    assert (caller.realm, caller.subject) == ("", "")


async def test_h11_16_bypass_lets_everybody_in_and_says_so_each_time() -> None:
    bench = Bench(AuthPolicy(SERVICE, bypass=True))
    caller = await bench.authenticator.caller({"x-gitlab-global-user-id": "u"})
    assert caller == Caller(subject="debug", debug=True, global_user_id="u")
    await bench.authenticator.caller({})
    assert [note.level for note in bench.sink.of(Noted)] == ["critical", "critical"]


async def test_h11_17_bypass_with_header_wants_the_exact_value() -> None:
    bench = Bench(AuthPolicy(SERVICE, bypass_with_header=True))
    assert (await bench.authenticator.caller({"bypass-auth": "true"})).debug
    for value in ("1", "True", "TRUE", "", "true "):
        with pytest.raises(Unauthenticated):
            await bench.authenticator.caller({"bypass-auth": value})


async def test_the_bypass_header_alone_opens_nothing() -> None:
    with pytest.raises(Unauthenticated):
        await Bench().authenticator.caller({"bypass-auth": "true"})


async def test_bypassing_the_signature_bypasses_nothing_else() -> None:
    bench = Bench(AuthPolicy(SERVICE, bypass_signature=True))
    assert (await bench.caller(signed(payload(), private_key("nobody")))).subject == INSTANCE
    assert bench.notes() == ["signature_not_checked"]
    assert await bench.refusal(signed(payload(exp=NOW_S), private_key("nobody"))) == REFUSED
    assert await bench.refusal(signed(payload(aud="x"), private_key("nobody"))) == REFUSED
    assert "Realm" in await bench.refusal(signed(payload()), x_gitlab_realm="saas")
    assert bench.keys.asked == []


async def test_a12_14_authentication_switched_off_for_the_platform() -> None:
    bench = Bench(AuthPolicy(SERVICE, enabled=False))
    assert (await bench.authenticator.caller({})).debug


def test_the_switches_of_one_listener_never_open_the_other() -> None:
    everything = AuthSettings(
        enabled=False,
        bypass_external=True,
        bypass_external_with_header=True,
        bypass_jwt_signature=True,
        token_cache_size=7,
    )
    gateway, platform = gateway_policy(everything), platform_policy(everything)
    assert gateway == AuthPolicy(
        "gitlab-ai-gateway",
        bypass=True,
        bypass_with_header=True,
        bypass_signature=True,
        token_cache_size=7,
    )
    assert platform == AuthPolicy(
        "gitlab-duo-workflow-service",
        enabled=False,
        warns_of_missing_root_namespace=True,
        token_cache_size=7,
    )


async def test_a_token_is_verified_once_and_headers_every_time() -> None:
    bench, token = Bench(), signed(payload())
    first = await bench.caller(token)
    assert await bench.caller(token) is first
    assert (await bench.caller(token, x_gitlab_global_user_id="user-2")).global_user_id == "user-2"
    assert "Realm" in await bench.refusal(token, x_gitlab_realm="saas")
    assert "Instance" in await bench.refusal(token, x_gitlab_instance_id=None)
    assert await bench.refusal(token, x_gitlab_authentication_type="OIDC") == OIDC
    assert bench.keys.asked == ["one"]


async def test_a_known_caller_is_recalled_and_a_bypassed_one_never() -> None:
    bench, token = Bench(AuthPolicy(SERVICE, bypass_with_header=True)), signed(payload())
    headers, now_s = headers_for(token), bench.clock.utc().timestamp()
    assert bench.authenticator.recall(headers, now_s) is None
    first = await bench.caller(token)
    assert bench.authenticator.recall(headers, now_s) is first
    assert bench.authenticator.recall(headers, float("nan")) is None
    assert bench.authenticator.recall(headers | {"bypass-auth": "true"}, now_s) is None
    assert bench.authenticator.recall(headers | {"authorization": f"bearer {token}"}, now_s) is None
    assert bench.authenticator.recall(headers | {"authorization": "Bearer \ud800"}, now_s) is None
    assert bench.authenticator.recall({}, now_s) is None


async def test_a_remembered_token_still_ends_on_time() -> None:
    bench, token = Bench(), signed(payload())
    await bench.caller(token)
    bench.clock.advance(3599)
    await bench.caller(token)
    bench.clock.advance(1)
    assert await bench.refusal(token) == REFUSED
    assert bench.keys.asked == ["one"]


async def test_a_remembered_token_is_not_valid_before_its_time() -> None:
    bench, token = Bench(), signed(payload())
    await bench.caller(token)
    bench.clock.advance(-11)
    assert await bench.refusal(token) == REFUSED


async def test_refusals_are_not_remembered() -> None:
    bench, token = Bench(), signed(payload(), private_key("nobody"))
    await bench.refusal(token)
    await bench.refusal(token)
    assert bench.keys.asked == ["one", "one"]


async def test_the_cache_is_bounded_and_drops_the_least_recently_used() -> None:
    bench = Bench(AuthPolicy(SERVICE, token_cache_size=2))
    a, b, c, d = (signed(payload(jti=name)) for name in "abcd")
    for token in (a, b, a, c, a, d, a):
        await bench.caller(token)
    assert len(bench.keys.asked) == 4
    await bench.caller(b)
    assert len(bench.keys.asked) == 5


async def test_a_cache_of_no_size_remembers_nothing() -> None:
    bench, token = Bench(AuthPolicy(SERVICE, token_cache_size=0)), signed(payload())
    await bench.caller(token)
    await bench.caller(token)
    assert len(bench.keys.asked) == 2


async def test_large_tokens_are_served_and_not_remembered() -> None:
    bench, token = Bench(), signed(payload(padding="x" * 4096))
    await bench.caller(token)
    await bench.caller(token)
    assert len(bench.keys.asked) == 2


async def test_large_headers_are_served_and_not_remembered() -> None:
    bench, token = Bench(), signed(payload())
    user = "u" * 300
    first = await bench.caller(token, x_gitlab_global_user_id=user)
    second = await bench.caller(token, x_gitlab_global_user_id=user)
    assert first == second
    assert first is not second


async def test_without_any_key_the_service_is_unavailable() -> None:
    class NoKeys:
        async def keys(self, kid: str | None) -> tuple[VerificationKey, ...]:
            raise Unavailable(f"no key, not even {kid}")

    authenticator = Authenticator(NoKeys(), AuthPolicy(SERVICE), MemorySink(), HandClock())
    with pytest.raises(Unavailable):
        await authenticator.caller(headers_for(signed(payload())))


async def test_the_platform_warns_of_saas_tokens_without_a_root_namespace() -> None:
    policy = AuthPolicy(SERVICE, warns_of_missing_root_namespace=True)
    for value, notes in (
        (None, ["root_namespace_missing"]),
        ("9", []),
        (True, ["root_namespace_missing"]),
    ):
        bench = Bench(policy)
        token = signed(payload(gitlab_realm="saas", gitlab_root_namespace_id=value))
        await bench.caller(token, x_gitlab_realm="saas")
        assert bench.notes() == notes


async def test_nothing_that_is_told_holds_the_token() -> None:
    bench = Bench(AuthPolicy(SERVICE, bypass_signature=True))
    token = signed(payload())
    await bench.caller(token, x_gitlab_duo_seat_count=None)
    assert bench.sink.facts
    assert all(part not in repr(bench.sink.facts) for part in token.split("."))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        ("5", 5),
        ("007", 7),
        (0, None),
        ("0", None),
        (-1, None),
        ("-1", None),
        (True, None),
        (1.0, None),
        ("1.0", None),
        ("", None),
        (None, None),
        ("٣", None),
        ("9" * 20, None),
        (2**70, None),
        ([1], None),
    ],
)
def test_root_namespace_ids(value: object, expected: int | None) -> None:
    assert root_namespace_id(value) == expected


KEYS = {name: FixedKeys(public_of(private_key(name))) for name in ("own", "acme", "globex")}
ACME = "https://acme.test"


def several(*names: str) -> Authenticator:
    """An authenticator that knows these instances, and itself."""
    bound = {f"https://{name}.test": Bound(name, KEYS[name]) for name in names}
    everybody = FixedKeys(*(public_of(private_key(name)) for name in KEYS))
    us = {SERVICE: Bound("", KEYS["own"])}
    return Authenticator(everybody, AuthPolicy(SERVICE), MemorySink(), HandClock(), bound | us)


async def ask(who: Authenticator, key: str, **claims: object) -> str:
    """The listed instance of a token of this key; the reason when it is refused."""
    token = signed(payload(**claims), private_key(key))
    try:
        return (await who.caller(headers_for(token))).who.listed
    except Unauthenticated as error:
        return error.detail


async def test_an_instance_is_known_by_its_keys_alone() -> None:
    who = several("acme", "globex")
    assert await ask(who, "acme", iss=ACME) == "acme"
    assert await ask(who, "acme", iss=f"{ACME}/") == "acme"
    for key, issuer in (("globex", ACME), ("own", ACME), ("acme", SERVICE)):
        told = await ask(who, key, iss=issuer, sub="user-1")
        assert told == REFUSED, (key, issuer)


async def test_our_own_tokens_say_which_instance_they_are_for() -> None:
    ours = {"iss": SERVICE, "sub": "user-1", "isthmus_instance": "acme"}
    assert await ask(several("acme"), "own", **ours) == "acme"
    assert await ask(several("globex"), "own", **ours) == REFUSED
    assert await ask(several("acme"), "own", **(ours | {"isthmus_instance": None})) == ""
    others = {"iss": "https://else.test", "isthmus_instance": "acme"}
    assert await ask(several("acme"), "acme", **others) == ""
