"""Tokens that are accepted, and attacks that are not."""

import hashlib
import hmac
import json
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st

from isthmus.auth.verify import REFUSED, TOKEN_LIMIT_BYTES, Claims, claims_of, parse, signed_by
from isthmus.core.errors import Unauthenticated
from isthmus.core.ports import VerificationKey
from tests.support.tokens import (
    NOW_S,
    SERVICE,
    b64,
    jwk_of,
    payload,
    private_key,
    public_of,
    public_pem_of,
    signed,
    unb64,
)

ISSUER = private_key()
STRANGER = private_key("stranger")
KEYS = (public_of(STRANGER, "other"), public_of(ISSUER))


def verify(token: str, now_s: float = NOW_S, keys: tuple[VerificationKey, ...] = KEYS) -> Claims:
    parsed = parse(token)
    claims = claims_of(parsed, SERVICE, now_s)
    if not signed_by(parsed, keys):
        raise Unauthenticated(REFUSED)
    return claims


def refused(token: str, now_s: float = NOW_S) -> None:
    with pytest.raises(Unauthenticated) as caught:
        verify(token, now_s)
    assert caught.value.detail == REFUSED


def test_an_instance_token_says_who_it_is() -> None:
    extra = {"gitlab_project_id": 7, "tool_access_policies": {"deny": ["x"]}}
    claims = verify(signed(payload(jti="j", **extra)))
    assert claims.subject == claims.instance_id
    assert claims.realm == "self-managed"
    assert claims.scopes == {"complete_code", "generate_code", "duo_chat"}
    assert (claims.seat_count, claims.instance_uid) == ("25", "uid-1")
    assert dict(claims.extra) == extra


def test_h11_10_an_audience_list_that_holds_us_is_accepted() -> None:
    assert verify(signed(payload(aud=["another", SERVICE]))).subject


@pytest.mark.parametrize(
    "audience",
    [
        None,
        "",
        "another",
        [],
        ["another"],
        SERVICE + "x",
        SERVICE.upper(),
        1,
        True,
        {SERVICE: 1},
        [SERVICE, 1],
        [SERVICE, None],
        [[SERVICE]],
    ],
)
def test_another_audience_is_refused(audience: object) -> None:
    refused(signed(payload(aud=audience)))


def test_a_token_ends_at_its_second() -> None:
    token = signed(payload())
    assert verify(token, NOW_S + 3599.9).expires_s == NOW_S + 3600
    refused(token, NOW_S + 3600)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_of_the_future_is_refused_beyond_the_leeway(claim: str) -> None:
    refused(signed(payload(**{claim: NOW_S + 11})))
    assert verify(signed(payload(**{claim: NOW_S + 10})))


def test_times_are_checked_only_when_present() -> None:
    claims = verify(signed(payload(exp=None, nbf=None, iat=None)), NOW_S * 2)
    assert claims.expires_s == float("inf")


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1", "soon", True, -1, 10**12, [NOW_S], 1e300])
def test_odd_times_are_refused(name: str, value: object) -> None:
    refused(signed(payload(**{name: value})))


def test_a_null_expiry_is_not_an_absent_one() -> None:
    refused(signed(json.dumps(payload() | {"exp": None}).encode()))


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": 1},
        {"iss": [SERVICE]},
        {"gitlab_realm": ["saas"]},
        {"gitlab_instance_id": 5},
        {"gitlab_instance_uid": {}},
        {"scopes": "complete_code"},
        {"scopes": {"complete_code": 1}},
        {"scopes": ["complete_code", 1]},
        {"duo_seat_count": [1]},
        {"duo_seat_count": True},
    ],
)
def test_a_claim_of_the_wrong_type_is_refused(changes: dict[str, object]) -> None:
    refused(signed(payload(**changes)))


def test_null_claims_are_empty_and_a_seat_count_may_be_a_number() -> None:
    claims = verify(
        signed(json.dumps(payload(duo_seat_count=25) | {"gitlab_realm": None}).encode())
    )
    assert (claims.realm, claims.seat_count) == ("", "25")


def test_an_unsigned_token_is_refused() -> None:
    for algorithm in ("none", "None", "NONE", "nOnE", "", None, ["RS256"]):
        head = b64(json.dumps({"alg": algorithm}).encode())
        body = b64(json.dumps(payload()).encode())
        refused(f"{head}.{body}.")
        refused(signed(payload(), header={"alg": algorithm}))
    refused(signed(payload(), header={"typ": "JWT"}))


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused() -> None:
    for algorithm in ("HS256", "HS512", "RS256"):
        head = b64(json.dumps({"alg": algorithm, "kid": "one"}).encode())
        text = f"{head}.{b64(json.dumps(payload()).encode())}"
        secret = public_pem_of(ISSUER).encode()
        tag = hmac.new(secret, text.encode(), hashlib.sha256).digest()
        refused(f"{text}.{b64(tag)}")


def test_other_rsa_signatures_are_refused() -> None:
    for algorithm in ("RS384", "RS512", "PS256", "ES256", "rs256", "RS256 "):
        refused(signed(payload(), header={"alg": algorithm}))
    refused(signed(payload(), digest=hashes.SHA384()))
    head = b64(json.dumps({"alg": "RS256"}).encode())
    text = f"{head}.{b64(json.dumps(payload()).encode())}".encode()
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    refused(f"{text.decode()}.{b64(ISSUER.sign(text, pss, hashes.SHA256()))}")


def test_a_stranger_or_a_changed_byte_is_refused() -> None:
    refused(signed(payload(), private_key("nobody")))
    head, body, signature = signed(payload()).split(".")
    forged = b64(json.dumps(payload(sub="root")).encode())
    refused(f"{head}.{forged}.{signature}")
    flipped = bytearray(unb64(signature))
    flipped[0] ^= 1
    refused(f"{head}.{body}.{b64(bytes(flipped))}")
    refused(f"{head}.{body}.{b64(unb64(signature)[:-1])}")
    refused(f"{head}.{body}.{b64(unb64(signature) + b'x')}")


@pytest.mark.parametrize(
    "kid",
    [
        "../../etc/passwd",
        "/dev/null",
        "file:///etc/passwd",
        "https://evil.test/k",
        "one' OR 1=1",
        "",
        "x" * 500,
        "\x00",
        "|id",
    ],
)
def test_a_key_id_is_a_hint_and_nothing_else(kid: str) -> None:
    token = signed(payload(), header={"alg": "RS256", "kid": kid})
    assert parse(token).kid == kid
    assert verify(token).subject
    refused(signed(payload(), private_key("nobody"), header={"alg": "RS256", "kid": kid}))


@pytest.mark.parametrize("kid", [1, ["one"], {"a": 1}, True])
def test_a_key_id_that_is_no_text_is_refused(kid: object) -> None:
    refused(signed(payload(), header={"alg": "RS256", "kid": kid}))


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
def test_a_key_that_the_token_brings_along_is_not_looked_at(name: str) -> None:
    attacker = private_key("attacker")
    value = jwk_of(attacker) if name == "jwk" else "https://evil.test/keys"
    # Without `x5c` and the like a header stays within its limit, so the refusal is for the key.
    head = {"alg": "RS256", "kid": "one", name: value}
    assert len(json.dumps(head)) < 1024
    refused(signed(payload(), attacker, header=head))
    assert verify(signed(payload(), header=head)).subject


def test_a_critical_extension_is_refused() -> None:
    for value in (["b64"], [], "exp", None):
        refused(signed(payload(), header={"alg": "RS256", "crit": value, "b64": True}))


def test_limits_of_size() -> None:
    room = "x" * 9000
    assert len(signed(payload(padding=room))) < TOKEN_LIMIT_BYTES
    assert verify(signed(payload(padding=room))).extra["padding"] == room
    refused(signed(payload(padding="x" * TOKEN_LIMIT_BYTES)))
    refused(signed(payload(), header={"alg": "RS256", "kid": "x" * 1024}))


def test_json_tricks_are_refused() -> None:
    good = json.dumps(payload())
    refused(signed((good[:-1] + ',"sub":"root"}').encode()))
    refused(signed((good[:-1] + ',"aud":"gitlab-ai-gateway"}').encode()))
    refused(signed((good[:-1] + ',"x":{"y":1,"y":2}}').encode()))
    refused(signed(payload(), header=b'{"alg":"none","alg":"RS256"}'))
    refused(signed((good[:-1] + ',"x":' + "[" * 5000 + "]" * 5000 + "}").encode()))
    refused(signed((good[:-1] + ',"exp2":1e999}').encode()))
    refused(signed(b"[]"))
    refused(signed(b"null"))
    refused(signed(b"\xff"))


@pytest.mark.parametrize(
    "shape",
    [
        "",
        ".",
        "..",
        "{h}.{p}.{s}.",
        "{h}.{p}.{s}=",
        "{h}.{p}.{s}\n",
        " {h}.{p}.{s}",
        "{h}..{p}.{s}",
        "{h}.{p}",
        "{h}.{p}.",
        ".{p}.{s}",
        "{h}..{s}",
        "é{h}.{p}.{s}",
        "{h}.{p}\x00.{s}",
        "{h}.{p}.{s}.{s}",
        "[{h}.{p}.{s}]",
    ],
)
def test_anything_but_a_compact_token_is_refused(shape: str) -> None:
    head, body, signature = signed(payload()).split(".")
    refused(shape.format(h=head, p=body, s=signature))


@pytest.mark.parametrize(("bits", "exponent"), [(1024, 65_537), (2048, 3)])
def test_a_weak_key_verifies_nothing(bits: int, exponent: int) -> None:
    weak = private_key("weak", bits, exponent)
    token = signed(payload(), weak)
    assert not signed_by(parse(token), [public_of(weak)])


@pytest.mark.parametrize(
    ("n", "e"),
    [(0, 0), (-5, 65_537), (2**2048, 65_537), (2**9000 + 1, 65_537), (2**2047 + 1, 2**40 + 1)],
)
def test_numbers_that_are_no_key_verify_nothing(n: int, e: int) -> None:
    assert not signed_by(parse(signed(payload())), [VerificationKey("one", n, e)])


def test_without_keys_nothing_verifies() -> None:
    assert not signed_by(parse(signed(payload())), [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = ("iss", "sub", "aud", "exp", "nbf", "iat", "scopes", "gitlab_realm", "duo_seat_count", "x")


@given(st.text(max_size=200) | st.text(alphabet="eyJ.-_=A", max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(Unauthenticated):
        parse(text)


@given(st.dictionaries(st.sampled_from(NAMES), JSON), st.booleans())
def test_any_claims_are_read_or_refused(changes: dict[str, object], ours: bool) -> None:
    claims = changes | ({"aud": SERVICE} if ours else {})
    body = b64(json.dumps(claims).encode())
    with suppress(Unauthenticated):
        found = claims_of(parse(f"{b64(b'{}')}.{body}."), SERVICE, NOW_S)
        assert found.current(NOW_S)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk"]), JSON))
def test_no_header_makes_an_unsigned_token_pass(header: dict[str, object]) -> None:
    head = b64(json.dumps(header).encode())
    with suppress(Unauthenticated):
        assert not signed_by(parse(f"{head}.{b64(json.dumps(payload()).encode())}."), KEYS)
